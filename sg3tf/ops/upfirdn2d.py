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
from sg3tf.ops.native_attributes import native_attributes, native_resampling
from sg3tf.ops.stock import Axes, BandedMatmulLowering, Lowering, PolyphaseLowering, PolyphaseSignal, Taps


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
    """Inserts zeros, pads, convolves and keeps every `down`-th sample of each channel.

    Args:
        x: [N, H, W, C], any floating type; H, W and C static.
        taps: constants [K] (applied along both axes), [Kh, Kw], or None for no filter.
        up: factor of zero insertion, an int or (y, x).
        down: factor of decimation, an int or (y, x).
        pad: samples added at (top, bottom, left, right) of the upsampled image; negative numbers crop.
        flip_filter: correlate instead of convolve.
        gain: factor on the result.
        impl: None or "auto" (what sg3tf.ops.use_backend chose), "native", "xla" or "matmul".

    Returns:
        [N, (H * up + top + bottom - Kh) // down + 1, likewise, C], of the type of x.
        Arithmetic is in float32 or better.

    Raises:
        ValueError: naming the argument, its value and the remedy.
        RuntimeError: "native" without its library, or a library for another TensorFlow.

    Gradient with respect to x: of any order, as the operation is linear and its adjoint is another upfirdn2d.
    """
    x = check_images(x)
    how = Resampling.create(taps, up, down, pad, flip_filter, gain)
    how.out_size(x.shape[1], x.shape[2])
    impl = select_backend(impl)
    return _native(x, how) if impl == "native" else _linear(x, how, impl)


def _native(x: tf.Tensor, how: Resampling) -> tf.Tensor:
    return native.operations().sg3_upfirdn2d(x, **native_attributes(how))


@tf.RegisterGradient("Sg3>Upfirdn2d")
def _native_gradient(op: Any, dy: tf.Tensor) -> tf.Tensor:
    how = native_resampling(op, up="up", down="down", pad="pad")
    return _native(dy, how.adjoint(*op.inputs[0].shape[1:3]))


def _linear(x: tf.Tensor, how: Resampling, impl: str) -> tf.Tensor:
    @tf.custom_gradient
    def apply(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(dy: tf.Tensor) -> tf.Tensor:
            return _linear(dy, how.adjoint(x.shape[1], x.shape[2]), impl)

        return run(x, how, impl), gradient

    return apply(x)


def run(x: tf.Tensor, how: Resampling, impl: str) -> tf.Tensor:
    """The value alone, without a gradient of its own."""
    x = tf.stop_gradient(x)
    if impl == "matmul":
        return _resampled(x, how.filter.taps, how.axes, BandedMatmulLowering())
    taps = [tf.constant(t, at_least_float32(x).dtype) for t in how.filter.taps]
    return _compiled(how.axes, (batch_free_spec(x), *(tensor_spec(t) for t in taps)))(x, *taps)


@functools.cache
def _compiled(axes: Axes, specs: tuple[tf.TensorSpec, ...]) -> Callable[..., tf.Tensor]:
    """One function per geometry; taps are its inputs, so that layers of like shape share the compiled code."""

    @tf.function(jit_compile=True, autograph=False)
    def upfirdn(x: tf.Tensor, taps_y: tf.Tensor, taps_x: tf.Tensor) -> tf.Tensor:
        return _resampled(x, (taps_y, taps_x), axes, PolyphaseLowering())

    return upfirdn.get_concrete_function(*specs)


def batch_free_spec(images: tf.Tensor) -> tf.TensorSpec:
    """What a compiled function says of images [N, H, W, C]: only N is free."""
    return tf.TensorSpec([None, *images.shape[1:]], images.dtype)


def tensor_spec(tensor: tf.Tensor) -> tf.TensorSpec:
    """What a compiled function says of an input that is always alike."""
    return tf.TensorSpec(tensor.shape, tensor.dtype)


def _resampled(x: tf.Tensor, taps: Taps, axes: Axes, lowering: Lowering) -> tf.Tensor:
    phased = PolyphaseSignal.whole(at_least_float32(x))
    return tf.cast(lowering.resample(phased, taps, axes, lowering.natural_phases(axes)).merged(), x.dtype)


def check_images(x: tf.Tensor) -> tf.Tensor:
    """x as a tensor [N, H, W, C] of a floating type.

    Raises:
        ValueError: wrong rank, unknown height, width or channels, or not floating.
    """
    x = tf.convert_to_tensor(x)
    if x.shape.rank != 4 or None in x.shape[1:]:
        raise ValueError(f"x of shape {x.shape}: give [N, H, W, C] with H, W and C known")
    if not x.dtype.is_floating:
        raise ValueError(f"x of type {x.dtype.name}: cast it to a floating type first")
    return x


def at_least_float32(x: tf.Tensor) -> tf.Tensor:
    """16-bit inputs are summed in float32; wider ones stay what they are."""
    return tf.cast(x, tf.float32) if x.dtype.size < 4 else x
