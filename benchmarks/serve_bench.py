"""Throughput and latency of the embedded server, compared with direct calls of the same SavedModel.

python -m benchmarks.serve_bench --out=serving-cpu.json

The server is a separate process on the loopback address. The clients are threads of this process, each with its own
connection. Each sends its next request as soon as it has an answer. Nothing is retried, so every rejection counts.

- plain: the server with default flags, which runs every request separately.
- batching: with --enable_batching; there are at most as many requests in flight as clients.
- direct: the signature called in this process, one call after the other, with as many images as the server's batches.

Runs of the server and of direct calls alternate. A run ends after a number of requests or a number of seconds. The
first row of a server compares its very first request with the next ones; the last row compares its memory before and
after many requests of one image. The smaller the network, the larger the share of the clients and Python: T-32 with
--channel_base=512 --channel_max=16 is nearly the smallest possible network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import report
from benchmarks.networks import Network
from benchmarks.report import Row, goal, median
from benchmarks.server import MODEL, SECONDS_OF_REQUEST, Server
from serving.saved_model import export_saved_model
from sg3tf import build_generator
from sg3tf.models.configs import ConfigError
from sg3tf.remote import Client, Retries, ServingError

SERVERS = ("plain", "batching")
PSI = 0.7
SECONDS_OF_MEMORY = 300

# Goals for batching, with this number of clients that request one image each.
CLIENTS = 8
LEAST_SHARE_OF_DIRECT = 0.9
MOST_BATCH_TIMES = 2.5
MOST_FIRST_TIMES = 3.0  # noise, and opening the connection; without warm-up, it is tens of times
MOST_GROWTH_MB = 5.0  # less than the size of all answers

_NETWORK = flags.DEFINE_string("network", "T-64", "Network: T or R, a hyphen and a resolution.")
_CHANNEL_BASE = flags.DEFINE_integer("channel_base", 4096, "Channels of the network, like --cbase of the trainer.")
_CHANNEL_MAX = flags.DEFINE_integer("channel_max", 64, "Most channels of a layer, like --cmax of the trainer.")
_SERVERS = flags.DEFINE_list("servers", list(SERVERS), f"Servers to measure: {', '.join(SERVERS)}.")
_BATCHES = flags.DEFINE_list("batches", ["1", "4"], "Numbers of images in a request.")
_CLIENTS = flags.DEFINE_list("clients", ["1", "2", "8"], "Numbers of concurrent clients.")
_MAX_BATCH = flags.DEFINE_integer("max_batch", 8, "Most images in one batch of the server.", lower_bound=1)
_IMAGES = flags.DEFINE_integer("images", 128, "Images in one run.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 30.0, "Longest duration of one run in seconds.", lower_bound=0.1)
_MEMORY = flags.DEFINE_integer("memory_requests", 2000, "Requests of the memory measurement; 0: skip it.", 0)


@dataclasses.dataclass(frozen=True)
class Run:
    """Results of one run of requests or direct calls."""

    images_per_second: float
    seconds: list[float]  # of each answered request
    errors: list[str]


class Direct:
    """The exported signature, called in this process."""

    def __init__(self, version: Path) -> None:
        self._loaded = tf.saved_model.load(str(version))  # frees its variables once unreferenced
        self._generate = self._loaded.signatures["generate"]

    def run(self, batch: int, images: int, limit: float) -> Run:
        """Call the signature with `batch` images at a time; start no call after `limit` seconds."""
        inputs = {name: tf.constant(value) for name, value in latents(batch).items()}
        seconds, began = [], time.perf_counter()
        for _ in range(-(-images // batch)):
            start = time.perf_counter()
            self._generate(**inputs)["images"].numpy()
            seconds.append(time.perf_counter() - start)
            if time.perf_counter() - began > limit:
                break
        return Run(len(seconds) * batch / sum(seconds), seconds, [])


def latents(batch: int) -> dict[str, Any]:
    z = np.random.default_rng(0).standard_normal([batch, 512], np.float32)
    return {"z": z, "psi": np.full(batch, PSI, np.float32)}


def ask(address: str, batch: int, clients: int, requests: int, limit: float) -> Run:
    """Send requests of `batch` images from several clients at once; start none after `limit` seconds."""
    inputs, todo = latents(batch), iter(range(requests))  # shared, so that fast clients send more requests
    end = time.perf_counter() + limit

    def ask_in_turn(client: Client) -> tuple[list[float], list[str]]:
        seconds, errors = list[float](), list[str]()
        for _ in todo:
            start = time.perf_counter()
            if start > end:
                break
            try:
                client.generate(**inputs)
                seconds.append(time.perf_counter() - start)
            except ServingError as error:
                errors.append(str(error))
        return seconds, errors

    with contextlib.ExitStack() as stack:
        connected = [Client(address, MODEL, timeout_s=SECONDS_OF_REQUEST, retries=Retries(1)) for _ in range(clients)]
        for client in connected:
            stack.callback(client.close)
            client.metadata()  # opens the connection
        pool = stack.enter_context(ThreadPoolExecutor(clients))
        began = time.perf_counter()
        parts = list(pool.map(ask_in_turn, connected))
        elapsed = time.perf_counter() - began
    seconds = [second for part in parts for second in part[0]]
    return Run(len(seconds) * batch / elapsed, seconds, [error for part in parts for error in part[1]])


def row_of(server: str, batch: int, clients: int, together: int, asked: Sequence[Run], direct: Sequence[Run]) -> Row:
    """Row of one server, compared with the same number of runs of direct calls of `together` images."""
    seconds = [second for run in asked for second in run.seconds]
    errors = [error for run in asked for error in run.errors]
    shares = [a.images_per_second / b.images_per_second for a, b in zip(asked, direct, strict=True)]
    batch_seconds = median([second for run in direct for second in run.seconds])
    p50, p95, p99 = np.percentile(seconds, [50, 95, 99]).tolist() if seconds else [float("inf")] * 3
    goals = {"errors": goal(len(errors), 0)}
    if (server, batch, clients) == ("batching", 1, CLIENTS):
        goals["share_of_direct"] = goal(median(shares), LEAST_SHARE_OF_DIRECT, at_least=True)
        goals["p99_in_batch_times"] = goal(p99 / batch_seconds, MOST_BATCH_TIMES)
    return {
        "server": server,
        "batch": batch,
        "clients": clients,
        "requests": len(seconds) + len(errors),
        "images_per_second": median([run.images_per_second for run in asked]),
        "milliseconds": {"p50": 1e3 * p50, "p95": 1e3 * p95, "p99": 1e3 * p99},
        "direct": {
            "batch": together,
            "images_per_second": median([run.images_per_second for run in direct]),
            "milliseconds": 1e3 * batch_seconds,
        },
        "share_of_direct": median(shares),
        "share_of_direct_of_runs": shares,
        "first_errors": errors[:1],
        "goals": goals,
    }


def first_row(name: str, server: Server, limit: float) -> Row:
    """Row with the latency of the very first request to a server that has warmed up for one image."""
    first = ask(server.address, 1, 1, 1, limit).seconds
    later = median(ask(server.address, 1, 1, 10, limit).seconds)
    return {
        "server": name,
        "milliseconds": {"first": 1e3 * first[0], "later": 1e3 * later},
        "goals": {"first_in_later_times": goal(first[0] / later, MOST_FIRST_TIMES)},
    }


def memory_row(name: str, server: Server, clients: int, requests: int) -> Row:
    """Row with the memory of the server before and after requests of one image."""
    limit = SECONDS_OF_MEMORY
    ask(server.address, 1, clients, requests // 10, limit)  # allocators and caches fill up
    before = server.resident_mb()
    asked = ask(server.address, 1, clients, requests, limit)
    after = server.resident_mb()
    return {
        "server": name,
        "clients": clients,
        "requests": len(asked.seconds) + len(asked.errors),
        "resident_mb": {"before": before, "after": after},
        "goals": {"growth_mb": goal(after - before, MOST_GROWTH_MB), "errors": goal(len(asked.errors), 0)},
    }


def options_of(name: str, folder: Path) -> list[str]:
    """Return the flags of one of SERVERS."""
    if name == "plain":
        return []
    parameters = folder / "batching.txt"
    parameters.write_text(
        f"max_batch_size {{ value: {_MAX_BATCH.value} }}\n"
        "batch_timeout_micros { value: 5000 }\n"
        "num_batch_threads { value: 1 }\n"  # one batch already uses all cores
        "max_enqueued_batches { value: 100 }\n"
    )
    in_flight = max(numbers(_CLIENTS.value))
    return ["--enable_batching", f"--batching_parameters_file={parameters}", f"--max_in_flight={in_flight}"]


def numbers(texts: Sequence[str]) -> list[int]:
    return [int(text) for text in texts]


def rows_of(name: str, folder: Path, version: Path) -> Iterator[Row]:
    """Yield all rows of one server."""
    direct, limit = Direct(version), _SECONDS.value
    with Server(version.parent, *options_of(name, folder)) as server:
        yield first_row(name, server, limit)
        for batch, clients in itertools.product(numbers(_BATCHES.value), numbers(_CLIENTS.value)):
            together = max(batch, min(batch * clients, _MAX_BATCH.value))
            requests = -(-_IMAGES.value // batch)
            direct.run(together, together, limit)
            ask(server.address, batch, clients, 2 * clients, limit)
            asked, called = list[Run](), list[Run]()
            for _ in range(report.REPEATS.value):
                called.append(direct.run(together, _IMAGES.value, limit))
                asked.append(ask(server.address, batch, clients, requests, limit))
            yield row_of(name, batch, clients, together, asked, called)
        if _MEMORY.value:
            yield memory_row(name, server, max(numbers(_CLIENTS.value)), _MEMORY.value)


def results() -> Iterator[Row]:
    if unknown := sorted(set(_SERVERS.value) - set(SERVERS)):
        raise ConfigError(f"servers={unknown!r}: give some of {', '.join(SERVERS)}")
    network = Network.named(_NETWORK.value, _CHANNEL_BASE.value, _CHANNEL_MAX.value)
    about = {"network": network.name, "channel_base": network.channel_base, "channel_max": network.channel_max}
    with tempfile.TemporaryDirectory() as folder:
        version = export_saved_model(build_generator(network.generator()), Path(folder) / MODEL)
        for name in _SERVERS.value:
            for row in rows_of(name, Path(folder), version):
                yield about | row


def main(argv: Sequence[str]) -> None:
    report.run(argv, results)


if __name__ == "__main__":
    app.run(main)
