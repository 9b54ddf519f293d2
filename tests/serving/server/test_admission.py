"""Limits of requests in flight and running; deadlines and disconnected clients."""

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


def test_who_waits_past_the_deadline_or_hangs_up_never_runs():
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
