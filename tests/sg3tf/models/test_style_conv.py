"""StyleGAN2's layers: as Keras layers do, against the float64 reference, and in 16 bits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.models.ablation_layers import AblationLayer
from sg3tf.models.stylegan2 import StyleConv, ToRGB
from tests.helpers.backends import WITH_AND_WITHOUT_NATIVE
from tests.helpers.layer_checks import LayerCase, check_layer, plan
from tests.helpers.numerics import Array, nchw, nhwc, random, relative_error
from tests.helpers.reference import generator as reference
from tests.helpers.reference import resampling
from tests.helpers.reference.filters import low_pass

W_DIM = 7
FIR = np.array([1, 3, 3, 1]) / 8


pytestmark = pytest.mark.usefixtures("implementation")

CASES = {
    "StyleConv": LayerCase(
        lambda **kwargs: StyleConv(5, 3, 6, clamp=100.0, **kwargs),
        {"x": (6, 6, 5), "w": (W_DIM,), "noise": (6, 6)},
        (6, 6, 3),
        trainable=5,
        frozen=1,
    ),
    "StyleConv, up": LayerCase(
        lambda **kwargs: StyleConv(5, 3, 6, up=2, **kwargs),
        {"x": (3, 3, 5), "w": (W_DIM,), "noise": (6, 6)},
        (6, 6, 3),
        trainable=5,
        frozen=1,
    ),
    "StyleConv, without noise": LayerCase(
        lambda **kwargs: StyleConv(5, 3, 6, noise=False, **kwargs),
        {"x": (6, 6, 5), "w": (W_DIM,)},
        (6, 6, 3),
        trainable=4,
    ),
    "ToRGB": LayerCase(
        lambda **kwargs: ToRGB(5, 3, 100.0, **kwargs),
        {"x": (6, 6, 5), "w": (W_DIM,)},
        (6, 6, 3),
        trainable=4,
        always_float32=True,
    ),
}


@WITH_AND_WITHOUT_NATIVE
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_behaves_as_a_keras_layer(case: str, policy: str, tmp_path: Path) -> None:
    check_layer(CASES[case], policy, tmp_path)


def built(layer: Any, channels: int) -> Any:
    """The layer with random weights."""
    layer.build((None, None, None, channels), (None, W_DIM))
    for seed, weight in enumerate(layer.weights, start=10):
        weight.assign(random(*weight.shape, seed=seed))
    return layer


def official(layer: Any, w: Array) -> tuple[Array, Array, Array]:
    """Weights [out, in, height, width], styles and bias [out, 1, 1] in float64."""
    weight = layer.kernel.numpy().transpose(3, 2, 0, 1).astype(np.float64)
    arrays = {"affine.weight": layer.affine.kernel.numpy().T, "affine.bias": layer.affine.bias.numpy()}
    return weight, reference.dense(arrays, "affine", w.astype(np.float64)), layer.bias.numpy()[:, None, None]


def expected_style_conv(layer: StyleConv, x: Array, w: Array, noise: Array | None) -> Array:
    """One kernel per image; doubling inserts zeros, convolves, and filters. [N, C, H, W]"""
    weight, styles, bias = official(layer, w)
    x = nchw(x).astype(np.float64)
    if layer.up == 2:
        count, channels, height, width = x.shape
        spread = np.zeros([count, channels, 2 * height - 1, 2 * width - 1])
        spread[:, :, ::2, ::2] = x
        y = reference.modulated_conv(spread, weight[:, :, ::-1, ::-1], styles, True, 1.0)  # convolve, not correlate
        y = resampling.upfirdn2d(y, FIR, pad=(1, 1, 1, 1), gain=4)
    else:
        y = reference.modulated_conv(x, weight, styles, True, 1.0)[:, :, 1:-1, 1:-1]
    if noise is not None:
        y = y + float(layer.noise_strength) * noise[:, None]
    return np.clip(reference.lrelu(y + bias) * math.sqrt(2), -layer.clamp, layer.clamp)


@WITH_AND_WITHOUT_NATIVE
@pytest.mark.parametrize("up", [1, 2])
def test_style_conv(up: int) -> None:
    layer = built(StyleConv(5, 4, 6, up=up, clamp=2.0), 5)
    x, w = random(3, 6 // up, 6 // up, 5), random(3, W_DIM, seed=1)
    for noise in (None, random(3, 6, 6, seed=2), random(1, 6, 6, seed=3)):
        expected = expected_style_conv(layer, x, w, noise)
        assert np.mean(np.abs(expected) == 2) > 0.05
        assert relative_error(nchw(layer(x, w, noise=noise)), expected) < 1e-6


def test_to_rgb() -> None:
    layer = built(ToRGB(5, 3, clamp=2.0), 5)
    x, w = random(3, 6, 4, 5), random(3, W_DIM, seed=1)
    weight, styles, bias = official(layer, w)
    y = reference.modulated_conv(nchw(x).astype(np.float64), weight, styles / math.sqrt(5), False, 1.0)
    expected = np.clip(y + bias, -2, 2)
    assert np.mean(np.abs(expected) == 2) > 0.05
    assert relative_error(nchw(layer(x, w)), expected) < 1e-6


def test_an_image_does_not_depend_on_the_batch_it_is_in() -> None:
    """Styles are scaled image by image: the larger one of another image takes no digits away."""
    layer = built(StyleConv(5, 4, 6), 5)
    x, w = random(2, 6, 6, 5), random(2, W_DIM, seed=1) * np.float32([[1], [1e6]])
    assert relative_error(layer(x, w)[:1], layer(x[:1], w[:1])) < 1e-6


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    "make", [lambda dtype: StyleConv(5, 4, 6, dtype=dtype), lambda dtype: StyleConv(5, 4, 12, 2, dtype=dtype),
             lambda dtype: ToRGB(5, 3, dtype=dtype)], ids=["same", "up", "to RGB"]
)  # fmt: skip
def test_16_bits_only_round(make: Any, policy: str) -> None:
    """Six roundings of input, kernel, factors and results; neither w nor a kernel need fit into 16 bits."""
    exact, narrow = built(make("float32"), 5), built(make(policy), 5)
    x, w = random(3, 6, 6, 5), 1e6 * random(3, W_DIM, seed=1)
    for layer in (exact, narrow):
        layer.affine.kernel.assign(1e-6 * layer.affine.kernel)
        if isinstance(layer, StyleConv):
            layer.kernel.assign(1e6 * layer.kernel)
    y, expected = narrow(x, w), exact(x, w)
    assert y.dtype == (narrow.compute_dtype if isinstance(narrow, StyleConv) else "float32")
    eps = 2.0**-8 if policy == "mixed_bfloat16" else 2.0**-11
    assert 0.1 * eps < relative_error(tf.cast(y, tf.float32), expected) < 3 * eps


def test_colors_are_summed_in_float32() -> None:
    layer = built(ToRGB(5, 3, dtype="mixed_bfloat16"), 5)
    y = layer(np.zeros([1, 2, 2, 5], np.float32), random(1, W_DIM))
    np.testing.assert_array_equal(y, np.broadcast_to(layer.bias, y.shape))


def test_gradient_of_shared_noise_is_summed_over_images_in_float32() -> None:
    """Summed in float16, with which TensorFlow begins, it would be wrong by a third."""
    layer = built(StyleConv(1, 512, 4, dtype="mixed_float16"), 1)
    layer.noise_strength.assign(1.0)
    layer.bias.assign(np.ones(512))  # above zero: linear
    noise, g = tf.zeros([1, 4, 4]), np.random.default_rng(0).uniform(0.5, 1, [8, 4, 4, 512]).astype(np.float16)
    with tf.GradientTape() as tape:
        tape.watch(noise)
        y = layer(np.zeros([8, 4, 4, 1], np.float32), random(8, W_DIM), noise=noise)
    expected = math.sqrt(2) * np.sum(g.astype(np.float64), axis=(0, 3))
    np.testing.assert_allclose(tape.gradient(y, noise, g)[0], expected, rtol=2e-3)  # of 16 bits with eps 5e-4


def test_noise_is_scaled_by_its_strength_and_starts_silent() -> None:
    layer = StyleConv(5, 4, 6)
    x, w, noise = random(1, 6, 6, 5), random(1, W_DIM), random(1, 6, 6)
    silent = layer(x, w)
    np.testing.assert_array_equal(layer(x, w, noise=noise), silent)
    layer.noise_strength.assign(0.1)
    layer.bias.assign(np.full(4, 50.0))  # everything above zero: linear
    added = layer(x, w, noise=noise) - layer(x, w)
    np.testing.assert_allclose(added, np.repeat(nhwc(noise[:, None]), 4, 3) * 0.1 * math.sqrt(2), atol=2e-5)


def test_starting_weights_are_drawn_apart() -> None:
    layer = StyleConv(32, 32, 16)
    layer.build((None, 16, 16, 32), (None, W_DIM))
    kernel, noise = np.ravel(layer.kernel), np.ravel(layer.noise_const)
    assert abs(np.corrcoef(kernel[: len(noise)], noise)[0, 1]) < 4 / 16
    assert np.std(kernel) == pytest.approx(1, abs=0.05)


def test_up_is_one_or_two() -> None:
    with pytest.raises(ValueError, match="up=3: use 1 or 2"):
        StyleConv(5, 4, 6, up=3)


# Layers of configs D and E (arXiv 2106.12423, section 3), which upsample while they convolve


@WITH_AND_WITHOUT_NATIVE
@pytest.mark.parametrize("index", [1, 2, 5])
def test_a_layer_of_config_d_is_one_of_stylegan2_without_noise(index: int) -> None:
    p = plan(index, "stylegan3-d")
    theirs = built(
        StyleConv(p.in_channels, p.out_channels, p.out_size, up=p.conv_up, clamp=2.0, noise=False), p.in_channels
    )
    ours = AblationLayer(p, conv_clamp=2.0)
    ours.build(None, (None, W_DIM))
    for name in ("kernel", "bias"):
        getattr(ours, name).assign(getattr(theirs, name))
    for weight, value in zip(ours.affine.weights, theirs.affine.weights, strict=True):
        weight.assign(value)
    x, w = random(3, p.in_size, p.in_size, p.in_channels), random(3, W_DIM, seed=1)
    assert len(theirs.weights) == 4
    assert relative_error(ours(x, w), theirs(x, w)) < 1e-6
    ours.magnitude_ema.assign(4.0)
    assert relative_error(ours(2 * x, w), theirs(x, w)) < 1e-6


@WITH_AND_WITHOUT_NATIVE
def test_a_layer_of_config_e_has_a_windowed_sinc() -> None:
    """12 taps, and a canvas that is cropped, in float64."""
    p = plan(4, "stylegan3-e")
    assert (p.in_size, p.out_size, p.in_rate, p.out_rate) == (28, 36, 8, 16)
    layer = built(AblationLayer(p, conv_clamp=2.0), p.in_channels)
    layer.magnitude_ema.assign(1.0)
    x, w = random(3, 28, 28, p.in_channels), random(3, W_DIM, seed=1)
    weight, styles, bias = official(layer, w)
    spread = np.zeros([3, p.in_channels, 55, 55])
    spread[:, :, ::2, ::2] = nchw(x)
    y = reference.modulated_conv(spread, weight[:, :, ::-1, ::-1], styles, True, 1.0)
    taps = low_pass(12, 4.0, 4 * (math.sqrt(2) - 1), 16.0)
    # Of 57 samples 46 remain without padding, centered as they were; 36 of these are the canvas.
    y = resampling.upfirdn2d(y, taps, gain=4)[:, :, 5:-5, 5:-5]
    expected = np.clip(reference.lrelu(y + bias) * math.sqrt(2), -2, 2)
    assert np.mean(np.abs(expected) == 2) > 0.05
    assert relative_error(nchw(layer(x, w)), expected) < 1e-6
