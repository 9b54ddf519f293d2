"""Generator and discriminator in mixed precision: which layers, how near to float32, what overflow does."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ml_dtypes import bfloat16, finfo

from sg3tf import Discriminator, Generator, build_generator
from sg3tf.convert import weights
from sg3tf.models.configs import ConfigError
from sg3tf.ops import use_backend
from tests.conftest import Golden
from tests.helpers.backends import NATIVE
from tests.helpers.keras_private import flatten_layers
from tests.helpers.numerics import Array, nhwc, random, relative_error
from tests.helpers.official_networks import parameters

UNIT_ROUNDOFF = {"mixed_bfloat16": float(finfo(bfloat16).eps) / 2, "mixed_float16": float(finfo(np.float16).eps) / 2}

MIXED = pytest.mark.parametrize("policy", UNIT_ROUNDOFF)


pytestmark = pytest.mark.usefixtures("implementation")


def generator(resolution: int = 16, dtype: str = "float32", **overrides: Any) -> Generator:
    options = {"channel_base": 8 * resolution, "channel_max": 8, "z_dim": 6, "w_dim": 5, **overrides}
    return build_generator(Generator.from_preset("stylegan3-t", resolution, **options).config, dtype=dtype)


def discriminator(resolution: int = 16, dtype: str = "float32", **overrides: Any) -> Discriminator:
    options = {"channel_base": 8 * resolution, "channel_max": 8, "mbstd_group_size": 2, **overrides}
    return Discriminator(Discriminator.from_preset("stylegan3-t", resolution, **options).config, dtype=dtype)


# Which layers


@MIXED
def test_layers_of_the_highest_rates_compute_in_16_bits(policy: str) -> None:
    model = generator(256, policy)
    narrow = policy.removeprefix("mixed_")
    assert {layer.plan.in_rate for layer in model.synthesis_layers} > {16, 64, 256}
    for layer in model.synthesis_layers:
        assert layer.compute_dtype == (narrow if 16 * layer.plan.out_rate > 256 else "float32"), layer.name
        assert layer.affine.compute_dtype == "float32"
    assert {model.mapping_network.compute_dtype, model.fourier_input.compute_dtype} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}


@MIXED
def test_blocks_of_the_highest_resolutions_compute_in_16_bits(policy: str) -> None:
    model = discriminator(256, policy, label_dim=3)
    narrow = policy.removeprefix("mixed_")
    assert {block.name: block.compute_dtype for block in model.blocks} == {
        **{f"b{resolution}": narrow for resolution in (256, 128, 64, 32)},
        **{f"b{resolution}": "float32" for resolution in (16, 8)},
    }
    assert all(c.compute_dtype == block.compute_dtype for block in model.blocks for c in (block.conv0, block.conv1))
    assert model.fromrgb.compute_dtype == narrow
    others = (model.stddev, model.conv, model.fc, model.out, model.mapping_network)
    assert {layer.compute_dtype for layer in others} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}


@pytest.mark.parametrize("make", [generator, discriminator])
def test_float32_is_float32_everywhere(make: Any) -> None:
    assert {layer.compute_dtype for layer in flatten_layers(make())} == {"float32"}


@pytest.mark.parametrize("make", [generator, discriminator])
def test_narrow_weights_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match="^dtype='float16': weights are always float32; use 'mixed_float16'$"):
        make(dtype="float16")


@pytest.mark.parametrize(
    ("make", "policy", "shape"),
    [(generator, "mixed_bfloat16", (1, 6)), (discriminator, "mixed_float16", (1, 256, 256, 3))],
)
def test_save_and_load(make: Any, policy: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    model, inputs = make(256, policy), random(*shape)
    y = model(inputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.dtype_policy.name == policy

    def policies(model: keras.Model) -> list[str]:
        return [layer.dtype_policy.name for layer in flatten_layers(model)]

    assert policies(loaded) == policies(model)
    np.testing.assert_array_equal(loaded(inputs), y)


@pytest.mark.parametrize(
    ("make", "policy", "shape"),
    [(generator, "mixed_float16", (3, 6)), (discriminator, "mixed_bfloat16", (2, 16, 16, 3))],
)
def test_predictions_are_float32(make: Any, policy: str, shape: tuple[int, ...]) -> None:
    model, inputs = make(16, policy), random(*shape)
    y = model.predict(inputs, verbose=0)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, model(inputs), rtol=0, atol=8 * UNIT_ROUNDOFF[policy])


@MIXED
def test_latents_and_style_vectors_are_not_rounded(policy: str) -> None:
    mixed, exact = generator(16, policy), generator(16)
    mixed.set_weights(exact.get_weights())
    seen: list[tf.Tensor] = []
    layer = mixed.synthesis_layers[5]
    call, layer.affine.call = layer.affine.call, lambda w: seen.append(w) or call(w)
    mixed(random(2, 6))
    assert seen[0].dtype == tf.float32
    np.testing.assert_allclose(seen[0], exact.mapping(random(2, 6))[:, 6], rtol=1e-6)


# How near to float32. Every layer rounds some four times (styles, convolution, demodulation, nonlinearity), each time
# by less than the unit roundoff, and independently of the others.


GENERATORS: dict[str, dict[str, Any]] = {
    "generator_t32": {
        "preset": "stylegan3-t", "channel_base": 512, "channel_max": 24, "label_dim": 4, "z_dim": 20, "w_dim": 16
    },
    "generator_r32": {"preset": "stylegan3-r", "channel_base": 256, "channel_max": 12, "z_dim": 16, "w_dim": 16},
    "few layers": {  # which XLA compiles in seconds, with random weights
        "preset": "stylegan3-t", "channel_base": 512, "channel_max": 24, "w_dim": 16, "num_layers": 2, "num_critical": 1
    },
}  # fmt: skip


def rounding(policy: str, layers: int) -> float:
    return (4 * layers) ** 0.5 * UNIT_ROUNDOFF[policy]


def flipping(error: float, layers: int) -> float:
    """Relative error that leaky ReLUs add to a gradient where values are wrong by `error` of their spread.

    A share error * sqrt(2 / pi) of the samples changes sign, and with it the slope, by 1 - 0.2 of the larger.
    """
    return 0.8 * (layers * error * (2 / np.pi) ** 0.5) ** 0.5


def assert_near(actual: list[Any], exact: list[Any], bound: float) -> None:
    a, b = (np.concatenate([np.ravel(np.asarray(t, np.float64)) for t in arrays]) for arrays in (actual, exact))
    assert relative_error(a, b) < bound
    assert np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) > 1 - bound**2


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Outputs and gradients of a model with official weights."""

    result: Array
    gradients: list[Array]
    second: list[Array]


