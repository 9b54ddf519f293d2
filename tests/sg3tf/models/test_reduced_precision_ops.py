"""Arithmetic on 16-bit activations with float32 parameters: ranges, and sums over many pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ml_dtypes import finfo

from sg3tf.models.configs import ConfigError
from sg3tf.models.layers import (
    POLICIES,
    add_bias,
    conv2d,
    is_low_precision,
    low_precision_policy,
    modulated_conv,
)
from sg3tf.ops import scale_channels
from tests.helpers.numerics import Array, relative_error

NARROW = pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16], ids=lambda dtype: dtype.name)


def eps(dtype: tf.DType) -> float:
    return float(finfo(dtype.as_numpy_dtype).eps)


def positive(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape).astype(np.float32)


def rounded(x: Array, dtype: tf.DType) -> Array:
    """x rounded to `dtype`, in float64."""
    return np.asarray(tf.cast(x, dtype)).astype(np.float64)


def with_gradients(function: Callable[..., tf.Tensor], dy: tf.Tensor, *inputs: tf.Tensor) -> list[Any]:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = function(*inputs)
    return [y, *tape.gradient(y, inputs, dy)]


# 128 x 128 positive numbers per channel: a sum in float16 stops growing at 2048, one of ten thousand.
SIZE = (2, 128, 128, 3)


@NARROW
def test_add_bias(dtype: tf.DType) -> None:
    x, bias, dy = positive(*SIZE), positive(3, seed=1), positive(*SIZE, seed=2)
    y, dx, dbias = with_gradients(add_bias, tf.cast(dy, dtype), tf.cast(x, dtype), tf.constant(bias))
    assert (y.dtype, dx.dtype, dbias.dtype) == (dtype, dtype, tf.float32)
    expected = rounded(x, dtype) + rounded(bias, dtype)
    np.testing.assert_allclose(np.asarray(y).astype(np.float64), expected, rtol=eps(dtype))
    np.testing.assert_array_equal(dx, tf.cast(dy, dtype))
    np.testing.assert_allclose(dbias, np.sum(rounded(dy, dtype), axis=(0, 1, 2)), rtol=1e-5)


@NARROW
@pytest.mark.parametrize(("stride", "padding"), [(1, "VALID"), (2, "VALID"), (1, "SAME")])
def test_conv2d(dtype: tf.DType, stride: int, padding: str) -> None:
    x, kernel = positive(2, 65, 65, 4), positive(3, 3, 4, 5, seed=1) / 36

    def exactly(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(x, kernel, stride, padding)

    y = conv2d(tf.cast(x, dtype), tf.constant(kernel), stride, padding)
    dy = positive(*y.shape, seed=2)
    ours = with_gradients(
        lambda x, kernel: conv2d(x, kernel, stride, padding), tf.cast(dy, dtype), tf.cast(x, dtype), tf.constant(kernel)
    )
    assert [t.dtype for t in ours] == [dtype, dtype, tf.float32]
    expected = with_gradients(exactly, *(tf.constant(rounded(t, dtype)) for t in (dy, x, kernel)))
    for actual, exact in zip(ours, expected, strict=True):
        np.testing.assert_allclose(np.asarray(actual).astype(np.float64), exact, rtol=eps(dtype))


@NARROW
def test_second_order(dtype: tf.DType) -> None:
    """dx = v * factors, so that |dx|^2 / 2 has the gradients v factors^2 by v and v^2 factors by the factors."""
    v, factors = tf.cast(positive(*SIZE), dtype), tf.constant(positive(2, 3, seed=1))
    x = tf.cast(positive(*SIZE, seed=2), dtype)
    with tf.GradientTape() as outer:
        outer.watch([v, factors])
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = add_bias(scale_channels(x, factors), tf.ones([3]))
        dx = tf.cast(inner.gradient(y, x, v), tf.float32)
        energy = tf.reduce_sum(dx**2) / 2
    dv, dfactors = outer.gradient(energy, [v, factors])
    exact = np.asarray(v).astype(np.float64)
    assert relative_error(np.asarray(dv).astype(np.float64), exact * factors[:, None, None, :] ** 2) < 2 * eps(dtype)
    assert relative_error(dfactors, np.sum(exact**2, axis=(1, 2)) * factors) < 2 * eps(dtype)


# The largest activations


@NARROW
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("channels", "kernel_size"), [(512, 3), (1024, 1)])
@pytest.mark.parametrize("styles", ["even", "one of all"])
def test_modulated_conv_of_the_largest_activations(
    channels: int, kernel_size: int, styles: str, demodulate: bool, dtype: tf.DType
) -> None:
    """All inputs at the clamp, with the signs that make one output channel as large as can be."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(kernel_size, kernel_size, channels, 4)).astype(np.float32)
    style = np.ones([2, channels]) if styles == "even" else 0.01 + np.eye(2, channels)
    if not demodulate:
        style /= channels**0.5 * kernel_size
    x = np.broadcast_to(256 * np.sign(kernel[::-1, ::-1, :, 0].sum((0, 1))), [2, 6, 6, channels])

    def outcome(dtype: tf.DType) -> list[Any]:
        inputs = tf.cast(x, dtype), tf.constant(kernel), tf.constant(style, tf.float32)
        y = modulated_conv(*inputs, demodulate=demodulate, input_gain=tf.ones([]))
        dy = tf.cast(np.random.default_rng(1).normal(size=y.shape) / 16, dtype)
        return with_gradients(lambda *t: modulated_conv(*t, demodulate=demodulate, input_gain=tf.ones([])), dy, *inputs)

    for actual, exact in zip(outcome(dtype), outcome(tf.float32), strict=True):
        assert relative_error(tf.cast(actual, tf.float32), exact) < 4 * eps(dtype)


# Which layers


def test_policies_with_narrow_weights_are_refused() -> None:
    for name in POLICIES:
        policy = keras.DTypePolicy(name)
        assert low_precision_policy(policy) is policy
        assert policy.variable_dtype == "float32"
    for name in ("bfloat16", "float16"):
        with pytest.raises(ConfigError, match=f"^dtype='{name}': weights are always float32; use 'mixed_{name}'$"):
            low_precision_policy(keras.DTypePolicy(name))
    with pytest.raises(ConfigError, match="^dtype='float64': .*; use one of 'float32', 'mixed_bfloat16'"):
        low_precision_policy(keras.DTypePolicy("float64"))


@pytest.mark.parametrize(("highest", "lowest"), [(1024, 128), (256, 32), (64, 8), (32, 8), (8, 8)])
def test_four_highest_resolutions(highest: int, lowest: int) -> None:
    resolutions = [2**k for k in range(2, 11) if 2**k <= highest]
    assert [r for r in resolutions if is_low_precision(r, highest)] == [r for r in resolutions if r >= lowest]
