"""Convolutions with 3x3 kernels against their definition, with two orders of gradients; and where they are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.models.layers import conv2d, full_conv
from sg3tf.ops import native, use_backend
from sg3tf.ops.conv3x3 import MIN_CHANNELS, conv3x3, has_fast_conv3x3, transposed_kernel
from tests.helpers.numerics import Array, relative_error

pytestmark = pytest.mark.native

# Of the greatest value: sums of a few hundred products, most of whose roundings cancel, and the transforms' (at most
# six more additions of numbers up to four times as large).
TOLERANCE = 64 * 2.0**-24
SHAPES = [
    (2, 8, 9, 16, 33),
    (1, 4, 4, 33, 16),
    (3, 1, 1, 16, 16),
    (1, 5, 2, 181, 48),
    (4, 30, 40, 17, 32),
]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def definition(x: tf.Tensor, kernel: tf.Tensor, pad: int, in_scale: Any = 1.0, out_scale: Any = 1.0) -> tf.Tensor:
    in_scale, out_scale = (s if isinstance(s, float) else s[:, None, None] for s in (in_scale, out_scale))
    padded = tf.pad(x * in_scale, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    return tf.nn.conv2d(padded, kernel, 1, "VALID") * out_scale


def derivatives(function: Callable[..., tf.Tensor], pad: int, dtype: tf.DType, *operands: Array) -> list[Array]:
    """The result, its gradients by all operands, and the gradients of a function of those."""
    operands = [tf.constant(operand, dtype) for operand in operands]
    with tf.GradientTape() as outer:
        outer.watch(operands)
        with tf.GradientTape() as inner:
            inner.watch(operands)
            y = function(*operands[:2], pad, *operands[2:])
            loss = tf.reduce_sum(tf.cast(normal(3, *y.shape), dtype) * tf.sin(y))
        first = inner.gradient(loss, operands)
        # Of numbers about as large as one: an error of the argument is one of the result.
        sizes = [tf.stop_gradient(tf.math.reduce_std(g)) for g in first]
        second = sum(tf.reduce_sum(tf.sin(1 + g / size)) for g, size in zip(first, sizes, strict=True))
    return [t.numpy() for t in (y, *first, *outer.gradient(second, operands))]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(
    ("shape", "pad"), [(shape, pad) for shape in SHAPES for pad in (0, 1, 2) if min(shape[1:3]) + 2 * pad >= 3]
)
def test_equals_definition_with_two_orders_of_gradients(shape, pad, scaled):
    batch, height, width, fan_in, filters = shape
    operands = [normal(1, batch, height, width, fan_in), normal(2, 3, 3, fan_in, filters) / (9 * fan_in) ** 0.5]
    if scaled:
        operands += [normal(4, batch, fan_in), 1 + 0.5 * np.tanh(normal(5, batch, filters))]
    exact = derivatives(definition, pad, tf.float64, *operands)
    actual = derivatives(conv3x3, pad, tf.float32, *operands)
    errors = [relative_error(a, e) for a, e in zip(actual, exact, strict=True)]
    assert all(error < TOLERANCE for error in errors), errors


def test_shapes_are_known_in_graphs_of_unknown_batch():
    @tf.function(input_signature=[tf.TensorSpec([None, 6, 7, 16]), tf.TensorSpec([3, 3, 16, 20])])
    def function(x, kernel):
        y = conv3x3(x, kernel, pad=2)
        assert y.shape.as_list() == [None, 8, 9, 20]
        (by_kernel,) = tf.gradients(y, [kernel])
        assert by_kernel.shape == kernel.shape
        return y

    assert function(tf.ones([0, 6, 7, 16]), tf.ones([3, 3, 16, 20])).shape == (0, 8, 9, 20)


@pytest.mark.parametrize(
    ("x", "kernel", "pad", "message"),
    [
        ([1, 4, 4, 16], [3, 3, 16, 16], 3, "pad=3: give 0, 1 or 2"),
        ([1, 2, 4, 16], [3, 3, 16, 16], 0, r"x of shape \[1,2,4,16\] with pad=0: smaller than the kernel"),
        ([1, 4, 4, 16], [3, 3, 8, 16], 1, r"kernel of shape \[3,3,8,16\]: give \[3, 3, 16, filters\]"),
        ([4, 4, 16], [3, 3, 16, 16], 1, r"x of shape \[4,4,16\]"),
    ],
)
def test_errors_name_what_is_wrong(x, kernel, pad, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        conv3x3(tf.ones(x), tf.ones(kernel), pad)


@pytest.mark.parametrize(("name", "shape"), [("in_scale", [1, 15]), ("out_scale", [2, 16])])
def test_errors_name_a_scale_of_another_shape(name, shape):
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{name} of shape .*: give \[1, 16\], or none"):
        conv3x3(tf.ones([1, 4, 4, 16]), tf.ones([3, 3, 16, 16]), 1, **{name: tf.ones(shape)})


def test_gradient_by_the_kernel_checks_its_shapes():
    none = tf.zeros([0, 0])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"dy of shape \[1,5,4,16\]: give that of the convolution"):
        native.operations().sg3_conv3x3_kernel_gradient(
            tf.ones([1, 4, 4, 16]), tf.ones([1, 5, 4, 16]), none, none, pad=1
        )


def test_layers_use_it_where_it_is_faster():
    def is_used(channels: int, dtype: tf.DType, size: int = 3) -> bool:
        return has_fast_conv3x3(tf.ones([1, 4, 4, channels], dtype), tf.ones([size, size, channels, 16], dtype))

    with use_backend("native"):
        assert is_used(MIN_CHANNELS, tf.float32)
        assert not is_used(MIN_CHANNELS - 1, tf.float32)
        assert not is_used(MIN_CHANNELS, tf.bfloat16)
        assert not is_used(MIN_CHANNELS, tf.float32, size=1)
    with use_backend("matmul"):
        assert not is_used(MIN_CHANNELS, tf.float32)
    with use_backend("native"):

        @tf.function(jit_compile=True)
        def compiled(x):
            assert not has_fast_conv3x3(x, tf.ones([3, 3, 16, 16]))
            return x

        compiled(tf.ones([1, 4, 4, 16]))


@pytest.mark.parametrize("convolve", [full_conv, lambda x, k: conv2d(x, k, padding="SAME"), conv2d])
def test_layers_get_equal_values(convolve):
    x, kernel = tf.constant(normal(1, 2, 9, 8, 16), tf.float32), tf.constant(normal(2, 3, 3, 16, 24), tf.float32)
    with use_backend("native"):
        graph = tf.function(convolve).get_concrete_function(x, kernel).graph
        assert "Sg3>Conv3x3" in [op.type for op in graph.get_operations()]
        fast = convolve(x, kernel).numpy()
    with use_backend("matmul"):
        assert relative_error(fast, convolve(x, kernel).numpy()) < 2 * TOLERANCE


def test_transposed_kernel_is_that_of_the_transposed_convolution():
    x, kernel = tf.constant(normal(1, 1, 6, 6, 2)), tf.constant(normal(2, 3, 3, 2, 4))
    dy = tf.constant(normal(3, 1, 8, 8, 4))
    forward = tf.reduce_sum(definition(x, kernel, 2) * dy)
    backward = tf.reduce_sum(definition(dy, transposed_kernel(kernel), 0) * x)
    np.testing.assert_allclose(forward, backward, rtol=1e-12)
