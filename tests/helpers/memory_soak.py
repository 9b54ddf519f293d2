"""Soak of memory: training with snapshots, metrics and ADA, and a server; their resident memory has to stay flat.

python -m tests.helpers.memory_soak --program=training --minutes=30 --out=build/soak/training.json
python -m tests.helpers.memory_soak --program=serving --minutes=30 --out=build/soak/serving.json

The time begins when the program is at work, after the first tick or request. Its first third is left out, in which
pools and caches fill. A line is fitted to the rest; its end may be 2 % above its start. This is not judged in less than
ten minutes. The report has the whole curve.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers.kill_soak import train_arguments, write_noise

MOST_GROWTH = 0.02
JUDGED_AFTER_S = 600
SAMPLE_EVERY_S = 2.0
RESOLUTION = 16
COMMAND = [sys.executable, "-m", "sg3tf"]


class Sample(NamedTuple):
    """Resident memory of a process, some seconds after the first sample."""

    seconds: float
    gb: float


def watch(process: subprocess.Popen[Any], minutes: float, work: Callable[[], None]) -> list[Sample]:
    """Call `work` again and again for so many minutes; return the memory of the process in this time.

    Raises:
        RuntimeError: the process has ended.
    """
    samples: list[Sample] = []
    began = time.monotonic()
    while (now := time.monotonic() - began) < minutes * 60:
        if not samples or now >= samples[-1].seconds + SAMPLE_EVERY_S:
            if process.poll() is not None:
                raise RuntimeError(f"the process ended with status {process.returncode}")
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            samples.append(Sample(now, pages * os.sysconf("SC_PAGE_SIZE") / 2**30))
        work()
    return samples


def report(samples: list[Sample]) -> dict[str, Any]:
    """Numbers of a curve, and if it is flat after its first third; None: it is too short to say so."""
    rest = samples[len(samples) // 3 :]
    slope, start = statistics.linear_regression(*zip(*rest, strict=True))
    first, last = (start + slope * rest[i].seconds for i in (0, -1))
    growth = last / first - 1
    return {
        "seconds": samples[-1].seconds,
        "start_gb": rest[0].gb,
        "end_gb": rest[-1].gb,
        "max_gb": max(sample.gb for sample in rest),
        "slope_mb_per_hour": slope * 1024 * 3600,
        "growth": growth,
        "flat": growth <= MOST_GROWTH if samples[-1].seconds > JUDGED_AFTER_S - SAMPLE_EVERY_S else None,
    }


# --- Training ---------------------------------------------------------------------------------------------------------


def training(minutes: float, work: Path) -> list[Sample]:
    """Memory of a run."""
    write_noise(work / "faces", RESOLUTION)
    arguments = train_arguments(work, work, kimg=1e6, tick=0.16, snap=4, checkpoint=4, strategy="cpu")
    with open(work / "log", "w") as log:
        process = subprocess.Popen([*COMMAND, *arguments], stdout=log, stderr=log)
    try:
        wait_for_tick(process, work / "runs")
        found = watch(process, minutes, lambda: time.sleep(SAMPLE_EVERY_S / 10))
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait()
    if status != 130:
        raise RuntimeError(f"training ended with status {status}")
    (stats,) = (work / "runs").glob("*/stats.jsonl")
    print(f"{len(stats.read_text().splitlines())} ticks, {len([*stats.parent.glob('network-*[0-9].keras')])} snapshots")
    return found


def wait_for_tick(process: subprocess.Popen[Any], outdir: Path) -> None:
    while not any(outdir.glob("*/stats.jsonl")):
        if process.poll() is not None:
            raise RuntimeError(f"training ended with status {process.returncode}")
        time.sleep(SAMPLE_EVERY_S)


# --- Serving ----------------------------------------------------------------------------------------------------------


def serving(minutes: float, work: Path) -> list[Sample]:
    """Memory of a server that is sent requests of all signatures, one at a time, good ones and bad ones."""
    import grpc
    import keras

    import sg3tf
    from serving.saved_model import export_saved_model

    keras.utils.set_random_seed(0)
    size = {"resolution": RESOLUTION, "channel_base": 128, "channel_max": 8, "z_dim": 8, "w_dim": 8, "label_dim": 2}
    G = sg3tf.Generator.from_preset("stylegan3-t", **size)
    export_saved_model(G, work / "model", metadata={"classes": ["tabby", "manx"]})
    command = [*COMMAND, "serve", f"--model_base_path={work / 'model'}", "--port=0", "--rest_api_port=0"]
    with open(work / "log", "w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    count = itertools.count(1)
    try:
        address, rest = re.search(r"gRPC (\S+:\d+), REST (\S+?)/v1", process.stdout.readline()).groups()
        with grpc.insecure_channel(address) as channel:
            predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            messages = itertools.cycle(requests(G.num_ws))

            def send() -> None:
                message, is_good = next(messages)
                next(count)
                try:
                    predict(message, timeout=60)
                except grpc.RpcError:
                    if is_good:
                        raise
                if not is_good:
                    post(rest, b'{"signature_name": "label", "inputs": {"class_name": ["manx"]}}', 200)
                    post(rest, b'{"signature_name": "label", "inputs": {"class_na', 400)

            send()
            found = watch(process, minutes, send)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()
    print(f"{next(count) - 1} requests")
    return found


def post(rest: str, body: bytes, status: int) -> None:
    connection = http.client.HTTPConnection(rest.removeprefix("http://"), timeout=60)
    connection.request("POST", "/v1/models/sg3:predict", body)
    with connection.getresponse() as answer:
        assert answer.status == status, answer.read()
    connection.close()


def requests(num_ws: int) -> Iterator[tuple[bytes, bool]]:
    """PredictRequests of all signatures, in turn with one to three images, and True; and bad ones, and False."""
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    for rows in (1, 2, 3):
        label = np.eye(2, dtype=np.float32)[[0] * rows]
        z = {"z": np.zeros((rows, 8), np.float32), "psi": np.float32(0.7), "label": label}
        ws, transform = np.zeros((rows, num_ws, 8), np.float32), np.eye(3, dtype=np.float32)[None].repeat(rows, 0)
        inputs = {
            "serving_default": z,
            "generate": z,
            "map": z,
            "generate_png": {"seed": np.arange(rows), "psi": np.float32(0.7), "label": label},
            "synthesize": {"ws": ws, "transform": transform},
            "synthesize_float": {"ws": ws, "transform": transform},
            "synthesize_png": {"ws": ws, "transform": transform, "scale": np.int32(2)},
            "mix": {"ws_a": ws, "ws_b": ws, "mask": np.ones(num_ws, np.float32)},
            "label": {"class_name": np.array(["manx"] * rows)},
        }
        for signature, tensors in inputs.items():
            message = predict_pb2.PredictRequest()
            message.model_spec.name, message.model_spec.signature_name = "sg3", signature
            for name, value in tensors.items():
                message.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            yield message.SerializeToString(), True
        yield message.SerializeToString()[:-5], False
        message.model_spec.signature_name = "no such signature"
        yield message.SerializeToString(), False


def main() -> int:
    programs = {"training": training, "serving": serving}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", choices=programs, default="training")
    parser.add_argument("--minutes", type=Fraction, default=30, help="a number, or a fraction such as 5/2")
    parser.add_argument("--out", type=Path, help="file for the report and the curve, as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        os.environ["XDG_CACHE_HOME"] = f"{work}/cache"
        samples = programs[options.program](float(options.minutes), Path(work))
    found = {"program": options.program, **report(samples)}
    print(json.dumps(found))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({**found, "curve": samples}) + "\n")
    return int(found["flat"] is False)


if __name__ == "__main__":
    sys.exit(main())
