"""Short form of the soak of kills: a few, at moments that a seed decides. `make soak` runs the long form.

SG3TF_KILL_SEED=N chooses other moments.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import kill_soak
from tests.helpers.kill_soak import Tally
from tests.helpers.memory_soak import Sample, report

ROOT = Path(__file__).parents[1]
SEED = os.environ.get("SG3TF_KILL_SEED", "0")


@pytest.mark.slow  # training is traced once undisturbed and once after each kill
@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_killed_commands_run_again_end_with_the_same_results(tmp_path):
    out = tmp_path / "kills.json"
    command = [sys.executable, "-m", "tests.helpers.kill_soak", "--jobs=build,convert,video,train-quick"]
    done = subprocess.run(
        [*command, "--trials=1", f"--seed={SEED}", f"--out={out}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(out.read_text())
    assert sum(count["kills"] for count in counts.values()) >= 1  # some commands come to their end first
    assert counts["train-quick"]["goodput"]["productive"] > 0


@pytest.mark.parametrize(
    ("tallies", "status"),
    [
        ([("build", Tally(1, trials=1, kills=2))], 0),
        ([("build", Tally(1, trials=1)), ("video", Tally(0, wrong=["undisturbed"]))], 1),
        ([], 1),  # the time was over before
    ],
)
def test_a_soak_without_trials_has_not_passed(tmp_path, monkeypatch, tallies, status):
    monkeypatch.setattr(kill_soak, "preload", lambda: None)
    monkeypatch.setattr(kill_soak, "soak", lambda *_: (tally for tally in tallies))
    monkeypatch.setattr(sys, "argv", ["kill_soak", f"--out={tmp_path / 'kills.json'}"])
    assert kill_soak.main() == status
    assert json.loads((tmp_path / "kills.json").read_text()).keys() == {name for name, _ in tallies}


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize(
    ("target", "part"),
    [
        *[("soak", part) for part in ("kill_soak", "test_storm", "worker_soak", "--program=training", None)],
        *[("soak-serving", part) for part in ("test_storm", "--program=serving", None)],
    ],
)
def test_make_soak_fails_with_any_of_its_parts(tmp_path, target, part):
    """Which all run nevertheless."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$*"\ncase "$*" in *"$FAILING"*) exit 1; esac\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "-s", "-o", "native", "-o", ".venv/.installed", target, f"BIN={tmp_path}", "SG3TF_SOAK_MINUTES=10"],
        cwd=ROOT,
        env={**os.environ, "FAILING": part or "no such part"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == (part is not None), done.stderr
    assert len(done.stdout.splitlines()) == {"soak": 4, "soak-serving": 2}[target]


@pytest.mark.parametrize(("per_hour", "flat"), [(0.0, True), (0.05, True), (0.08, False), (-0.3, True)])
def test_growing_memory_is_noticed(per_hour, flat):
    """2 % in the last two thirds of 30 minutes are 6 % of 1 GB per hour; not before, and not in single samples."""
    times = range(0, 1800, 2)
    curve = [Sample(t, 1 + per_hour * t / 3600 + 0.3 * (t % 100 == 0) - 0.8 * (t < 600)) for t in times]
    found = report(curve)
    assert found["flat"] == flat
    # From 600 to 1800 seconds; single samples that have 0.3 GB more, every 50th, move it by 0.3 %.
    assert found["growth"] == pytest.approx(per_hour / 3 / (1 + per_hour / 6), abs=3.5e-3)
    assert found["slope_mb_per_hour"] == pytest.approx(1024 * per_hour, abs=10)
    assert found["max_gb"] == max(sample.gb for sample in curve)
