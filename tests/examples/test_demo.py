"""The demo from drawing to serving, as small as it gets, and once more to continue."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def run_demo(out: Path, *flags: str) -> str:
    command = [sys.executable, str(ROOT / "examples/demo/demo.py"), f"--out={out}", "--resolution=16", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_demo_runs_and_continues(tmp_path):
    run_demo(tmp_path, "--portraits=40", "--kimg=0.032")
    output = run_demo(tmp_path, "--portraits=40", "--kimg=0.032")
    assert "Resuming from" in output
    (run,) = (tmp_path / "demo/training").iterdir()
    assert [int(path.name) for path in sorted((run / "checkpoints").iterdir())] == [32, 64]
    assert sorted(path.name for path in (tmp_path / "demo/models/sg3").iterdir()) == ["1", "2"]
    sizes = {name: Image.open(tmp_path / "demo" / f"{name}.png").size for name in ("reals", "fakes", "served")}
    assert sizes["fakes"] == (16 * 16, 8 * 16)
    assert sizes["served"] == (8 * 16, 8 * 16)
    strip = np.asarray(Image.open(tmp_path / "demo/interpolation.png"), int)
    assert strip.shape == (16, 25 * 16, 3)
    np.testing.assert_array_equal(strip[:, :16], strip[:, -16:])  # seeds 3, 7, 11 and 3 again


@pytest.mark.slow
def test_demo_with_own_pictures(tmp_path):
    pictures = tmp_path / "holiday"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for index in range(24):
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(pictures / f"{index}.jpg")
    run_demo(tmp_path / "runs", f"--data={pictures}", "--kimg=0.016")
    assert (tmp_path / "runs/demo-holiday/served.png").is_file()
