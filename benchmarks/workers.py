"""Objects in separate processes: each has its own peak memory, and calls to several of them can alternate."""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

GIGA = 1e9
STATUS = Path("/proc/self/status")


class Worker:
    """The object create(*arguments), in its own process.

    Args:
        create: function or class that can be found by name in its module.
        arguments: picklable arguments.
    """

    def __init__(self, create: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, create, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pipe.close()  # which ends it
        self._process.join()

    def call(self, method: str, *arguments: Any) -> Any:
        """Call the method of the object in the other process and return its result.

        Raises:
            RuntimeError: the call failed, or the process died.
        """
        try:
            self._pipe.send((method, arguments))
            result, failure = self._pipe.recv()
        except (EOFError, BrokenPipeError) as error:
            self._process.join()
            raise RuntimeError(f"a worker died with exit code {self._process.exitcode}; -9: out of memory?") from error
        if failure:
            raise RuntimeError(failure)
        return result


def peak_memory_gb() -> float:
    """Peak memory of this process, including TensorFlow itself."""
    if STATUS.exists():  # getrusage would include the parent's memory
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
        if found:
            return int(found[1]) * 1024 / GIGA
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIGA


def _serve(pipe: Connection, create: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    served = None
    while True:
        try:
            method, call_arguments = pipe.recv()
        except EOFError:
            return
        try:
            served = served or create(*arguments)
            reply = getattr(served, method)(*call_arguments), ""
        except Exception as error:
            reply = None, f"{type(error).__name__}: {error}"
        pipe.send(reply)
