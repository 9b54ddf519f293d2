"""Prefetching with threads and processes: order, bounds, errors and what happens to abandoned iterators."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from sg3tf.utils.parallel import map_in_order, prefetch


def test_order_is_kept():
    def slow_when_even(i: int) -> int:
        time.sleep(0.01 * (i % 2 == 0))
        return i

    assert list(prefetch(slow_when_even, range(20), executor=ThreadPoolExecutor(4), ahead=3)) == list(range(20))


def test_bounded():
    taken: list[int] = []

    def items():
        for i in count():
            taken.append(i)
            yield i

    results = prefetch(lambda i: i, items(), executor=ThreadPoolExecutor(2), ahead=3)
    assert not taken
    for consumed in range(5):
        assert next(results) == consumed
        assert len(taken) == consumed + 4
    results.close()


def test_closing_ends_the_threads():
    results = prefetch(lambda i: i, count(), executor=ThreadPoolExecutor(2, thread_name_prefix="closed"), ahead=2)
    next(results)
    assert any(thread.name.startswith("closed") for thread in threading.enumerate())
    results.close()
    assert not any(thread.name.startswith("closed") for thread in threading.enumerate())


def test_errors_come_in_order():
    results = prefetch(lambda i: 1 / (2 - i), range(5), executor=ThreadPoolExecutor(2), ahead=4)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def kill_at_three(i: int) -> int:
    if i == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return i


def test_processes():
    assert list(map_in_order(abs, range(-40, 0), workers=2)) == list(range(40, 0, -1))
    assert list(map_in_order(abs, range(-3, 0), workers=1)) == [3, 2, 1]


def test_killed_process():
    with pytest.raises(ChildProcessError, match="a worker process died .*use fewer workers"):
        list(map_in_order(kill_at_three, range(40), workers=2))


def members(session: int) -> list[int]:
    """Process IDs of a session, without zombies."""
    stats = {int(path.name): path / "stat" for path in Path("/proc").glob("[0-9]*")}
    found = []
    for pid, stat in stats.items():
        with contextlib.suppress(OSError):
            state, *_, of_session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(of_session) == session and state != "Z":
                found.append(pid)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are counted in /proc")
def test_processes_end_when_their_parent_is_killed():
    program = "import itertools, time; from sg3tf.utils.parallel import map_in_order\n"
    program += "for _ in map_in_order(time.sleep, itertools.repeat(0.01), workers=2): print('done', flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout and parent.stdout.readline() == b"done\n"
        assert len(members(parent.pid)) >= 3
        parent.kill()
        end = time.monotonic() + 20
        while (left := members(parent.pid)) and time.monotonic() < end:
            time.sleep(0.01)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert left == []
