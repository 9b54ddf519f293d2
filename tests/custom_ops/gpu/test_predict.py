"""Predictions from the launchers to milliseconds, and the stored calibration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from custom_ops.gpu import check, predict

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def calibration():
    return json.loads(predict.CALIBRATION.read_text())


def test_calibration_follows_from_its_rows(calibration):
    made = predict.calibrate(calibration["rows"])
    for operation, stored in calibration["calibrations"].items():
        assert made[operation]["calibration"] == pytest.approx(stored["calibration"], rel=1e-3)
        assert made[operation]["rows"] == stored["rows"]
        for group, errors in stored["left_out"].items():
            assert made[operation]["left_out"][group] == pytest.approx(errors, abs=2e-3)


def test_counts_are_those_of_the_profiler(calibration):
    """Within the error of a sample of one block for each warp; see docs/gpu.md."""
    profiled = json.loads(predict.MEASURED.read_text())["profiled"]
    assert len(profiled) == 2
    for layer in profiled:
        key = ("filtered_lrelu", "forward", layer["shape"], "float16")
        (row,) = (r for r in calibration["rows"] if (r["op"], r["mode"], r["shape"], r["dtype"]) == key)
        (work,) = predict.works_of(row)
        assert work.instructions == pytest.approx(layer["executed_instructions"], rel=0.02)
        if "shared_wavefronts" in layer:
            assert work.shared_wavefronts == pytest.approx(layer["shared_wavefronts"], rel=0.02)
            assert (work.registers, work.blocks) == (layer["registers"], layer["blocks"])


def test_layers_that_differ_in_taps_alone_have_one_geometry():
    first, second = (next(layer for layer in check.layers(1) if f"t-256 {n}" in layer.name) for n in ("L0", "L2"))
    problems = [predict.lrelu_call(layer, "forward", "float16")[0] for layer in (first, second)]
    assert first.up.filter.x.tobytes() != second.up.filter.x.tobytes()
    assert predict.geometry(problems[0]) == predict.geometry(problems[1])
    problems[1].down.x.before += 1
    assert predict.geometry(problems[0]) != predict.geometry(problems[1])


@pytest.mark.slow  # builds the launchers, compiles three kernels and executes 24 warps: half a minute
def test_a_layer_from_the_launchers(tmp_path):
    out = tmp_path / "predicted.json"
    arguments = ["--ops", "filtered_lrelu_mma", "--dtypes=float16", "--only=t-256 L0", f"--out={out}"]
    command = [sys.executable, str(ROOT / "custom_ops/gpu/predict.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [row["mode"] for row in rows] == ["forward", "forward with mask", "backward"]
    for row in rows:
        (work,) = predict.works_of(row)
        assert row["unknown_branches"] == 0
        assert work.global_sectors * 32 >= work.traffic  # all that must move does
        # A product gives 16x8 sums, and every output is one of them.
        assert work.kinds["tensor"] * 16 * 8 > row["outputs"]
        assert row["predicted_ms"] > max(row["bounds_ms"].values())
        assert row["predicted_ms"] < row["before_ms"]
