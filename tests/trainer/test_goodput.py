"""Seconds of a run by cause, over processes that stop and that are killed."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

from trainer import goodput as module
from trainer.goodput import Goodput


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets; the thread never writes by itself."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(module, "WRITE_EVERY_S", 1e9)
    return clock


def process(clock, run, productive_s=None, *, startup=0, steps=(), saving=0, killed=True):
    """Let a process work for so many seconds; return its last metrics."""
    goodput = Goodput(run, productive_s, started=clock.now)
    clock.now += startup
    for index, seconds in enumerate(steps):
        clock.now += seconds if index else 0
        goodput.on_step()
    if saving:
        with goodput.saving():
            clock.now += saving
    metrics = goodput.metrics()
    if killed:
        goodput._write()  # as the thread does
        goodput._closed.set()
    else:
        goodput.close()
    return {name.rpartition("/")[2].removesuffix("_sec"): value for name, value in metrics.items()}


def test_a_run_without_a_kill(clock, tmp_path):
    """20 of 50 seconds are productive: the first step is part of the startup."""
    seconds = process(clock, tmp_path, startup=20, steps=(9, 8, 12), saving=10, killed=False)
    assert seconds == {"goodput": 0.4, "productive": 20, "lost": 0, "startup": 20, "saving": 10}
    assert json.loads((tmp_path / "goodput.json").read_text()) == {
        **{"productive": 20, "lost": 0, "startup": 20, "saving": 10}
    }


def test_the_startup_continues_after_saving(clock, tmp_path):
    """Metrics that a kill has prevented are computed before the first step."""
    goodput = Goodput(tmp_path, started=clock.now)
    clock.now += 3
    with goodput.saving():
        clock.now += 4
    clock.now += 5
    goodput.on_step()
    clock.now += 6
    assert list(goodput.metrics().values()) == [6 / 18, 6, 0, 8, 4]
    goodput.close()


def test_time_after_the_checkpoint_is_lost_with_every_kill(clock, tmp_path):
    process(clock, tmp_path, startup=10, steps=(0, 30, 10))  # killed 10 s after the checkpoint
    clock.now += 5000  # nobody works
    process(clock, tmp_path, 30, startup=7)  # killed before its first step
    process(clock, tmp_path, 30, startup=8, steps=(0, 4))  # killed before its first checkpoint
    seconds = process(clock, tmp_path, 30, startup=9, steps=(0, 20), saving=2, killed=False)
    assert seconds == {"goodput": 0.5, "productive": 50, "lost": 14, "startup": 34, "saving": 2}
    seconds = process(clock, tmp_path, 25)  # from an older checkpoint
    assert seconds == {"goodput": 0.25, "productive": 25, "lost": 39, "startup": 34, "saving": 2}


@pytest.mark.parametrize("content", [None, "", "[]", '{"lost": 1}'])
def test_a_run_of_an_earlier_revision_or_a_damaged_file_begins_anew(clock, tmp_path, content):
    if content is not None:
        (tmp_path / "goodput.json").write_text(content)
    seconds = process(clock, tmp_path, startup=5, steps=(0, 15))
    assert seconds == {"goodput": 0.75, "productive": 15, "lost": 0, "startup": 5, "saving": 0}


def test_a_kill_before_the_thread_has_written_loses_nothing(clock, tmp_path):
    process(clock, tmp_path, startup=10, steps=(0, 30))
    seconds = process(clock, tmp_path, 31, startup=5)  # the checkpoint is newer than what was written
    assert seconds == {"goodput": 31 / 46, "productive": 31, "lost": 0, "startup": 15, "saving": 0}


def test_the_thread_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WRITE_EVERY_S", 0.01)
    goodput, end = Goodput(tmp_path), time.monotonic() + 20
    while not (tmp_path / "goodput.json").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    goodput.close()
    assert [path.name for path in tmp_path.iterdir()] == ["goodput.json"]


def test_a_folder_that_cannot_be_written_ends_nothing(clock, tmp_path):
    Goodput(tmp_path / "nowhere").close()
