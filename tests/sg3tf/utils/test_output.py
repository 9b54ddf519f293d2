"""Printing to a pipe whose reader has exited, and to a terminal that was closed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = """
import sys
from sg3tf.utils.output import ignoring_lost_output
for number in range(3):
    with ignoring_lost_output():
        print(number)
    with ignoring_lost_output():
        print(number, file=sys.stderr)
sys.exit(7)
"""


def dead_pipe() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


def dead_terminal() -> int:
    ours, theirs = os.openpty()
    os.close(ours)
    return theirs


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("make", [dead_pipe, dead_terminal])
def test_output_that_is_lost_changes_nothing(make: Callable[[], int], unbuffered: str) -> None:
    """Nor does the interpreter's flush at exit, which would make the exit status 120."""
    lost, environment = make(), {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    process = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, stdout=lost, stderr=lost, env=environment)
    assert process.returncode == 7
    os.close(lost)


def test_output_that_is_read_comes_at_once() -> None:
    command = [sys.executable, "-c", CODE.replace("sys.exit(7)", "import time; time.sleep(60)")]
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert process.stdout
    assert [process.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]
    assert process.poll() is None  # not only at its end
    process.kill()
    process.communicate()
