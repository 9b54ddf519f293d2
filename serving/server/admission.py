"""Admission of requests: a limit of requests in flight, slots to run in, deadlines and disconnected clients."""

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from serving.server.errors import RequestError

_POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Caller:
    """The client of one request.

    Args:
        deadline: latest time of the answer on `time.monotonic`'s clock; None for no deadline.
        is_connected: returns False after the client has closed the connection.

    Examples:
        >>> Caller(deadline=time.monotonic() + 60).check()
    """

    deadline: float | None = None
    is_connected: Callable[[], bool] = lambda: True

    def check(self) -> None:
        """Raise RequestError if the deadline has passed or the client has disconnected."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the answer")
        self.check_connection()

    def check_connection(self) -> None:
        """Raise RequestError if the client has disconnected."""
        if not self.is_connected():
            raise RequestError(grpc.StatusCode.CANCELLED, "the client has canceled the request")


class Admission:
    """Limits on the requests in flight and on those that run at the same time, which get their slots in turn.

    Args:
        max_in_flight: maximum number of requests running or waiting; further ones are rejected.
        max_running: maximum number of requests running; the others wait for a slot.

    Examples:
        >>> admission = Admission(max_in_flight=64, max_running=2)
        >>> with admission.enter(), admission.acquire_slot(Caller()):
        ...     admission.in_flight
        1
    """

    def __init__(self, max_in_flight: int, max_running: int):
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._free_slots = max_running
        # Set when the request gets a slot; the oldest is first. Nobody waits while a slot is free.
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count a request as in flight for the duration of the block.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, if the server is full.
        """
        with self._lock:
            if self._in_flight >= self._max_in_flight:
                message = f"the server is full, max_in_flight={self._max_in_flight}; try again later"
                raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    @contextmanager
    def acquire_slot(self, caller: Caller) -> Iterator[None]:
        """Wait for a slot and hold it for the duration of the block.

        Raises:
            RequestError: raised by `caller.check` while waiting.
        """
        caller.check()
        self._take_slot(caller)
        try:
            caller.check()
            yield
        finally:
            self._release_slot()

    def _take_slot(self, caller: Caller) -> None:
        ticket = threading.Event()
        with self._lock:
            if self._free_slots:
                self._free_slots -= 1
                return
            self._waiting.append(ticket)
        try:
            while not ticket.wait(_POLL_SECONDS):
                caller.check()
        except BaseException:
            self._leave(ticket)
            raise

    def _leave(self, ticket: threading.Event) -> None:
        with self._lock:
            if not ticket.is_set():
                self._waiting.remove(ticket)
                return
        self._release_slot()  # the slot came in the meantime

    def _release_slot(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free_slots += 1