@functools.cache
def generator_arrays(name: str, golden: Golden) -> dict[str, Array]:
    """Weights, style vectors, and the gradient of the image."""
    if name != "few layers":
        return golden(name)
    initial = weights.to_arrays(Generator.from_preset(resolution=32, **GENERATORS[name]))
    arrays = {f"G/{path}": array for path, array in initial.items()}
    return {**arrays, "ws": random(2, 4, 16), "image_cotangent": random(2, 3, 32, 32, seed=1)}


def generated(name: str, arrays: dict[str, Array], policy: str) -> Outcome:
    model = build_generator(Generator.from_preset(resolution=32, **GENERATORS[name]).config, dtype=policy)
    weights.load_arrays(model, parameters(arrays, "G/"))
    ws, variables = tf.constant(arrays["ws"]), [v.value for v in model.trainable_variables if "mapping" not in v.path]
    with tf.GradientTape() as outer:
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(ws)
            image = model.synthesis(ws)
            product = tf.reduce_sum(image * nhwc(arrays["image_cotangent"])) / 64  # else its square leaves float16
        length = tf.reduce_sum(inner.gradient(product, ws) ** 2)
    second = outer.gradient(length, variables, unconnected_gradients="zero")
    first = inner.gradient(product, [ws, *variables])
    return Outcome(image.numpy(), *([g.numpy() for g in gradients] for gradients in (first, second)))


