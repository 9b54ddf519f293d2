"""Every benchmark runs, on settings that cost next to nothing; what it measures is nobody's promise."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import train_bench
from benchmarks.networks import Network, convolution_flop, discriminator_flop, generator_flop
from sg3tf.models.configs import ConfigError
from sg3tf.ops import native
from trainer.config import Options

ROOT = Path(__file__).parents[2]
IMPLS = ["native", "matmul"] if not native.unavailable_reason(native.FOLDER) else ["matmul"]

pytestmark = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler to measure peaks with"
)


def run(benchmark: str, out: Path, *arguments: str) -> list[dict[str, Any]]:
    """The rows that --out has after `python -m benchmarks.NAME` with two repeats."""
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", f"--out={out}", "--repeats=2", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    kept = json.loads(out.read_text())
    rows: list[dict[str, Any]] = kept["rows"]
    assert printed[0]["machine"] == kept["machine"] and kept["machine"]["cores"] > 0
    assert printed[1:] == rows
    return rows


@pytest.mark.slow
def test_deploy_bench(tmp_path: Path) -> None:
    """Slow because each runtime has a process of its own, two of them with TensorFlow."""
    flags = ["--networks=T-16", "--channel_base=64", "--channel_max=4", "--runtimes=stock,onnxruntime,openvino,litert"]
    rows = run("deploy_bench", tmp_path / "rows.json", *flags)
    assert [row["runtime"] for row in rows] == ["stock", "onnxruntime", "openvino", "litert"]
    assert all(row["difference"] < 1e-4 and row["cpu_seconds_per_image"] > 0 for row in rows)
    assert rows[1]["peak_memory_gb"] < rows[0]["peak_memory_gb"]  # without TensorFlow


@pytest.mark.slow
def test_ops(tmp_path: Path) -> None:
    *rows, last = run(
        "ops_bench",
        tmp_path / "ops.json",
        "--presets=R-16",
        "--channel_base=64",
        "--layers=L0,L14",
        f"--impl={','.join(IMPLS)}",
    )
    assert [row["layers"][-1].partition("_")[0] for row in rows][-1] == "L14"
    assert rows[0]["radial"] and rows[0]["gflop"] > 0 and rows[0]["peaks"]["fma_gflop_per_second"] > 1
    for row in rows:
        for impl in IMPLS:
            assert all(row[impl][name]["ms"] > 0 for name in ("forward", "forward_with_mask", "backward"))
    assert last["goals_met"].keys() == (
        {"backward_rate_over_forward", "share_of_what_binds"} if "native" in IMPLS else set()
    )


@pytest.mark.slow
def test_generator(tmp_path: Path) -> None:
    arguments = ["--presets=T-16", "--channel_base=64", f"--impl={IMPLS[0]}"]
    wide, narrow = run("generator_bench", tmp_path / "generator.json", *arguments)
    assert (wide["dtype"], narrow["dtype"]) == ("float32", "bfloat16")
    assert wide["difference_from_float32"]["max"] < 1e-4 < narrow["difference_from_float32"]["max"] < 0.2
    for row in (wide, narrow):
        assert len(row["seconds_per_call"]) == 2 and row["nonlinearity_share"] < 1
        assert 0.1 < row["peak_memory_gb"] < 10


@pytest.mark.slow
def test_training(tmp_path: Path) -> None:
    arguments = ["--presets=T-16", f"--impl={IMPLS[0]}", "--dtype=bfloat16"]
    (row,) = run("train_bench", tmp_path / "train.json", *arguments)
    assert row["dtype"] == "bfloat16"
    assert set(row["phase_seconds"]) == {"G", "D", "R1", "rest"}
    assert all(row["phase_seconds"][name] > 0 for name in ("G", "D", "R1"))
    assert row["seconds_per_image"] == pytest.approx(row["seconds_per_step"] / row["batch"], rel=1e-2)


def test_trainings_alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row has the steps of its own process, which here only says how long they take."""
    calls = []

    class Fake(contextlib.AbstractContextManager):
        def __init__(self, _: Any, options: Options, impl: str) -> None:
            self.precision = options.precision

        def __exit__(self, *_: object) -> None:
            pass

        def call(self, method: str) -> Any:
            calls.append((method, self.precision))
            seconds = {"fp32": 2.0, "bf16": 1.0}[self.precision]
            return dict.fromkeys(train_bench.PHASES, seconds) if method == "step" else seconds

    monkeypatch.setattr(train_bench, "Worker", Fake)
    monkeypatch.setattr(train_bench.machine, "matmul_gflop_per_second", lambda dtype: 1.0)
    monkeypatch.setattr(train_bench, "_DTYPE", SimpleNamespace(value=["float32", "bfloat16"]))
    monkeypatch.setattr(train_bench.report, "IMPL", SimpleNamespace(value=["matmul"]))
    monkeypatch.setattr(train_bench.report, "REPEATS", SimpleNamespace(value=2))
    rows = list(train_bench.measure("T-16"))
    assert [(row["dtype"], row["phase_seconds"]["D"], row["peak_memory_gb"]) for row in rows] == [
        ("float32", 2.0, 2.0),
        ("bfloat16", 1.0, 1.0),
    ]
    assert calls == [*[("step", "fp32"), ("step", "bf16")] * 3, ("peak_memory_gb", "fp32"), ("peak_memory_gb", "bf16")]


def test_arithmetic_is_that_of_the_issue() -> None:
    """210 + 8 GFLOP for config T at 256, 89 + 36 for config R: convolutions and filters. 34 with the present terms."""
    for name, convolutions, filters in (("T-256", 210, 8), ("R-256", 89, 34)):
        config = Network.named(name).generator()
        assert convolution_flop(config) / 1e9 == pytest.approx(convolutions, rel=0.05)
        assert (generator_flop(config) - convolution_flop(config)) / 1e9 == pytest.approx(filters, rel=0.05)


def test_arithmetic_of_the_discriminator() -> None:
    """Counted by hand for 16 x 16 with four channels everywhere, and five into the last convolution."""
    config = Network("T-16", "stylegan3-t", 16, 64, 4).discriminator()
    fromrgb = 16**2 * 3 * 4
    b16 = 16**2 * 9 * 4 * 4 + 8**2 * 10 * 4 * 4
    b8 = 8**2 * 9 * 4 * 4 + 4**2 * 10 * 4 * 4
    last = 4**2 * 9 * 5 * 4 + (16 * 4) * 4
    assert discriminator_flop(config) == 2 * (fromrgb + b16 + b8 + last)


@pytest.mark.parametrize("name", ["T256", "S-256", "T-100"])
def test_unknown_network(name: str) -> None:
    with pytest.raises(ConfigError):
        Network.named(name)
