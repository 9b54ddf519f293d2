"""The discriminator: reference numbers, the float64 reference, Keras behavior."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from sg3tf import Discriminator
from sg3tf.convert import weights
from sg3tf.models.configs import ConfigError
from sg3tf.models.presets import PRESETS, discriminator_preset
from sg3tf.ops import use_backend
from sg3tf.utils.resolution import size_of
from tests.conftest import Golden
from tests.helpers import contexts
from tests.helpers.backends import NATIVE, WITH_AND_WITHOUT_NATIVE
from tests.helpers.numerics import Array, nchw, nhwc, relative_error
from tests.helpers.official_networks import parameters
from tests.helpers.reference import discriminator as reference
from tests.helpers.reference.parameters import discriminator_arrays

TINY = {"channel_max": 4, "mapping_layers": 2, "mbstd_group_size": 2}


pytestmark = pytest.mark.usefixtures("implementation")


def tiny(resolution: int = 16, **overrides: Any) -> Discriminator:
    overrides = {"channel_base": 2 * resolution, **TINY, **overrides}
    return Discriminator.from_preset("stylegan3-t", resolution, **overrides)


def images(count: int, resolution: int = 16, channels: int = 3) -> Array:
    return np.random.RandomState(0).randn(count, resolution, resolution, channels).astype(np.float32)


def labels(count: int, dim: int = 3) -> Array:
    return np.eye(dim, dtype=np.float32)[np.arange(count) % dim]


@pytest.mark.parametrize("impl", ["matmul", "xla", NATIVE])
def test_golden(golden: Golden, impl: str) -> None:
    arrays = golden("training_step")
    group_size = int(arrays["mbstd_group_size"])
    assert group_size == 2
    options = {"channel_base": 512, "channel_max": 24, "label_dim": 4, "mbstd_group_size": group_size}
    model = Discriminator.from_preset("stylegan3-t", 32, **options)
    weights.load_arrays(model, parameters(arrays, "D/"))
    with use_backend(impl):
        logits = model(nhwc(arrays["real_nchw"]), label=arrays["c"])
    assert relative_error(logits, arrays["logits_real"]) < 1e-5


@WITH_AND_WITHOUT_NATIVE
@pytest.mark.parametrize(
    ("batch", "overrides"),
    [
        (6, {"label_dim": 3, "mbstd_group_size": 3, "mbstd_channels": 2}),
        (4, {"image_channels": 1, "conv_clamp": 0.5}),
        (2, {"image_channels": 4, "mbstd_group_size": 8}),
        (2, {"architecture": "orig", "conv_clamp": 2.0}),
        (2, {"resolution": "24x16", "label_dim": 3}),
        (2, {"resolution": "16x32", "architecture": "orig"}),
    ],
)
def test_agrees_with_the_float64_reference(batch: int, overrides: dict[str, Any]) -> None:
    options = {"resolution": 16, "channel_base": 96, "channel_max": 8, "mapping_layers": 3, **overrides}
    config = discriminator_preset("stylegan3-r", **options)
    arrays = discriminator_arrays(config)
    model = Discriminator(config)
    weights.load_arrays(model, arrays)
    width, height = size_of(config.resolution)
    x = images(batch, max(width, height), config.image_channels)[:, :height, :width]
    label = labels(batch) if config.label_dim else None
    expected = reference.discriminator(arrays, config, nchw(x), label)
    assert relative_error(model(x, label=label), expected) < 1e-5


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128, 256, 512, 1024])
def test_every_resolution(resolution: int) -> None:
    logits = tiny(resolution)(images(2, resolution))
    assert (logits.shape, logits.dtype) == ((2, 1), tf.float32)
    assert np.all(np.isfinite(logits))


def test_groups_see_their_own_images_only() -> None:
    """Image n belongs to group n modulo (N / group size)."""
    model, x = tiny(mbstd_group_size=2), images(4)
    changed = x.copy()
    changed[3] *= 2
    moved = np.abs(model(x) - model(changed))[:, 0] > 1e-6
    assert list(moved) == [False, True, False, True]
    np.testing.assert_allclose(model(x)[::2], model(x[::2]), rtol=0, atol=1e-6)
    # The batch, where it is smaller, is one group.
    large = tiny(mbstd_group_size=64)
    large.set_weights(model.get_weights())
    np.testing.assert_allclose(large(x[:2]), model(x[:2]), rtol=0, atol=1e-6)


def test_labels_scale_the_projection() -> None:
    model, x = tiny(label_dim=3), images(2)
    logits = model(x, label=labels(2))
    assert relative_error(model(x, label=labels(2)[::-1]), logits) > 1e-3
    target = model.mapping_network(label=labels(2))
    assert np.mean(np.square(target)) > 0


def test_save_and_load(tmp_path: Path) -> None:
    model = tiny(label_dim=3)
    for weight in model.weights:  # so that forgetting one shows
        weight.assign(1.5 * weight + 0.1)
    expected = model(images(2), label=labels(2))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is Discriminator
    assert loaded.config == model.config
    np.testing.assert_array_equal(loaded(images(2), label=labels(2)), expected)


def test_configuration_round_trip() -> None:
    model = Discriminator(tiny().config, name="mine", dtype="mixed_bfloat16")
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    twin = keras.saving.deserialize_keras_object(serialized)
    assert (twin.name, twin.dtype_policy.name) == ("mine", "mixed_bfloat16")
    assert twin.config == model.config


def test_predict_and_summary() -> None:
    model = tiny()
    np.testing.assert_allclose(model.predict(images(4), verbose=0), model(images(4)), rtol=0, atol=1e-6)
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert all(name in "\n".join(lines) for name in ("fromrgb", "b16", "b8", "conv", "fc", "out"))


@pytest.mark.parametrize(
    ("impl", "context"),
    [
        ("xla", "graph"),
        ("xla", "jit_compile"),
        ("matmul", "dynamic batch"),
        ("matmul", "SavedModel"),
        pytest.param("native", "jit_compile", marks=pytest.mark.native),
        pytest.param("native", "dynamic batch", marks=pytest.mark.native),
    ],
)
def test_contexts(impl: str, context: str, tmp_path: Path) -> None:
    model = tiny()
    with use_backend(impl):
        (logits,) = contexts.run(context, lambda x: [model(x)], images(4), tmp_path, model.variables)
    np.testing.assert_allclose(logits, model(images(4)), rtol=0, atol=1e-6)


def test_mixed_precision_is_close_to_float32() -> None:
    """Some 15 roundings of relative size 2^-8, independent of one another, make 1.5 %."""
    exact = tiny(32, channel_base=512, channel_max=16)
    mixed = Discriminator(exact.config, dtype="mixed_bfloat16")
    mixed.set_weights(exact.get_weights())
    logits = mixed(images(8, 32))
    assert logits.dtype == tf.float32
    assert 1e-5 < relative_error(logits, exact(images(8, 32))) < 0.03


@WITH_AND_WITHOUT_NATIVE
def test_gradient_penalty() -> None:
    """R1, |d logits / d images|^2, differentiated once more."""
    model, x = tiny(), tf.constant(images(4))
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(x)
            logits = tf.reduce_sum(model(x))
        penalty = tf.reduce_sum(inner.gradient(logits, x) ** 2)
    kernels = [v for v in model.trainable_variables if v.path.endswith("kernel")]
    gradients = dict(zip((id(v) for v in kernels), outer.gradient(penalty, kernels), strict=True))
    for kernel in kernels:
        assert np.linalg.norm(gradients[id(kernel)]) > 0, kernel.path
    # While biases are 0, logits are homogeneous of degree 1 in each of the kernels that no skip bypasses: then
    # Euler's relation holds for the penalty, of degree 2.
    for layer in (model.fromrgb, model.conv, model.fc, model.out):
        product = np.vdot(gradients[id(layer.kernel)], layer.kernel)
        assert product == pytest.approx(2 * float(penalty), rel=1e-3), layer.name


@pytest.mark.parametrize(
    ("x", "label_dim", "label", "message"),
    [
        (images(2, 8), 0, None, r"images of shape \(2, 8, 8, 3\): give \[N, 16, 16, 3\]"),
        (images(2, 16, 1), 0, None, r"images of shape \(2, 16, 16, 1\): give \[N, 16, 16, 3\]"),
        (images(2)[0], 0, None, r"images of shape \(16, 16, 3\): give"),
        (images(3), 0, None, "batch of 3 images is not a multiple of mbstd_group_size=2: change one"),
        (images(2)[:0], 0, None, r"images of shape \(0, 16, 16, 3\): give \[N, 16, 16, 3\], N at least 1"),
        (images(2).astype(np.uint8), 0, None, "images of type uint8: give floats in"),
        (images(2), 0, labels(2, 3), r"label of shape \(2, 3\) is given: this network has no labels"),
        ([images(2), labels(2, 3)], 3, None, "images is a (list|tuple): give images, or"),
        ({"images": images(2), "labels": labels(2, 3)}, 3, None, "images has the keys images, labels: give images and"),
        (images(2), 3, None, r"label is missing: this model needs label \[N, 3\]"),
        (images(2), 3, labels(2, 4), r"label of shape \(2, 4\): give \[N, 3\]"),
    ],
)
def test_errors_name_argument_value_and_remedy(x: Any, label_dim: int, label: Array | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(label_dim=label_dim)(x, label=label)


def test_predict_with_labels_and_remainders() -> None:
    model, x, label = tiny(label_dim=3), images(6), labels(6, 3)
    expected = np.concatenate([model(x[i : i + 4], label=label[i : i + 4]) for i in (0, 4)])
    found = model.predict({"images": x, "label": label}, batch_size=4, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="batch of images is not a multiple of mbstd_group_size=2"):
        model.predict({"images": images(7), "label": labels(7, 3)}, batch_size=4, verbose=0)


@pytest.mark.parametrize("implementation", [NATIVE], indirect=True)
def test_export_of_keras_has_stock_operations_only(tmp_path: Path) -> None:
    model = tiny(label_dim=3)
    model.export(tmp_path, verbose=False)
    assert b"Sg3>" not in (tmp_path / "saved_model.pb").read_bytes()
    served = tf.saved_model.load(str(tmp_path))
    x, label = images(2), labels(2, 3)
    found = served.serve({"images": tf.constant(x), "label": tf.constant(label)})
    np.testing.assert_allclose(found, model(x, label=label), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str) -> None:
    model = Discriminator.from_preset(preset, 16, channel_base=64, channel_max=4)
    assert model.config == discriminator_preset("stylegan3-t", 16, channel_base=64, channel_max=4)
    with pytest.raises(ConfigError, match="resolution=4: must be a power of two from 8"):
        Discriminator.from_preset(preset, 4)
