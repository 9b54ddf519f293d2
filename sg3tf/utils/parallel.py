"""Bounded prefetching with an executor, and an ordered map over worker processes."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], *, executor: Executor, ahead: int
) -> Generator[Result]:
    """Yield function(item) for every item, in order, while an executor computes the next ones.

    The returned iterator owns the executor, and shuts it down when it ends, fails or is closed.

    Args:
        function: called in the executor's threads or processes.
        items: may be infinite; taken one at a time, at most `ahead` + 1 before their results are consumed.
        executor: runs the calls.
        ahead: maximum number of pending or finished results while one is consumed.

    Raises:
        Exception: any exception that `function` raises, in the order of the items.
    """
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield function(item) for every item, in order, from `workers` processes, or from this one if `workers` is 1.

    Raises:
        ChildProcessError: a worker process was killed.
        Exception: any exception that `function` raises.
    """
    if workers == 1:
        yield from map(function, items)
        return
    # Spawn: a forked child of a process with threads (TensorFlow's, tqdm's) can deadlock.
    executor = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin_worker)
    try:
        yield from prefetch(function, items, executor=executor, ahead=8 * workers)
    except BrokenProcessPool as error:
        raise ChildProcessError("a worker process died (out of memory?); use fewer workers") from error


def _begin_worker() -> None:
    """Ignore Ctrl-C, which reaches the whole process group and is reported by the parent; exit if the parent dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)
