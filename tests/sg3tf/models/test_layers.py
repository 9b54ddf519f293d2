"""One check that every layer behaves as Keras layers do, then each layer's function against the reference."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from sg3tf.models.ablation_layers import AblationLayer
from sg3tf.models.ablations import AblationLayerPlan
from sg3tf.models.configs import GeneratorConfig
from sg3tf.models.discriminator import DiscriminatorBlock, MinibatchStddev
from sg3tf.models.layer_plan import plan_synthesis
from sg3tf.models.layers import EqualizedConv2D, EqualizedDense, MappingNetwork, full_conv, modulated_conv
from sg3tf.models.presets import generator_preset
from sg3tf.models.stylegan1 import AdaINConv
from sg3tf.models.stylegan3 import FourierInput, SynthesisLayer
from sg3tf.utils.resolution import Resolution, Size, image_shape
from tests.helpers.backends import WITH_AND_WITHOUT_NATIVE
from tests.helpers.layer_checks import LayerCase, check_layer, plan
from tests.helpers.numerics import Array, nchw, nhwc, random, relative_error
from tests.helpers.reference import discriminator as reference_discriminator
from tests.helpers.reference import generator as reference
from tests.helpers.reference import plan as reference_plan
from tests.helpers.reference.parameters import generator_arrays

W_DIM = 7


pytestmark = pytest.mark.usefixtures("implementation")


def config(preset: str = "stylegan3-t", **overrides: Any) -> GeneratorConfig:
    return generator_preset(preset, 16, **{"channel_base": 48, "channel_max": 5, "w_dim": W_DIM, **overrides})


def synthesis_case(index: int, preset: str, resolution: Resolution = 16) -> LayerCase:
    p = plan(index, preset, resolution)
    inputs = {"x": image_shape(p.in_size, p.in_channels), "w": (W_DIM,)}
    output = image_shape(p.out_size, p.out_channels)
    layer_class = AblationLayer if isinstance(p, AblationLayerPlan) else SynthesisLayer
    return LayerCase(lambda **kwargs: layer_class(p, 100.0, 0.9, **kwargs), inputs, output, trainable=4, frozen=1)


CASES = {
    "Dense": LayerCase(lambda **kwargs: EqualizedDense(3, **kwargs), {"x": (6,)}, (3,), 2),
    "Dense, lrelu": LayerCase(
        lambda **kwargs: EqualizedDense(3, "lrelu", 0.01, 2.0, 0.5, **kwargs), {"x": (2, 6)}, (2, 3), 2
    ),
    "FourierInput": LayerCase(
        lambda **kwargs: FourierInput(5, 9, 8, 2.0, **kwargs), {"w": (W_DIM,)}, (9, 9, 5), 3, 3, always_float32=True
    ),
    "FourierInput, moved": LayerCase(
        lambda **kwargs: FourierInput(5, 9, 8, 2.0, **kwargs),
        {"w": (W_DIM,), "transform": (3, 3)},
        (9, 9, 5),
        3,
        3,
        always_float32=True,
    ),
    "FourierInput, not by w": LayerCase(
        lambda **kwargs: FourierInput(5, 9, 4, 2.0, transformed=False, **kwargs),
        {"w": (W_DIM,), "transform": (3, 3)},
        (9, 9, 5),
        1,
        3,
        always_float32=True,
    ),
    "FourierInput, wide": LayerCase(
        lambda **kwargs: FourierInput(5, (9, 7), 8, 2.0, **kwargs), {"w": (W_DIM,)}, (7, 9, 5), 3, 3, True
    ),
    "Mapping": LayerCase(
        lambda **kwargs: MappingNetwork(6, 0, W_DIM, 2, track_w_avg=True, **kwargs), {"z": (6,)}, (W_DIM,), 4, 1, True
    ),
    "Mapping, labels": LayerCase(
        lambda **kwargs: MappingNetwork(6, 3, W_DIM, 2, **kwargs), {"z": (6,), "label": (3,)}, (W_DIM,), 6, 0, True
    ),
    "Mapping, labels alone": LayerCase(
        lambda **kwargs: MappingNetwork(0, 3, W_DIM, 8, **kwargs), {"label": (3,)}, (W_DIM,), 18, 0, True
    ),
    "SynthesisLayer, first": synthesis_case(0, "stylegan3-t"),
    "SynthesisLayer, critical": synthesis_case(13, "stylegan3-t"),
    "SynthesisLayer, radial": synthesis_case(4, "stylegan3-r"),
    "SynthesisLayer, to RGB": synthesis_case(14, "stylegan3-r"),
    "SynthesisLayer, wide": synthesis_case(13, "stylegan3-r", Size(24, 16)),
    "AblationLayer, bilinear": synthesis_case(2, "stylegan3-d"),
    "AblationLayer, not filtered": synthesis_case(4, "stylegan3-e"),
    "AblationLayer, pyramid": synthesis_case(2, "stylegan3-g"),
    "Conv": LayerCase(
        lambda **kwargs: EqualizedConv2D(3, 3, "lrelu", clamp=2.0, **kwargs), {"x": (6, 4, 5)}, (6, 4, 3), 2
    ),
    "Conv, down": LayerCase(
        lambda **kwargs: EqualizedConv2D(3, 3, "lrelu", down=2, **kwargs), {"x": (6, 4, 5)}, (3, 2, 3), 2
    ),
    "Conv, skip": LayerCase(
        lambda **kwargs: EqualizedConv2D(3, 1, use_bias=False, down=2, gain=0.5, **kwargs),
        {"x": (6, 4, 5)},
        (3, 2, 3),
        1,
    ),
    "MinibatchStddev": LayerCase(lambda **kwargs: MinibatchStddev(2, 3, **kwargs), {"x": (4, 4, 6)}, (4, 4, 9), 0),
    "AdaINConv": LayerCase(
        lambda **kwargs: AdaINConv(3, 8, 2, **kwargs),
        {"x": (4, 4, 5), "w": (W_DIM,), "noise": (8, 8)},
        (8, 8, 3),
        5,
        1,
        True,
    ),
    "AdaINConv, of the constant": LayerCase(
        lambda **kwargs: AdaINConv(5, 4, 0, **kwargs),
        {"x": (4, 4, 5), "w": (W_DIM,), "noise": (4, 4)},
        (4, 4, 5),
        4,
        1,
        True,
    ),
    "DiscriminatorBlock": LayerCase(
        lambda **kwargs: DiscriminatorBlock(5, 3, clamp=100.0, **kwargs), {"x": (8, 8, 5)}, (4, 4, 3), 5
    ),
    "DiscriminatorBlock, no skip": LayerCase(
        lambda **kwargs: DiscriminatorBlock(5, 3, residual=False, **kwargs), {"x": (8, 8, 5)}, (4, 4, 3), 4
    ),
}


@WITH_AND_WITHOUT_NATIVE
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("case", CASES)
def test_behaves_as_a_keras_layer(case: str, policy: str, tmp_path: Path) -> None:
    check_layer(CASES[case], policy, tmp_path)


# Dense


@pytest.mark.parametrize(("activation", "lr_multiplier"), [("linear", 1.0), ("lrelu", 0.01)])
def test_dense(activation: str, lr_multiplier: float) -> None:
    layer = EqualizedDense(5, activation, lr_multiplier)
    x = random(3, 6)
    layer(x)
    layer.bias.assign(random(5) / lr_multiplier)
    arrays = {"layer.weight": layer.kernel.numpy().T, "layer.bias": layer.bias.numpy()}
    expected = reference.dense(arrays, "layer", x.astype(np.float64), lr_multiplier)
    if activation == "lrelu":
        expected = reference.lrelu(expected) * math.sqrt(2)
    assert relative_error(layer(x), expected) < 1e-6


def test_dense_starts_at_unit_variance_whatever_the_learning_rate() -> None:
    for lr_multiplier in (1.0, 0.01):
        layer = EqualizedDense(400, lr_multiplier=lr_multiplier, bias_init=2.0)
        y = np.asarray(layer(random(64, 300)))
        assert np.mean(y) == pytest.approx(2, abs=0.05)
        assert np.std(y) == pytest.approx(1, abs=0.03)
        assert np.std(layer.kernel) == pytest.approx(1 / lr_multiplier, rel=0.03)
    one_each = EqualizedDense(3, kernel_scale=0.0, bias_init=(1.0, 2.0, 3.0))
    np.testing.assert_array_equal(one_each(random(2, 4)), [[1, 2, 3]] * 2)


@pytest.mark.parametrize("make", [lambda: EqualizedDense(3, "swish"), lambda: EqualizedConv2D(3, 3, "swish")])
def test_unknown_activation(make: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match="activation='swish': use 'linear', 'relu', 'lrelu'"):
        make()


# FourierInput


def fourier_input() -> tuple[FourierInput, dict[str, Array]]:
    """A layer whose weights are all random, and the same under their official names."""
    layer = FourierInput(6, 10, 8, 2.0)
    layer.build((None, W_DIM))
    for index, weight in enumerate(layer.weights):
        weight.assign(random(*weight.shape, seed=index))
    arrays = {f"synthesis.input.{name}": getattr(layer, name).numpy() for name in ("freqs", "phases", "transform")}
    arrays["synthesis.input.weight"] = layer.kernel.numpy().T
    arrays["synthesis.input.affine.weight"] = layer.affine.kernel.numpy().T
    arrays["synthesis.input.affine.bias"] = layer.affine.bias.numpy()
    return layer, arrays


@pytest.mark.parametrize("transform", [None, random(3, 3, seed=8), random(2, 3, 3, seed=9)], ids=["own", "one", "each"])
def test_fourier_input(transform: Array | None) -> None:
    layer, arrays = fourier_input()
    w = random(2, W_DIM, seed=7)
    each = [transform] * 2 if transform is None or transform.ndim == 2 else transform
    expected = [reference.fourier_input(arrays, w[i : i + 1], 10, 8, 2.0, each[i])[0] for i in range(2)]
    assert relative_error(nchw(layer(w, transform=transform)), expected) < 1e-5  # angles of several turns


def test_fourier_input_starts_unmoved() -> None:
    layer = FourierInput(6, 10, 8, 2.0)
    first, second = np.asarray(layer(random(2, W_DIM)))
    np.testing.assert_array_equal(first, second)  # whatever w
    np.testing.assert_array_equal(layer.transform, np.eye(3))


def test_fourier_input_draws_frequencies_evenly_from_the_disc() -> None:
    layer = FourierInput(1500, 1, 16, 2.0)
    layer.build((None, W_DIM))
    x, y = layer.freqs.numpy().T
    # P(|f| < r) = (r / bandwidth)^2 says that areas are equally likely.
    for sample in ((x**2 + y**2) / 2.0**2, np.arctan2(y, x) / (2 * np.pi) + 0.5, layer.phases.numpy() + 0.5):
        assert scipy.stats.kstest(sample, "uniform").pvalue > 0.001


@pytest.mark.parametrize("shape", [(2, 2), (3,), (1, 2, 3, 3)])
def test_fourier_input_refuses_other_transforms(shape: tuple[int, ...]) -> None:
    layer, _ = fourier_input()
    with pytest.raises(ValueError, match=r"transform of shape .*: give \[3, 3\] or \[N, 3, 3\]"):
        layer(random(2, W_DIM), transform=np.zeros(shape, np.float32))


def test_fourier_input_not_moved_by_w_is_one_that_begins_so() -> None:
    begins, never = FourierInput(6, 10, 8, 2.0), FourierInput(6, 10, 8, 2.0, transformed=False)
    w, transform = random(2, W_DIM), random(2, 3, 3)
    expected = begins(w, transform=transform)
    never.build((None, W_DIM))
    for name in ("kernel", "freqs", "phases"):
        getattr(never, name).assign(getattr(begins, name))
    assert relative_error(never(w, transform=transform), expected) < 1e-6
    own = np.asarray(never(w))
    np.testing.assert_array_equal(own[0], own[1])  # one for every image, as many as there are rows of w
    assert relative_error(own, begins(w)) < 1e-6


def test_fourier_input_at_half_of_the_sampling_rate_keeps_waves_that_are_turned() -> None:
    """Rounding makes their frequencies larger than the bandwidth by 1e-7 of it; much larger ones would be aliases."""
    layer = FourierInput(400, 4, 4, 2.0, transformed=False)
    layer.build((None, W_DIM))
    angles = np.linspace(0, 2 * np.pi, 400)
    layer.freqs.assign(2 * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    layer.kernel.assign(20 * np.eye(400))
    w, angle = random(1, W_DIM), 0.3
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)
    for transform in (np.eye(3, dtype=np.float32), turn):
        moved = layer.freqs.numpy() @ transform[:2, :2]
        centers = (np.arange(4) - 1.5) / 4
        x, y = np.meshgrid(centers, centers)
        turns = x[..., None] * moved[:, 0] + y[..., None] * moved[:, 1] + layer.phases.numpy()
        np.testing.assert_allclose(layer(w, transform=transform)[0], np.sin(2 * np.pi * turns), atol=1e-3)
    assert not np.any(layer(w, transform=np.diag([1.1, 1.1, 1.0]).astype(np.float32)))


# Mapping


def test_mapping() -> None:
    arrays = generator_arrays(config(label_dim=3, z_dim=6))
    layer = MappingNetwork(6, 3, W_DIM, 2)
    layer.build()
    for ours, name in [(layer.embed, "embed"), (layer.dense[0], "fc0"), (layer.dense[1], "fc1")]:
        ours.kernel.assign(arrays[f"mapping.{name}.weight"].T)
        ours.bias.assign(arrays[f"mapping.{name}.bias"])
    z, label = 10 * random(3, 6), random(3, 3)
    assert relative_error(layer(z, label=label), reference.mapping(arrays, z, label, 2)) < 1e-6


def test_mapping_tracks_its_average_only_when_asked() -> None:
    layer = MappingNetwork(6, 0, W_DIM, 2, track_w_avg=True)
    w = layer(random(3, 6))
    np.testing.assert_array_equal(layer.w_avg, np.zeros(W_DIM))
    layer.w_avg.assign(np.ones(W_DIM))
    np.testing.assert_array_equal(layer(random(3, 6), update_emas=True), w)
    np.testing.assert_allclose(layer.w_avg, 0.998 + 0.002 * np.mean(w, axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("z", "label", "message"),
    [
        (random(2, 5), random(2, 3), r"z of shape \(2, 5\): give \[N, 6\]"),
        (random(6), random(2, 3), r"z of shape \(6,\): give \[N, 6\]"),
        (random(2, 6), random(2, 4), r"label of shape \(2, 4\): give \[N, 3\]"),
        (random(2, 6), None, r"label is missing: this model needs label \[N, 3\]"),
    ],
)
def test_mapping_refuses_other_shapes(z: Array, label: Array | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MappingNetwork(6, 3, W_DIM, 2)(z, label=label)


# modulated_conv


def modulated(x: Any, kernel: Any, styles: Any, demodulate: bool = True, gain: float = 1.0) -> tf.Tensor:
    return modulated_conv(
        tf.convert_to_tensor(x), kernel, styles, demodulate=demodulate, input_gain=tf.cast(gain, styles.dtype)
    )


@WITH_AND_WITHOUT_NATIVE
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_modulated_conv_equals_one_kernel_per_image(kernel_size: int, demodulate: bool) -> None:
    x, kernel, styles = random(3, 6, 5, 4), random(kernel_size, kernel_size, 4, 2), random(3, 4)
    official = kernel.transpose(3, 2, 0, 1).astype(np.float64)
    expected = reference.modulated_conv(nchw(x).astype(np.float64), official, styles, demodulate, 0.7)
    assert relative_error(nchw(modulated(x, kernel, styles, demodulate, 0.7)), expected) < 1e-6


@WITH_AND_WITHOUT_NATIVE
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_modulated_conv_gradients(kernel_size: int) -> None:
    kernel_shape = (kernel_size, kernel_size, 2, 2)
    arguments = [tf.constant(random(*shape), tf.float64) for shape in ((2, 3, 3, 2), kernel_shape, (2, 2))]
    ours, differences = tf.test.compute_gradient(modulated, arguments, delta=1e-5)
    for exact, approximate in zip(ours, differences, strict=True):
        np.testing.assert_allclose(exact, approximate, rtol=1e-6, atol=1e-8)


def test_demodulation_takes_scales_away() -> None:
    x, kernel, styles = random(3, 6, 5, 4), random(3, 3, 4, 2), random(3, 4)
    expected = modulated(x, kernel, styles)
    assert relative_error(modulated(x, 1e6 * kernel, 1e-3 * styles), expected) < 1e-6
    half = modulated(tf.cast(x, tf.float16), 1e6 * kernel, 1e6 * styles)  # far outside of what 16 bits can hold
    assert half.dtype == tf.float16
    assert relative_error(half, expected) < 3e-3  # eps 1e-3


# SynthesisLayer


@WITH_AND_WITHOUT_NATIVE
@pytest.mark.parametrize(
    ("preset", "resolution", "index"),
    [
        ("stylegan3-t", 16, 0),
        ("stylegan3-t", 64, 4),  # up 4
        ("stylegan3-t", 16, 13),  # critically sampled
        ("stylegan3-t", 16, 14),  # to RGB
        ("stylegan3-r", 16, 5),
    ],
)
def test_synthesis_layer(preset: str, resolution: int, index: int) -> None:
    c = generator_preset(preset, resolution, channel_base=3 * resolution, channel_max=5, w_dim=W_DIM)
    arrays, expected_plan = generator_arrays(c), reference_plan.layers(c)[index]
    layer = SynthesisLayer(plan_synthesis(c).layers[index], conv_clamp=2.0)
    p = layer.plan
    layer.build((None, p.in_size, p.in_size, p.in_channels), (None, W_DIM))
    prefix = f"synthesis.{p.name}"
    layer.kernel.assign(arrays[f"{prefix}.weight"].transpose(2, 3, 1, 0))
    layer.affine.kernel.assign(arrays[f"{prefix}.affine.weight"].T)
    layer.affine.bias.assign(arrays[f"{prefix}.affine.bias"])
    for name in ("bias", "magnitude_ema"):
        getattr(layer, name).assign(arrays[f"{prefix}.{name}"])
    x, w = random(2, p.in_size, p.in_size, p.in_channels), random(2, W_DIM)
    expected = reference.synthesis_layer(arrays, expected_plan, nchw(x).astype(np.float64), w, clamp=2.0)
    assert relative_error(nchw(layer(x, w)), expected) < 1e-6


def test_synthesis_layer_measures_its_input_only_when_asked() -> None:
    layer = SynthesisLayer(plan(14), magnitude_ema_beta=0.75)
    x, w = 3 * random(2, 16, 16, plan(14).in_channels), random(2, W_DIM)
    before = np.asarray(layer(x, w))
    assert float(layer.magnitude_ema) == 1
    after = layer(x, w, update_emas=True)
    measured = 0.75 + 0.25 * np.mean(np.square(x))
    assert float(layer.magnitude_ema) == pytest.approx(measured, rel=1e-6)
    np.testing.assert_allclose(after, before / np.sqrt(measured), rtol=1e-5)  # linear, bias 0: the gain counts at once


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_synthesis_layer_measures_and_modulates_before_it_rounds(policy: str) -> None:
    tiny = 2.0**-13  # too little beside 1 for 16 bits
    layer = SynthesisLayer(plan(14), magnitude_ema_beta=0.0, dtype=policy)
    x = np.full([1, 16, 16, plan(14).in_channels], 1 + tiny, np.float32)
    w = np.full([1, W_DIM], 1 + tiny, np.float32)
    layer(x, w)
    layer.affine.kernel.assign(np.full(layer.affine.kernel.shape, 1 / W_DIM**0.5))
    layer.affine.bias.assign(np.full(layer.affine.bias.shape, -1))
    layer.kernel.assign(np.ones(layer.kernel.shape))
    y = layer(x, w, update_emas=True)
    assert float(layer.magnitude_ema) == pytest.approx((1 + tiny) ** 2, rel=tiny / 10)
    # The style is what w has beyond 1: nothing at all, if w were rounded before.
    np.testing.assert_allclose(np.asarray(y, np.float64), tiny * plan(14).in_channels ** 0.5, rtol=1e-2)


# Conv


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_conv_scales_its_kernel_before_it_rounds(policy: str) -> None:
    """Kernels of any trained size: 1e5 is infinite in float16."""
    wide, narrow = EqualizedConv2D(3, 3), EqualizedConv2D(3, 3, dtype=policy)
    x = random(2, 8, 6, 400)
    for layer in (wide, narrow):
        layer.build((None, None, None, 400))
        layer.kernel.assign(1e5 * random(3, 3, 400, 3, seed=1))
    y = narrow(1e-3 * x)
    assert y.dtype == narrow.compute_dtype
    assert relative_error(np.asarray(y, np.float64), wide(1e-3 * x)) < 1e-2


@WITH_AND_WITHOUT_NATIVE
@pytest.mark.parametrize("down", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_conv(kernel_size: int, down: int) -> None:
    x = random(2, 8, 6, 4)
    for activation, use_bias, gain, clamp in [("linear", False, 0.5, None), ("lrelu", True, 0.5, 0.9)]:
        layer = EqualizedConv2D(3, kernel_size, activation, use_bias, down, gain, clamp)
        layer(x)
        arrays = {"layer.weight": layer.kernel.numpy().transpose(3, 2, 0, 1)}
        if use_bias:
            layer.bias.assign(random(3))
            arrays["layer.bias"] = layer.bias.numpy()
        bound = math.inf if clamp is None else clamp
        expected = gain * reference_discriminator.conv(
            arrays, "layer", nchw(x).astype(np.float64), down, reference_discriminator.ACTIVATIONS[activation], bound
        )
        assert clamp is None or np.mean(np.abs(expected) == clamp * gain) > 0.05
        assert relative_error(nchw(layer(x)), expected) < 1e-6


def test_conv_downsamples_by_one_or_two() -> None:
    with pytest.raises(ValueError, match="down=3: use 1 or 2"):
        EqualizedConv2D(3, 3, down=3)


# MinibatchStddev


@pytest.mark.parametrize(
    ("batch", "group_size", "num_channels"), [(6, 3, 1), (6, 2, 2), (4, 4, 1), (3, 8, 4), (1, 4, 1)]
)
def test_minibatch_stddev(batch: int, group_size: int, num_channels: int) -> None:
    x = random(batch, 4, 4, 8)
    expected = nhwc(reference_discriminator.minibatch_stddev(nchw(x), group_size, num_channels))
    layer = MinibatchStddev(group_size, num_channels)
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-6)
    any_batch = tf.function(layer, input_signature=[tf.TensorSpec([None, 4, 4, 8])])
    np.testing.assert_allclose(any_batch(x), expected, rtol=0, atol=1e-6)


def test_minibatch_stddev_of_one_image_is_almost_zero_and_has_a_gradient() -> None:
    x = tf.constant(random(1, 4, 4, 8))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = MinibatchStddev(4)(x)
    np.testing.assert_allclose(y[..., -1], 1e-4, rtol=1e-5)
    assert np.all(np.isfinite(tape.gradient(y, x)))


def test_minibatch_stddev_gradient() -> None:
    """Against central differences in float64 of the definition."""
    x, cotangent = random(4, 2, 2, 6).astype(np.float64), random(4, 2, 2, 7, seed=1)
    with tf.GradientTape() as tape:
        given = tf.constant(x, tf.float32)
        tape.watch(given)
        y = MinibatchStddev(2)(given)
    gradient = tape.gradient(y, given, output_gradients=tf.constant(cotangent, tf.float32)).numpy()

    def loss(x: Array) -> float:
        return float(np.sum(nhwc(reference_discriminator.minibatch_stddev(nchw(x), 2, 1)) * cotangent))

    step, expected = 1e-5, np.empty_like(x)
    for index in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[index] = step
        expected[index] = (loss(x + shift) - loss(x - shift)) / (2 * step)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5)


def test_minibatch_stddev_needs_whole_groups() -> None:
    with pytest.raises(ValueError, match="batch of 5 images is not a multiple of mbstd_group_size=2: change one"):
        MinibatchStddev(2)(random(5, 4, 4, 8))


def padded_conv(x, kernel):
    """full_conv, with the gradients that TensorFlow derives."""
    pad = kernel.shape[0] - 1
    return tf.nn.conv2d(tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]]), kernel, 1, "VALID")


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_full_conv_has_gradients_of_second_order(size, jit):
    random = np.random.RandomState(0)
    x, kernel = tf.constant(random.randn(2, 7, 5, 3)), tf.constant(random.randn(size, size, 3, 4))
    weight = tf.constant(random.randn(2, 7 + size - 1, 5 + size - 1, 4))

    def derivatives(convolution):
        with tf.GradientTape() as second:
            second.watch([x, kernel])
            with tf.GradientTape() as first:
                first.watch([x, kernel])
                y = convolution(x, kernel)
                total = tf.reduce_sum(weight * tf.sin(y))
            by_x, by_kernel = first.gradient(total, [x, kernel])
            penalty = tf.reduce_sum(tf.square(by_x)) + tf.reduce_sum(tf.sin(by_kernel))
        return [y, by_x, by_kernel, *second.gradient(penalty, [x, kernel])]

    got = tf.function(lambda: derivatives(full_conv), jit_compile=jit)()
    for value, expected in zip(got, derivatives(padded_conv), strict=True):
        assert relative_error(value, expected) < 1e-13  # float64


def test_full_conv_keeps_float16():
    """On a CPU through float32, as its float16 gradients are slow and sum in float16."""
    x, kernel = tf.ones([1, 64, 64, 1], tf.float16), tf.ones([3, 3, 1, 1])
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        y = full_conv(x, kernel)
        total = tf.reduce_sum(tf.cast(y, tf.float32))
    assert y.dtype == tf.float16
    assert tape.gradient(total, kernel)[1, 1, 0, 0] == 64 * 64  # more than 2048, where float16 would stop counting
