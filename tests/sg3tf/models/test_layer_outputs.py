"""Recorded outputs of layers."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from sg3tf.models.layer_outputs import record_outputs


@pytest.fixture
def layers():
    return [keras.layers.Rescaling(factor, name=f"times{factor}") for factor in (2.0, 3.0)]


def test_outputs_are_recorded_in_the_order_of_the_calls(layers):
    with record_outputs(layers) as outputs:
        layers[0](layers[1](tf.constant([1.0])))
    assert {name: float(output[0]) for name, output in outputs.items()} == {"times3.0": 3, "times2.0": 6}
    assert list(outputs) == ["times3.0", "times2.0"]


def test_a_layer_given_twice_is_recorded_once(layers):
    with record_outputs([layers[0], layers[0]]) as outputs:
        layers[0](tf.constant([1.0]))
    assert list(outputs) == ["times2.0"] and "call" not in vars(layers[0])


def test_layers_are_restored_even_after_an_error(layers):
    with pytest.raises(RuntimeError), record_outputs(layers) as outputs:
        raise RuntimeError
    assert "call" not in vars(layers[0])
    layers[0](tf.constant([1.0]))
    assert outputs == {}
