"""Native operations under jit_compile=True: the same kernels, called by XLA's programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.models.filters import low_pass
from sg3tf.ops import filtered_lrelu, native, scale_channels, sum_pixels, upfirdn2d
from tests.helpers.numerics import Array, relative_error

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(
        not (native.FOLDER / native.XLA).is_file(), reason=f"no {native.FOLDER / native.XLA}: run `make native`"
    ),
]

ROOT = Path(__file__).parents[3]
UP, DOWN = low_pass(12, 4, 12, 32), low_pass(12, 5, 11, 32)
RADIAL = low_pass(12, 5, 11, 32, radial=True)
SHAPE = (2, 23, 19, 21)

Function = Callable[[tf.Tensor], tf.Tensor]


def images(seed: int, shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def upfirdn(x: tf.Tensor, impl: str = "native") -> tf.Tensor:
    return upfirdn2d(x, UP, up=2, down=3, pad=(3, 9, 4, 6), impl=impl)


def lrelu(x: tf.Tensor, impl: str = "native") -> tf.Tensor:
    return filtered_lrelu(x, UP, DOWN, x[0, 0, 0], up=2, down=2, pad=(9, 10, 9, 10), clamp=0.8, impl=impl)


def radial(x: tf.Tensor, impl: str = "native") -> tf.Tensor:
    return filtered_lrelu(x, UP, RADIAL, up=2, down=2, pad=(9, 10, 9, 10), impl=impl)


def nchw(x: tf.Tensor) -> tf.Tensor:
    return tf.transpose(x, [0, 3, 1, 2])


def nhwc(x: tf.Tensor) -> tf.Tensor:
    return tf.transpose(x, [0, 2, 3, 1])


def columns(x: tf.Tensor, impl: str = "native") -> tf.Tensor:
    """The operation amid transposes, which XLA may prefer to be layouts."""
    x = tf.transpose(lrelu(tf.transpose(x, [0, 2, 1, 3]), impl), [3, 2, 0, 1])
    x = tf.transpose(tf.tanh(x), [2, 1, 3, 0])
    return nhwc(tf.nn.softmax(nchw(upfirdn(x, impl)), axis=2)) * 10


def convolved(x: tf.Tensor, impl: str = "native") -> tf.Tensor:
    """Between convolutions, as in a network."""
    kernel = tf.constant(images(7, (3, 3, SHAPE[3], SHAPE[3])) / 14, x.dtype)
    x = tf.nn.conv2d(x, kernel, 1, "SAME")
    x = tf.nn.conv2d(lrelu(x, impl), kernel, 1, "VALID")
    return upfirdn(x, impl)


OPERATIONS = pytest.mark.parametrize("operation", [upfirdn, lrelu, radial, columns, convolved])


def jit(function: Callable[..., object]) -> tf.types.experimental.PolymorphicFunction:
    return tf.function(function, jit_compile=True)


def results(operation: Function) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """Value, gradient, and the gradient of its sum of squares."""

    def both(x: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = operation(x)
                total = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
            gradient = inner.gradient(total, x)
            squares = tf.reduce_sum(tf.cast(gradient, tf.float32) ** 2)
        return y, gradient, outer.gradient(squares, x)

    return both


def close(actual: tuple[tf.Tensor, ...], expected: tuple[tf.Tensor, ...], tolerance: float) -> None:
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == b.dtype
        assert relative_error(a, b) < tolerance


@OPERATIONS
def test_same_as_outside(operation: Function) -> None:
    x = tf.constant(images(1))
    close(jit(results(operation))(x), results(operation)(x), 2e-5)


@pytest.mark.parametrize("operation", [upfirdn, lrelu, radial])
def test_other_types(operation: Function) -> None:
    """The kernels themselves give the same bits; what XLA does to sums around them in 16 bits it does in 32."""
    for dtype, tolerance in ((tf.bfloat16, 1e-2), (tf.float16, 1e-3), (tf.float64, 1e-12)):
        x = tf.cast(images(1) / 4, dtype)
        np.testing.assert_array_equal(jit(operation)(x), operation(x))
        close(jit(results(operation))(x)[:2], results(operation)(x)[:2], tolerance)


@pytest.mark.parametrize("operation", [upfirdn, lrelu])
def test_it_is_the_native_kernel(operation: Function) -> None:
    program = jit(lambda x: operation(x)).experimental_get_compiler_ir(tf.constant(images(1)))(stage="hlo")
    assert f'custom_call_target="sg3_{"upfirdn2d" if operation is upfirdn else "filtered_lrelu"}"' in program


@OPERATIONS
def test_varying_batch(operation: Function) -> None:
    traced = tf.function(results(operation), jit_compile=True, input_signature=[tf.TensorSpec([None, *SHAPE[1:]])])
    for count in (1, 3, 2, 1):
        x = tf.constant(images(count, (count, *SHAPE[1:])))
        close(traced(x), results(operation)(x), 2e-5)


@pytest.mark.parametrize("operation", [upfirdn, radial])
def test_empty_batch(operation: Function) -> None:
    x = tf.zeros([0, *SHAPE[1:]])
    for ours, expected in zip(jit(results(operation))(x), results(operation)(x), strict=True):
        assert ours.shape == expected.shape


def test_many_at_once() -> None:
    """XLA may run independent calls together, on the threads that the kernels share."""
    x = [tf.constant(images(seed)) for seed in range(8)]
    outside = tf.add_n([lrelu(i) for i in x])
    for _ in range(5):
        inside = jit(lambda *x: tf.add_n([lrelu(i) for i in x]))(*x)
        assert relative_error(inside, outside) < 1e-6


def channels(x: tf.Tensor) -> tf.Tensor:
    y = scale_channels(x, x[:, 0, 0], impl="native")
    sums = sum_pixels(x, y, impl="native") + sum_pixels(y, impl="native")
    return scale_channels(y, sums / 100, impl="native")


def test_channels_are_left_to_xla() -> None:
    """It fuses them with what is around."""
    x = tf.constant(images(1))
    assert "custom-call" not in jit(channels).experimental_get_compiler_ir(x)(stage="hlo")
    close(jit(results(channels))(x), results(channels)(x), 2e-5)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16, tf.float16, tf.float64], ids=lambda dtype: dtype.name)
def test_channels_traced_outside(dtype: tf.DType) -> None:
    """Native operations in the graph, compiled all the same, with their gradients."""
    x = tf.cast(images(1) / 4, dtype)
    inner = tf.function(channels, input_signature=[tf.TensorSpec([None, *SHAPE[1:]], dtype)])
    expected = results(inner)(x)
    types = {op.type for op in inner.get_concrete_function().graph.get_operations()}
    assert {"Sg3>ScaleChannels", "Sg3>SumPixels"} <= types
    outer = jit(results(inner))
    # Sums of 16-bit numbers are float32 in both, but XLA does not round what it fuses.
    close(outer(x), expected, {tf.float64: 1e-12, tf.float32: 2e-5, tf.float16: 2e-3, tf.bfloat16: 2e-2}[dtype])
    assert outer.experimental_get_compiler_ir(x)(stage="hlo").count(" reduce(") >= 2
    empty = x[:0]
    for ours, plain in zip(outer(empty), results(inner)(empty), strict=True):
        assert ours.shape == plain.shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ops, x: ops.sg3_scale_channels(x, x[0, 0]), r"factors of shape \[19,21\]: give \[2, 21\]"),
        (lambda ops, x: ops.sg3_scale_channels(x[0], x[0, 0]), r"x of shape .*: give \[N, H, W, C\]"),
        (lambda ops, x: ops.sg3_sum_pixels([x, x[:1]], Sums=tf.float32), "images of shapes .* give two of one shape"),
        (lambda ops, x: ops.sg3_sum_pixels([x, x, x], Sums=tf.float32), "3 images: give one or two"),
        (lambda ops, x: ops.sg3_sum_pixels([x], Sums=tf.float64), "Sums=double with T=float: use float"),
    ],
)
def test_errors_of_channels(call: Callable[..., tf.Tensor], message: str) -> None:
    """Unknown shapes in the graph leave them to the kernels for XLA."""
    function = tf.function(
        lambda x: call(native.operations(), x), jit_compile=True, input_signature=[tf.TensorSpec(None, tf.float32)]
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function(tf.constant(images(1)))


LATE = """
import numpy as np, tensorflow as tf
x = tf.constant(np.random.default_rng(0).normal(size=[1, 9, 9, 3]), tf.float32)
tf.function(lambda x: tf.nn.relu(x) @ tf.eye(3), jit_compile=True)(x)
from sg3tf.ops import upfirdn2d
inner = tf.function(lambda x: upfirdn2d(x, np.ones(3), impl="native"))
expected = inner(x)
outer = tf.function(lambda x: inner(x) * 2, jit_compile=True)
assert "sg3_upfirdn2d" in outer.experimental_get_compiler_ir(x)(stage="hlo")
np.testing.assert_array_equal(outer(x), expected * 2)
"""


def test_loaded_late() -> None:
    """After XLA compiled something; and for a function that was traced outside, before XLA had to know of any."""
    done = subprocess.run([sys.executable, "-c", LATE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
