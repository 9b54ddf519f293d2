"""What every layer of a network has to do as a Keras layer."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from sg3tf.models.ablations import AblationConfig, plan_ablation
from sg3tf.models.layer_plan import LayerPlan, plan_synthesis
from sg3tf.models.presets import generator_preset
from sg3tf.utils.resolution import Resolution, longer_side
from tests.helpers.numerics import Array, random, relative_error

BATCH = 4


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A layer, its inputs (without the batch), and what should come of them."""

    make: Callable[..., keras.layers.Layer]
    inputs: dict[str, tuple[int, ...]]
    output: tuple[int, ...]
    trainable: int
    frozen: int = 0
    always_float32: bool = False

    def arrays(self) -> dict[str, Array]:
        return {name: random(BATCH, *shape, seed=i) for i, (name, shape) in enumerate(self.inputs.items())}


def plan(index: int, preset: str = "stylegan3-t", resolution: Resolution = 16) -> LayerPlan:
    """The plan of synthesis layer `index` of a network of few channels."""
    overrides = {"channel_base": 3 * longer_side(resolution), "channel_max": 5}
    config = generator_preset(preset, resolution, **overrides)
    return (plan_ablation(config) if isinstance(config, AblationConfig) else plan_synthesis(config)).layers[index]


def check_layer(case: LayerCase, policy: str, folder: Path) -> None:
    """Assert that the layer can be configured, called, trained and saved, in the precision `policy`."""
    layer = case.make(dtype=policy, name="given_name")
    check_configuration(layer)
    check_lazy_build(case)
    y = check_call(layer, case)
    check_gradients(layer, case)
    check_saving(layer, case, y, folder / "model.keras")


def check_configuration(layer: keras.layers.Layer) -> None:
    serialized = keras.saving.serialize_keras_object(layer)
    assert serialized["registered_name"].startswith("sg3tf>")
    assert keras.saving.get_registered_object(serialized["registered_name"]) is type(layer)
    twin = keras.saving.deserialize_keras_object(json.loads(json.dumps(serialized)))
    assert type(twin) is type(layer)
    assert twin.name == "given_name"
    assert json.dumps(twin.get_config()) == json.dumps(layer.get_config())
    parameters = inspect.signature(type(layer)).parameters.values()
    assert {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD} <= layer.get_config().keys()


def check_lazy_build(case: LayerCase) -> None:
    """A model that builds the layer when it is first called, in a graph of Keras' own."""

    class Lazy(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.layer = case.make()

        def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
            return self.layer(**inputs)

    assert Lazy()(case.arrays()).shape == (BATCH, *case.output)


def check_call(layer: keras.layers.Layer, case: LayerCase) -> Array:
    y = layer(**case.arrays())
    assert y.shape == (BATCH, *case.output)
    assert y.dtype == ("float32" if case.always_float32 else layer.compute_dtype)
    assert np.all(np.isfinite(np.asarray(y, np.float32)))
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (case.trainable, case.frozen)
    assert {weight.dtype for weight in layer.weights} <= {"float32"}
    shapes = [(None, *shape) for shape in case.inputs.values()]
    if len(shapes) == 1 and "compute_output_shape" in vars(type(layer)):
        assert tuple(layer.compute_output_shape(shapes[0])) == (None, *case.output)
    return np.asarray(y, np.float32)


def check_gradients(layer: keras.layers.Layer, case: LayerCase) -> None:
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(layer(**case.arrays()), tf.float32) ** 2)
    for weight, gradient in zip(layer.trainable_weights, tape.gradient(loss, layer.trainable_variables), strict=True):
        assert gradient is not None and np.any(np.asarray(gradient, np.float32)), weight.path


def check_saving(layer: keras.layers.Layer, case: LayerCase, expected: Array, path: Path) -> None:
    for weight in layer.weights:  # so that forgetting one shows
        weight.assign(1.5 * weight + 0.1)
    inputs = {name: keras.Input(shape, name=name) for name, shape in case.inputs.items()}
    output = layer(**inputs)
    assert output.shape == (None, *case.output)
    model = keras.Model(inputs, output)
    model.save(path)
    y = np.asarray(model(case.arrays()), np.float32)
    assert not layer.weights or relative_error(y, expected) > 1e-3
    np.testing.assert_array_equal(np.asarray(keras.saving.load_model(path)(case.arrays()), np.float32), y)
