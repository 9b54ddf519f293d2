"""Short form of the soak of kills: a few, at moments that a seed decides. `make soak` runs the long form.

SG3TF_KILL_SEED=N chooses other moments.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.memory_soak import report

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


def test_growing_memory_is_noticed():
    """After the first third, in which it may grow."""
    start = [0.5, 0.7, 0.9]
    assert report([*start, 1.0, 1.0, 1.0, 1.01, 1.02, 1.01])["flat"]
    assert not report([*start, 1.0, 1.0, 1.0, 1.03, 1.03, 1.02])["flat"]
