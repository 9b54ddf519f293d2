"""Prefetching with threads and processes: order, bounds, errors and what happens to abandoned iterators."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

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
