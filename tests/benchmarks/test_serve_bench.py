"""The benchmark of the server counts what it says it does; what it measures is nobody's promise."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from benchmarks import serve_bench
from benchmarks.serve_bench import Run, ask, memory_row, row_of

ROOT = Path(__file__).parents[2]
SECONDS = 0.02


class FakeService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Takes its time for an image, and refuses every fifth request."""

    def __init__(self) -> None:
        self.batches, self.at_once, self.most_at_once = list[tuple[int, ...]](), 0, 0
        self._lock = threading.Lock()

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(get_model_metadata_pb2.SignatureDefMap())
        return response

    def Predict(self, request: Any, context: Any) -> Any:
        with self._lock:
            self.batches.append(tf.make_ndarray(request.inputs["z"]).shape)
            number = len(self.batches)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(SECONDS)
        with self._lock:
            self.at_once -= 1
        if number % 5 == 0:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        response = predict_pb2.PredictResponse()
        response.outputs["images"].CopyFrom(tf.make_tensor_proto(np.zeros([2, 4, 4, 3], np.uint8)))
        return response


@pytest.fixture
def fake() -> Iterator[tuple[FakeService, str]]:
    service, server = FakeService(), grpc.server(ThreadPoolExecutor(8))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_asks_as_often_and_as_many_at_once_as_told(fake: tuple[FakeService, str]) -> None:
    service, address = fake
    began = time.perf_counter()
    run = ask(address, batch=2, clients=4, requests=40, limit=60)
    elapsed = time.perf_counter() - began
    assert service.batches == [(2, 512)] * 40
    assert service.most_at_once == 4
    assert len(run.errors) == 8 and all("full" in error for error in run.errors)
    assert len(run.seconds) == 32 and min(run.seconds) >= SECONDS
    # Four clients have ten requests each, one after the other: only answered images count.
    assert 32 * 2 / elapsed < run.images_per_second <= 32 * 2 / (10 * SECONDS)


def test_stops_by_itself(fake: tuple[FakeService, str]) -> None:
    service, address = fake
    began = time.perf_counter()
    run = ask(address, batch=1, clients=2, requests=10**6, limit=0.5)
    assert time.perf_counter() - began < 5
    assert 2 <= len(run.seconds) + len(run.errors) == len(service.batches)


def test_row() -> None:
    # One request of a hundred takes 3 s: the 99th percentile is between the two slowest ones, 1/100 of the way up.
    asked = [Run(9.0, [0.8] * 33 + [3.0], []), Run(12.0, [0.8] * 33, []), Run(6.0, [0.8] * 33, ["full"])]
    direct = [Run(10.0, [0.5], []), Run(10.0, [0.4, 0.4], []), Run(12.0, [0.5], [])]
    row = row_of("batching", 1, 8, 8, asked, direct)
    assert row["requests"] == 101 and row["first_errors"] == ["full"]
    assert row["images_per_second"] == 9.0
    assert row["direct"] == {"batch": 8, "images_per_second": 10.0, "milliseconds": pytest.approx(450)}
    assert row["share_of_direct_of_runs"] == pytest.approx([0.9, 1.2, 0.5])
    p99 = np.percentile([0.8] * 99 + [3.0], 99)
    assert row["milliseconds"] == pytest.approx({"p50": 800, "p95": 800, "p99": 1000 * p99})
    assert row["goals"] == {
        "errors": {"is": 1, "at_most": 0},
        "share_of_direct": {"is": pytest.approx(0.9), "at_least": 0.9},
        "p99_in_batch_times": {"is": pytest.approx(p99 / 0.45), "at_most": 2.5},
    }
    assert row_of("plain", 1, 8, 8, asked, direct)["goals"].keys() == {"errors"}


def test_memory_is_compared_after_warming_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class LeakingServer:
        address, asked = "", 0

        def resident_mb(self) -> float:
            return 100 + 0.25 * self.asked + 50 * (self.asked > 0)

    server = LeakingServer()

    def ask_leaking(address: str, batch: int, clients: int, requests: int, limit: float) -> Run:
        server.asked += requests
        return Run(1.0, [1.0] * requests, [])

    monkeypatch.setattr(serve_bench, "ask", ask_leaking)
    row = memory_row("plain", server, 8, 200)  # type: ignore[arg-type]
    assert row["requests"] == 200
    assert row["goals"]["growth_mb"] == {"is": 50.0, "at_most": 5.0}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "benchmarks.serve_bench", "--network=T-16", "--channel_base=64", *arguments]
    return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_rows(tmp_path: Path) -> None:
    out = tmp_path / "serving.json"
    sizes = ["--batches=1,2", "--clients=1,3", "--max_batch=4", "--images=12", "--memory_requests=20"]
    done = command(f"--out={out}", "--servers=plain,batching", "--repeats=2", *sizes)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [row["server"] for row in rows] == ["plain"] * 6 + ["batching"] * 6
    for kind in (rows[:6], rows[6:]):
        first, *timed, memory = kind
        assert first["milliseconds"]["later"] > 0 and set(first["goals"]) == {"first_in_later_times"}
        cells = [(row["batch"], row["clients"], row["direct"]["batch"]) for row in timed]
        assert cells == [(1, 1, 1), (1, 3, 3), (2, 1, 2), (2, 3, 4)]
        assert [row["requests"] for row in timed] == [24, 24, 12, 12]
        assert memory["requests"] == 20 and memory["resident_mb"]["before"] > 50
        for row in (*timed, memory):
            assert row["goals"]["errors"] == {"is": 0, "at_most": 0}


def test_unknown_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_bench, "_SERVERS", SimpleNamespace(value=["plain", "fast"]))
    with pytest.raises(serve_bench.ConfigError, match=r"servers=\['fast'\]: give some of plain, batching"):
        next(serve_bench.results())


def test_a_server_that_does_not_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(serve_bench.ConfigError, match="the server did not start: .*no version folder"):
        contextlib.ExitStack().enter_context(serve_bench.Server(tmp_path))
