"""Progress: a bar on a terminal, a line now and then in a log file, nothing for what ends at once."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import termios
import time

import pytest
import tqdm

from sg3tf.utils import progress
from sg3tf.utils.progress import Progress, duration, with_progress


class Clock:
    """Time that passes by as many seconds as each step says."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_log_file_gets_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(400, done=100, description="faces") as shown:
        for _ in range(300):
            clock.now += 0.25
            shown.update()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [  # 4 images a second, every 30 seconds
        "faces: 220 of 400 images, 4 images/s, 0m 45s left",
        "faces: 340 of 400 images, 4 images/s, 0m 15s left",
    ]


def test_short_loop_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress("abc", 3, "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def on_a_terminal(code: str) -> str:
    """Return the last state of the line that a program draws on a terminal of 100 columns, its standard error."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.run([sys.executable, "-c", f"import time\n{code}"], stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    shown = io.FileIO(ours).read(100_000).decode()
    assert (process.returncode, process.stdout) == (0, b"")
    return shown.replace("\r\n", "\n").rstrip("\n").rpartition("\r")[2]


def test_a_terminal_gets_a_bar() -> None:
    drawn = on_a_terminal(
        "from sg3tf.utils.progress import with_progress\nfor _ in with_progress(range(4), 4, 'frames'): time.sleep(0.1)"
    )
    assert drawn.startswith("100%|") and "4/4" in drawn and "frames/s" in drawn


def test_the_bar_of_a_training_run() -> None:
    drawn = on_a_terminal(
        "from trainer.progress_bar import ProgressBar\nbar = ProgressBar(8.0, 2.0)\n"
        "for kimg in (3.0, 5.0): time.sleep(0.2); bar.advance_to(kimg)\nbar.close()"
    )
    assert drawn.startswith(" 62%|")
    assert re.search(r"\| 5\.000/8\.000 kimg \[.* sec/kimg, .* images/s, \d\d:\d\d left\]", drawn)
    seconds, images = (float(number) for number in re.findall(r"([\d.]+) (?:sec/kimg|images/s)", drawn))
    assert seconds * images == pytest.approx(1000, rel=0.5)  # they are rounded to a decimal


@pytest.mark.parametrize("jump", [-3600, 86_400])
def test_a_bar_knows_no_wall_clock(jump: int, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    bar = progress.with_monotonic_clock(tqdm.tqdm(total=10, file=io.StringIO(), mininterval=0, miniters=1))
    now = time.time()
    monkeypatch.setattr(tqdm.std, "time", lambda: now + jump)
    clock.now += 8
    bar.update(4)
    assert bar.format_dict["elapsed"] == 8 and bar.format_dict["n"] == 4
    assert bar.last_print_n == 4  # drawn again
    bar.close()


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.9, 65, 3600 * 25 + 61)] == ["0m 00s", "1m 05s", "25h 01m 01s"]
