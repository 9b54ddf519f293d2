"""Limits of requests in flight and running; deadlines and disconnected clients."""

import contextlib
import threading
import time

import grpc
import pytest

from serving.server.admission import Admission, Caller
from serving.server.errors import RequestError


def refused_with(admission_step):
    with pytest.raises(RequestError) as caught, admission_step:
        pytest.fail("it was admitted")
    return caught.value.code


def test_one_more_than_fit_is_refused_at_once():
    admission = Admission(max_in_flight=2, max_running=2)
    with admission.enter(), admission.enter():
        assert admission.in_flight == 2
        assert refused_with(admission.enter()) == grpc.StatusCode.RESOURCE_EXHAUSTED
    with admission.enter():
        assert admission.in_flight == 1


def test_request_past_its_deadline_or_disconnected_never_runs():
    admission = Admission(max_in_flight=9, max_running=1)
    gone = threading.Event()
    threading.Timer(0.2, gone.set).start()
    with admission.acquire_slot(Caller()):
        start = time.monotonic()
        late = Caller(deadline=start + 0.2)
        assert refused_with(admission.acquire_slot(late)) == grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - start >= 0.2
        quitter = Caller(is_connected=lambda: not gone.is_set())
        assert refused_with(admission.acquire_slot(quitter)) == grpc.StatusCode.CANCELLED
    with admission.acquire_slot(Caller()):  # the slot is free again
        pass


class Waiter:
    """A request in a thread of its own, which is still checking its client when the slot becomes free."""

    def __init__(self, admission, order, name):
        self.checking, self.go_on, self.is_connected = threading.Event(), threading.Event(), True
        self._checks = 0
        self._admission, self._order, self._name = admission, order, name
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _check(self):
        self._checks += 1
        if self._checks > 1:  # the first check is before the wait
            self.checking.set()
            assert self.go_on.wait(20)
        return self.is_connected

    def _run(self):
        with contextlib.suppress(RequestError), self._admission.acquire_slot(Caller(is_connected=self._check)):
            self._order.append(self._name)


@pytest.mark.parametrize(("stays", "expected"), [(True, ["first", "second"]), (False, ["second"])])
def test_slots_are_given_in_the_order_of_arrival(stays, expected):
    """Even while a waiting request checks its client, later ones are behind it; if it leaves, the next one runs."""
    admission, order = Admission(max_in_flight=9, max_running=1), []
    with admission.acquire_slot(Caller()):
        first = Waiter(admission, order, "first")
        assert first.checking.wait(20)
        second = Waiter(admission, order, "second")
        assert second.checking.wait(20)
    second.go_on.set()
    second.thread.join(0.5)  # it would run now if it could overtake
    first.is_connected = stays
    first.go_on.set()
    for waiter in (first, second):
        waiter.thread.join(20)
    assert order == expected
    with admission.acquire_slot(Caller()):  # the slot is free again
        pass
