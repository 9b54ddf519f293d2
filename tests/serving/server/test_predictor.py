"""Predictions from their arrival to their answer."""

from types import SimpleNamespace

import grpc
import numpy as np
import pytest

from serving.server.admission import Admission, Caller
from serving.server.errors import RequestError, invalid
from serving.server.metrics import Metrics
from serving.server.predictor import Predictor

OUTPUTS = {"x": np.zeros(2)}


def make(prepare):
    models = SimpleNamespace(find=lambda name, version: SimpleNamespace(prepare=prepare))
    admission = Admission(max_in_flight=1, max_running=1)
    return Predictor(models, admission, Metrics(lambda: admission.in_flight, lambda: 1))


def ask(predictor, write=lambda model, outputs: outputs, caller=None):
    return predictor.predict("m", None, lambda model: ("map", {}), write, caller or Caller())


def test_a_request_is_in_flight_until_its_answer_is_built():
    """Answers are large and take seconds to write, so `max_in_flight` bounds them too; the slot is free by then."""
    predictor = make(lambda signature, inputs: lambda: OUTPUTS)

    def write(model, outputs):
        with predictor.admission.acquire_slot(Caller()):
            return predictor.admission.in_flight, outputs

    assert ask(predictor, write) == (1, OUTPUTS)
    assert predictor.admission.in_flight == 0


def test_no_answer_is_built_for_who_has_left():
    is_connected, written = True, []

    def run():
        nonlocal is_connected
        is_connected = False
        return OUTPUTS

    predictor = make(lambda signature, inputs: run)
    with pytest.raises(RequestError) as caught:
        ask(predictor, lambda *_: written.append(1), Caller(is_connected=lambda: is_connected))
    assert (caught.value.code, written) == (grpc.StatusCode.CANCELLED, [])


def test_a_bad_request_is_refused_without_waiting():
    def refuse(signature, inputs):
        raise invalid("'z' is missing")

    predictor = make(refuse)
    with predictor.admission.acquire_slot(Caller()), pytest.raises(RequestError, match="'z' is missing"):
        ask(predictor, caller=Caller(is_connected=lambda: pytest.fail("it waits")))
