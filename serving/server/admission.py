"""How many requests may be inside, how many of them at work, and who has gone away meanwhile."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from serving.server.errors import RequestError

_LOOK_UP_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who waits for the answer, and until when.

    Args:
      deadline: on `time.monotonic`'s clock; None is for ever.
      is_there: whether the client has not hung up.
    """

    deadline: float | None = None
    is_there: Callable[[], bool] = lambda: True

    def check(self) -> None:
        """Raises RequestError, DEADLINE_EXCEEDED or CANCELLED, where nobody waits any more."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the answer")
        if not self.is_there():
            raise RequestError(grpc.StatusCode.CANCELLED, "the client has cancelled the request")


class Admission:
    """Refuses at once what it could only pile up.

    Args:
      max_in_flight: requests inside, running or waiting; one more is refused.
      max_running: of these at work at the same time; the others wait.
    """

    def __init__(self, max_in_flight: int, max_running: int):
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._counting = threading.Lock()
        self._running = threading.Semaphore(max_running)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @contextmanager
    def enter(self) -> Iterator[None]:
        """For as long as the request is inside.

        Raises:
          RequestError: RESOURCE_EXHAUSTED, where the server is full.
        """
        with self._counting:
            if self._in_flight >= self._max_in_flight:
                message = f"the server is full, max_in_flight={self._max_in_flight}; try again later"
                raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
            self._in_flight += 1
        try:
            yield
        finally:
            with self._counting:
                self._in_flight -= 1

    @contextmanager
    def turn(self, caller: Caller) -> Iterator[None]:
        """Wait for a place to run in; a caller who is late or gone gives it up.

        Raises:
          RequestError: DEADLINE_EXCEEDED or CANCELLED.
        """
        caller.check()
        while not self._running.acquire(timeout=_LOOK_UP_SECONDS):
            caller.check()
        try:
            caller.check()
            yield
        finally:
            self._running.release()
