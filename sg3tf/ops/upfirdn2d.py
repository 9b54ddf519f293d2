"""Upsample, filter and downsample images: the linear half of every alias-free operation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from numpy.typing import ArrayLike

from sg3tf.ops import native
from sg3tf.ops.backend import select_backend
from sg3tf.ops.geometry import Resampling
from sg3tf.ops.native import native_attributes, native_resampling
from sg3tf.ops.stock import Axes, BandedMatmulLowering, Lowering, PolyphaseLowering, PolyphaseSignal, Taps
from sg3tf.ops.tensors import at_least_float32, batch_free_spec, check_images, tensor_spec, with_shape_of


def upfirdn2d(
    x: tf.Tensor,
    taps: ArrayLike | None,
    *,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    pad: Sequence[int] = (0, 0, 0, 0),
    flip_filter: bool = False,
    gain: float = 1.0,
    impl: str | None = None,
) -> tf.Tensor:
    """Insert zeros, pad, convolve, and keep every `down`-th sample of each channel.

    Args:
        x: [N, H, W, C], any floating dtype; H, W and C must be static.
        taps: constant filter, [K] (applied along both axes) or [Kh, Kw]; None for no filter. A filter [Kh, Kw] is
            applied as a sum of separable ones, without those that are below an eighth of the epsilon of x's dtype,
            compared with the largest (docs/adr/0004).
        up: upsampling factor (zero insertion), an int or (y, x).
        down: downsampling factor (decimation), an int or (y, x).
        pad: samples added at (top, bottom, left, right) of the upsampled image; negative numbers crop.
        flip_filter: correlate instead of convolving.
        gain: factor on the result.
        impl: "native", "xla" or "matmul"; None or "auto" for the backend of sg3tf.ops.use_backend.

    Returns:
        [N, (H * up + top + bottom - Kh) // down + 1, W', C], W' likewise, in the dtype of x.
        Arithmetic is in float32 or better.

    Raises:
        ValueError: invalid argument; the message gives its value and the remedy.
        ExpectedError: "native" without a usable library.

    Gradients with respect to x are of any order: the operation is linear, and its adjoint is another upfirdn2d.

    Examples:
        >>> import tensorflow as tf
        >>> from sg3tf.ops import upfirdn2d
        >>> x = tf.ones([1, 4, 4, 3])
        >>> y = upfirdn2d(x, [0.125, 0.375, 0.375, 0.125], up=2, pad=(2, 1, 2, 1), gain=4.0)
        >>> y.shape
        TensorShape([1, 8, 8, 3])
    """
    x = check_images(x)
    resampling = Resampling.create(taps, up, down, pad, flip_filter, gain, x.dtype.as_numpy_dtype)
    resampling.out_size(x.shape[1], x.shape[2])  # raises if the filter does not fit
    impl = select_backend(impl, resampling.factor, x.dtype)
    return _native(x, resampling) if impl == "native" else _stock(x, resampling, impl)


def _native(x: tf.Tensor, resampling: Resampling) -> tf.Tensor:
    return native.operations().sg3_upfirdn2d(x, **native_attributes(resampling))


@tf.RegisterGradient("Sg3>Upfirdn2d")
def _native_gradient(op: Any, dy: tf.Tensor) -> tf.Tensor:
    resampling = native_resampling(op, up="up", down="down", pad="pad")
    return _native(with_shape_of(op.outputs[0], dy), resampling.adjoint(*op.inputs[0].shape[1:3]))


def _stock(x: tf.Tensor, resampling: Resampling, impl: str) -> tf.Tensor:
    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        y = _apply_stock(x, resampling, impl)

        def gradient(dy: tf.Tensor) -> tf.Tensor:
            return _stock(with_shape_of(y, dy), resampling.adjoint(x.shape[1], x.shape[2]), impl)

        return y, gradient

    return apply(x)


def _apply_stock(x: tf.Tensor, resampling: Resampling, impl: str) -> tf.Tensor:
    """Return the value, with no tape recording."""
    x = tf.stop_gradient(x)
    if impl == "matmul":
        return _lower(x, resampling.filter.taps, resampling.axes, BandedMatmulLowering())
    taps = [tf.constant(t, at_least_float32(x).dtype) for t in resampling.filter.taps]
    return _compiled(resampling.axes, (batch_free_spec(x), *(tensor_spec(t) for t in taps)))(x, *taps)


@functools.cache
def _compiled(axes: Axes, specs: tuple[tf.TensorSpec, ...]) -> Callable[..., tf.Tensor]:
    """Return a compiled function for one geometry. Taps are inputs, so that layers of the same shape share it."""

    @tf.function(jit_compile=True, autograph=False)
    def upfirdn(x: tf.Tensor, taps_y: tf.Tensor, taps_x: tf.Tensor) -> tf.Tensor:
        return _lower(x, (taps_y, taps_x), axes, PolyphaseLowering())

    return upfirdn.get_concrete_function(*specs)


def _lower(x: tf.Tensor, taps: Taps, axes: Axes, lowering: Lowering) -> tf.Tensor:
    signal = PolyphaseSignal.from_dense(at_least_float32(x))
    return tf.cast(lowering.resample(signal, taps, axes, lowering.output_phases(axes)).interleave(), x.dtype)
