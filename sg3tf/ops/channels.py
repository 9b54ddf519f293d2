"""Scale the channels of images, or sum them over pixels; sums of 16-bit numbers are float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from sg3tf.ops import native
from sg3tf.ops.backend import selects_cpu_kernel
from sg3tf.ops.tensors import at_least_float32, check_images, with_shape_of


def scale_channels(x: tf.Tensor, factors: tf.Tensor, impl: str | None = None) -> tf.Tensor:
    """Multiply the channels of images by factors.

    Args:
        x: [N, H, W, C], any floating dtype.
        factors: [N, C], cast to float64 if x is float64, otherwise to float32.
        impl: see filtered_lrelu; "native" has a kernel for CPUs, elsewhere this is a plain multiplication.

    Returns:
        [N, H, W, C] in the dtype of x. Gradients of any order; those of factors are summed in float32 or better.

    Raises:
        ValueError: invalid argument; the message gives its value and the remedy.
        ExpectedError: "native" without a usable library.

    Examples:
        >>> scale_channels(tf.ones([2, 4, 4, 3]), tf.ones([2, 3])).shape
        TensorShape([2, 4, 4, 3])
    """
    x = check_images(x)
    factors = tf.cast(tf.convert_to_tensor(factors), _wide(x))
    if not factors.shape.is_compatible_with([x.shape[0], x.shape[3]]):
        raise ValueError(f"factors of shape {factors.shape}: give [N, {x.shape[3]}], one per image and channel of x")
    return _scale(x, factors, selects_cpu_kernel(impl))


def sum_pixels(x: tf.Tensor, y: tf.Tensor | None = None, impl: str | None = None) -> tf.Tensor:
    """Sum each channel of x, or of x * y, over the pixels.

    Args:
        x: [N, H, W, C], any floating dtype.
        y: same shape and dtype as x, or None to sum x alone.
        impl: as in scale_channels.

    Returns:
        [N, C], float64 if x is float64, otherwise float32. Gradients of any order.

    Raises:
        ValueError: invalid argument; the message gives its value and the remedy.
        ExpectedError: "native" without a usable library.

    Examples:
        >>> sum_pixels(tf.ones([2, 4, 4, 3])).numpy()[0]
        array([16., 16., 16.], dtype=float32)
    """
    x, y = check_images(x), y if y is None else tf.convert_to_tensor(y)
    if y is not None and (y.dtype != x.dtype or not y.shape.is_compatible_with(x.shape)):
        raise ValueError(f"y of type {y.dtype.name} and shape {y.shape}: give those of x, {x.dtype.name} and {x.shape}")
    return _sum(x, y, selects_cpu_kernel(impl))


def _wide(x: tf.Tensor) -> tf.DType:
    return tf.float64 if x.dtype == tf.float64 else tf.float32


def _scale(x: tf.Tensor, factors: tf.Tensor, has_kernel: bool) -> tf.Tensor:
    if has_kernel:
        return native.operations().sg3_scale_channels(x, factors)
    if x.dtype.size >= 4:
        return x * factors[:, None, None, :]

    @tf.custom_gradient  # TensorFlow's gradient is summed in 16 bits
    def apply(x: tf.Tensor, factors: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dy = with_shape_of(x, dy)
            return _scale(dy, factors, has_kernel), _sum(x, dy, has_kernel)

        return tf.cast(at_least_float32(x) * factors[:, None, None, :], x.dtype), gradient

    return apply(x, factors)


def _sum(x: tf.Tensor, y: tf.Tensor | None, has_kernel: bool) -> tf.Tensor:
    if has_kernel:
        return native.operations().sg3_sum_pixels([x] if y is None else [x, y], Sums=_wide(x))
    product = at_least_float32(x) if y is None else at_least_float32(x) * at_least_float32(y)
    return tf.reduce_sum(product, axis=[1, 2])


# The native operations are each other's derivatives, which gives gradients of any order.


@tf.RegisterGradient("Sg3>ScaleChannels")
def _native_scale_gradient(op: Any, dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    x, factors = op.inputs
    dy = with_shape_of(x, dy)
    return _scale(dy, factors, has_kernel=True), _sum(x, dy, has_kernel=True)


@tf.RegisterGradient("Sg3>SumPixels")
def _native_sum_gradient(op: Any, d_sums: tf.Tensor) -> list[tf.Tensor]:
    d_sums = tf.convert_to_tensor(d_sums)  # that of tf.gather is sparse
    if len(op.inputs) == 2:
        return [_scale(image, d_sums, has_kernel=True) for image in reversed(op.inputs)]
    (x,) = op.inputs
    return [_native_spread(d_sums, tf.shape(x), x.dtype)]


def _native_spread(sums: tf.Tensor, shape: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Broadcast sums [N, C] to images of the given shape and dtype."""

    @tf.custom_gradient
    def apply(sums: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        def gradient(dy: tf.Tensor) -> tf.Tensor:
            return _sum(dy, None, has_kernel=True)

        return tf.broadcast_to(tf.cast(sums, dtype)[:, None, None, :], shape), gradient

    return apply(sums)
