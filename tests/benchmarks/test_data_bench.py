"""The data benchmark runs; what it measures is nobody's promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_rows(tmp_path: Path) -> None:
    out = tmp_path / "data.json"
    command = [sys.executable, "-m", "benchmarks.data_bench", f"--out={out}", "--repeats=2", "--resolutions=32,64"]
    command += ["--megapixels=1", "--batch=4", "--workers=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [(row["resolution"], row["form"]) for row in rows] == [
        (side, form) for side in (32, 64) for form in ("png", "raw", "memory")
    ]
    for row in rows:
        assert row["images"] == 2**20 // row["resolution"] ** 2
        rate = row["batches"]["images_per_second"]
        assert row["share_of_read"] == pytest.approx(rate / row["read"]["images_per_second"], rel=1e-2)
        assert ("share_of_decode" in row) == (row["form"] == "png")
    raw = rows[-2]
    assert raw["bytes_per_image"] == pytest.approx(3 * 64**2, rel=0.01)
    assert 0.2 * raw["bytes_per_image"] < rows[-3]["bytes_per_image"] < 0.8 * raw["bytes_per_image"]
