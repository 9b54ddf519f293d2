"""The thread that writes checkpoints: one at a time, and its errors reach the run. For their content see test_state."""

from __future__ import annotations

import threading

import pytest

from trainer.checkpoint import CheckpointWriter


@pytest.fixture
def writer():
    made = CheckpointWriter()
    yield made
    made.close()


def fails():
    raise OSError("no room")


def test_one_at_a_time_and_in_order(writer):
    written, first_may_end = [], threading.Event()

    def first():
        assert first_may_end.wait(60)
        written.append(1)

    writer.start(first)
    writer.check()  # nothing has failed so far
    assert written == []
    threading.Timer(0.05, first_may_end.set).start()
    writer.start(lambda: written.append(2))  # waits
    assert written[:1] == [1]
    writer.wait()
    writer.wait()
    assert written == [1, 2]


@pytest.mark.parametrize("notice", [CheckpointWriter.wait, CheckpointWriter.check, lambda writer: writer.start(int)])
def test_an_error_is_raised_once(writer, notice):
    writer.start(fails)
    while not writer._pending.done():
        pass
    with pytest.raises(OSError, match="no room"):
        notice(writer)
    notice(writer)


def test_closing_waits_and_hides_no_other_error(writer):
    written = []
    with pytest.raises(ValueError, match="of the run"):
        try:
            writer.start(lambda: written.append(threading.current_thread()) or fails())
            raise ValueError("of the run")
        finally:
            writer.close()
    assert len(written) == 1 and not written[0].is_alive()
