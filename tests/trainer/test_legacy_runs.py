"""Runs of the trainer before the layout of the project changed (tests/data/legacy) resume, and compute the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from trainer.config import Options
from trainer.state import UPDATE_NOTE, TrainState

ROOT = Path(__file__).parents[2]
LEGACY = ROOT / "tests" / "data" / "legacy" / "runs"
FLAGS = {"stylegan3-t": ["--cond"], "stylegan2": ["--pl_weight=2", "--style_mixing=0.9"]}
COMMON = [
    *("--map_depth=1", "--batch=4", "--cbase=128", "--cmax=8", "--tick=0.008", "--checkpoint=1", "--snap=99"),
    *("--aug=ada", "--ada_kimg=0.1", "--keep_checkpoints=9", "--precision=fp32", "--workers=1", "--mirror"),
    *("--strategy=cpu", "--kimg=0.016"),
]
# Two steps of Adam without momentum, which divides small gradients by themselves: rounding differs by processor, and a
# weight whose gradient is nearly 0 may move by the learning rate of 0.0025 in another direction.
WEIGHTS, NORMS = 0.01, 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("cfg", FLAGS)
def test_resumes_to_the_same_weights(cfg: str, tmp_path: Path) -> None:
    with tarfile.open(LEGACY / cfg / "run.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (run,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "trainer.main", f"--data={LEGACY / 'faces'}", f"--outdir={tmp_path}"]
    done = subprocess.run(
        [*command, f"--cfg={cfg}", *FLAGS[cfg], *COMMON, f"--resume={run}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "SG3TF_OPS": "matmul"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (run / "log.txt").read_text().count(UPDATE_NOTE) == 1

    found, before = (
        json.loads(file.read_text().splitlines()[-1]) for file in (run / "stats.jsonl", LEGACY / cfg / "stats.jsonl")
    )
    assert found["Progress/kimg"]["mean"] == before["Progress/kimg"]["mean"] == 0.016
    for name in (name for name in before if name.startswith(("Loss/", "Progress/augment"))):
        assert found[name]["mean"] == pytest.approx(before[name]["mean"], rel=1e-3, abs=1e-4), name

    state = TrainState(Options.from_file(run / "options.json"))
    state.restore(run / "checkpoints" / "000000016")
    weights = {
        f"{part}/{v.path.partition('/')[2]}": np.asarray(v)
        for part in ("G", "D", "G_ema")
        for v in getattr(state, part).variables
    }
    with np.load(LEGACY / cfg / "after_16_images.npz") as arrays:
        assert {name.removesuffix("/norm") for name in arrays if name.endswith("/norm")} == set(weights)
        for name, array in weights.items():
            assert np.linalg.norm(array.astype(np.float64)) == pytest.approx(
                arrays[f"{name}/norm"], rel=NORMS, abs=WEIGHTS
            )
            if name in arrays:
                np.testing.assert_allclose(array, arrays[name], rtol=0, atol=WEIGHTS)