def judged(arrays: dict[str, Array], policy: str) -> Outcome:
    options = {"channel_base": 512, "channel_max": 24, "label_dim": 4, "mbstd_group_size": 2}
    model = Discriminator(Discriminator.from_preset("stylegan3-t", 32, **options).config, dtype=policy)
    weights.load_arrays(model, parameters(arrays, "D/"))
    x, variables = tf.constant(nhwc(arrays["real_nchw"])), [v.value for v in model.trainable_variables]
    with tf.GradientTape() as outer:
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(x)
            logits = model(x, label=arrays["c"])
            total = tf.reduce_sum(logits)
        penalty = tf.reduce_sum(inner.gradient(total, x) ** 2)
    second = outer.gradient(penalty, variables, unconnected_gradients="zero")
    first = inner.gradient(total, [x, *variables])
    return Outcome(logits.numpy(), *([g.numpy() for g in gradients] for gradients in (first, second)))


@functools.cache
def exactly_generated(name: str, golden: Golden) -> Outcome:
    with use_backend("matmul"):
        return generated(name, generator_arrays(name, golden), "float32")


@functools.cache
def exactly_judged(golden: Golden) -> Outcome:
    with use_backend("matmul"):
        return judged(golden("training_step"), "float32")


@pytest.mark.parametrize(
    ("name", "policy", "implementation"),
    [
        ("generator_t32", "mixed_bfloat16", "matmul"),
        ("generator_t32", "mixed_float16", "matmul"),
        *(
            pytest.param(name, policy, "native", marks=pytest.mark.native)
            for name in ("generator_t32", "generator_r32")
            for policy in UNIT_ROUNDOFF
        ),
        ("few layers", "mixed_float16", "xla"),
    ],
    indirect=["implementation"],
)
def test_generator_is_near_float32(golden: Golden, name: str, policy: str) -> None:
    exact, mixed = exactly_generated(name, golden), generated(name, generator_arrays(name, golden), policy)
    layers = GENERATORS[name].get("num_layers", 14)
    error = rounding(policy, layers + 1)
    assert mixed.result.dtype == np.float32
    assert error / 20 < relative_error(mixed.result, exact.result) < error
    assert_near(mixed.gradients, exact.gradients, flipping(error, layers))
    assert_near(mixed.second, exact.second, 2 * flipping(error, layers))  # every slope enters twice


@pytest.mark.parametrize(
    ("policy", "implementation"),
    [
        *((policy, "matmul") for policy in UNIT_ROUNDOFF),
        *(pytest.param(policy, "native", marks=pytest.mark.native) for policy in UNIT_ROUNDOFF),
        pytest.param("mixed_bfloat16", "xla", marks=pytest.mark.slow),  # the generator above has float16
    ],
    indirect=["implementation"],
)
def test_discriminator_is_near_float32(golden: Golden, policy: str) -> None:
    exact, mixed = exactly_judged(golden), judged(golden("training_step"), policy)
    error = rounding(policy, layers=7)
    assert mixed.result.dtype == np.float32
    assert error / 100 < relative_error(mixed.result, exact.result) < error
    assert_near(mixed.gradients, exact.gradients, flipping(error, layers=7))
    assert_near(mixed.second, exact.second, 2 * flipping(error, layers=7))


# Overflow


def not_finite(gradients: list[Any]) -> bool:
    return not all(np.all(np.isfinite(g)) for g in gradients if g is not None)


@pytest.mark.parametrize(
    "implementation", ["matmul", NATIVE, pytest.param("xla", marks=pytest.mark.slow)], indirect=True
)
def test_overflow_of_the_discriminator_shows() -> None:
    """1e6 is infinite in float16 but not in bfloat16."""
    for policy, overflows in [("mixed_float16", True), ("mixed_bfloat16", False)]:
        model, x = discriminator(16, policy), 1e6 * random(2, 16, 16, 3)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x))
        assert not_finite(tape.gradient(loss, model.trainable_variables)) == overflows


@pytest.mark.parametrize("implementation", ["matmul", NATIVE], indirect=True)
def test_overflow_of_the_generator_shows() -> None:
    """Compiled by XLA, filtered_lrelu lets no NaN vanish either: tests/sg3tf/ops."""
    for policy, overflows in [("mixed_float16", True), ("mixed_bfloat16", False)]:
        model, ws = generator(16, policy, num_layers=2, num_critical=1), random(2, 4, 5)
        model.synthesis_layers[-1].affine.bias.assign(tf.fill([8], 1e6))  # ToRGB has no demodulation
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model.synthesis(ws))
        assert not_finite(tape.gradient(loss, model.trainable_variables)) == overflows
