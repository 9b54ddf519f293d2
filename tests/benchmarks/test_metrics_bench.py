"""The benchmark of metrics counts the right samples; the times themselves are not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import metrics_bench
from benchmarks.metrics_bench import STAND_INS, Timed, row_of
from benchmarks.networks import Network
from sg3tf.models.configs import ConfigError
from tests.helpers.metric_stubs import MeanColor

ROOT = Path(__file__).parents[2]
NETWORK = Network.named("T-16", 128, 4)


def row(joined: str) -> dict:
    turns = [[[1, 2], [0.5, 1], [3, 8]], [[2, 2], [0, 1], [6, 6]], [[1, 2], [1, 2], [2.5, 9]]]
    return row_of(NETWORK, "native", joined, 4, np.array(turns))


def test_row() -> None:
    of_features = row("fid50k_full+is50k")
    assert (of_features["metrics"], of_features["images_per_sample"]) == (["fid50k_full", "is50k"], 1)
    assert of_features["overhead"] == {"clock": 2.0, "cores": 3.0}
    assert of_features["goals"]["overhead_clock"] == {"is": 2.0, "at_most": 0.2}
    assert of_features["overhead_beside_detectors"] == pytest.approx({"clock": 1.0, "cores": 1.25})
    assert of_features["samples_per_second"] == pytest.approx(1 / 3)
    assert of_features["generator_images_per_second"] == pytest.approx(1)
    for name in ("eqr50k", "ppl2_wend"):
        assert row(name)["images_per_sample"] == 2
        assert row(name)["overhead"] == {"clock": 0.5, "cores": 1.0}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "benchmarks.metrics_bench", "--repeats=1", *arguments]
    return subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_rows(tmp_path: Path) -> None:
    out = tmp_path / "metrics.json"
    small = ["--presets=T-16", "--channel_base=128", "--channel_max=4", "--impl=matmul", "--steps=1", "--batch=2"]
    done = command(f"--out={out}", *small, "--metrics=eqt50k_int")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())["rows"]
    assert [json.loads(line) for line in done.stdout.splitlines()][1:] == [row]
    assert (row["metrics"], row["batch"], row["detectors"]) == (["eqt50k_int"], 2, STAND_INS)
    assert row["samples_per_second"] > 0 and row["generator_images_per_second"] > 0


def test_features_are_timed_of_generated_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = MeanColor()
    monkeypatch.setattr(metrics_bench, "stand_in", lambda name, folder: detector)
    timed = Timed(NETWORK, "matmul", batch=4, steps=2, detector_dir=None)
    seconds = timed.metrics(["fid50k_full", "is50k"])
    assert detector.seen == 8 + 4 * 5  # of data; and of two steps that warm up, two that are timed, and the last
    assert seconds.shape == (2,) and (seconds > 0).all()


def test_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given = SimpleNamespace(presets=["T-16"], channel_base=None, channel_max=512, metrics=["is50k+eqr50k"])
    monkeypatch.setattr(metrics_bench, "flags", SimpleNamespace(FLAGS=given))
    with pytest.raises(ConfigError, match=r"metrics=is50k\+eqr50k: only metrics that compare features share a pass"):
        next(metrics_bench.results())
