"""Filtered leaky ReLU, the alias-free nonlinearity (arXiv 2106.12423, section 2.1 and figure 4b)."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from numpy.typing import ArrayLike

from sg3tf.ops import native
from sg3tf.ops._tf_private import in_xla_context, is_recorded
from sg3tf.ops.backend import select_backend
from sg3tf.ops.channels import sum_pixels
from sg3tf.ops.geometry import Resampling, factors
from sg3tf.ops.native import encode, native_attributes, native_resampling
from sg3tf.ops.stock import Axes, BandedMatmulLowering, Counts, Lowering, PolyphaseLowering, PolyphaseSignal, Taps
from sg3tf.ops.tensors import at_least_float32, batch_free_spec, check_images, tensor_spec, with_shape_of

_Filters = tuple[Taps, Taps]  # upsampling, downsampling


def filtered_lrelu(
    x: tf.Tensor,
    up_taps: ArrayLike | None,
    down_taps: ArrayLike | None,
    bias: tf.Tensor | None = None,
    *,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    pad: Sequence[int] = (0, 0, 0, 0),
    gain: float = 2**0.5,
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
    impl: str | None = None,
) -> tf.Tensor:
    """Add a bias, upsample, apply leaky ReLU, gain and clamp, and downsample.

    Args:
        x: [N, H, W, C], any floating dtype; H, W and C must be static.
        up_taps, down_taps: constant filters, [K] (separable) or [Kh, Kw]; None for no filter.
        bias: [C], or None.
        up, down: sampling rate factors before and after the nonlinearity, ints or (y, x).
        pad: samples added at (top, bottom, left, right) of the upsampled image; negative numbers crop.
        gain: factor on the result of the leaky ReLU.
        slope: slope of the leaky ReLU for negative values, 0 to 1 (1: linear).
        clamp: bound on the magnitude after the gain; None or infinity for none.
        flip_filter: correlate instead of convolving, for both filters.
        impl: "native", "xla" or "matmul"; None or "auto" for the backend of sg3tf.ops.use_backend.

    Returns:
        [N, H', W', C] in the dtype of x, with H' = (H * up + top + bottom - (Ku - 1) - (Kd - 1) + down - 1) // down.
        Arithmetic is in float32 or better.

    Raises:
        ValueError: invalid argument; the message gives its value and the remedy.
        ExpectedError: "native" without a usable library.

    Gradients with respect to x and bias are of any order. In the backward pass, the stock backends recompute which
    samples were negative or clamped (docs/adr/0003); "native" stores two bits per sample if a gradient may be needed.

    Examples:
        >>> import tensorflow as tf
        >>> from sg3tf.models.filters import low_pass
        >>> from sg3tf.ops import filtered_lrelu
        >>> taps = low_pass(12, cutoff=4, half_width=4, sampling_rate=32)
        >>> filtered_lrelu(tf.ones([1, 16, 16, 3]), taps, taps, up=2, down=2, pad=(11, 10, 11, 10)).shape
        TensorShape([1, 16, 16, 3])
    """
    x = check_images(x)
    if not 0 <= slope <= 1:
        raise ValueError(f"slope={slope!r}: give a number from 0 to 1")
    if not gain > 0:
        raise ValueError(f"gain={gain!r}: give a positive number")
    if clamp is not None and not clamp > 0:
        raise ValueError(f"clamp={clamp!r}: give a positive number, or None for no bound")
    channels = x.shape[3]
    bias = tf.zeros([channels], x.dtype) if bias is None else tf.cast(tf.convert_to_tensor(bias), x.dtype)
    if bias.shape != (channels,):
        raise ValueError(f"bias of shape {bias.shape}: give [{channels}], one number per channel of x")

    # Leaky ReLU commutes with a positive factor, so the upsampling filter applies the gain.
    dtype = x.dtype.as_numpy_dtype
    up_y, up_x = factors("up", up)
    upsample = Resampling.create(up_taps, (up_y, up_x), 1, pad, flip_filter, up_y * up_x * gain, dtype)
    downsample = Resampling.create(down_taps, 1, down, (0, 0, 0, 0), flip_filter, 1.0, dtype)
    downsample.out_size(*upsample.out_size(x.shape[1], x.shape[2]))  # raises if a filter does not fit
    bound = None if clamp is None or math.isinf(clamp) else float(clamp)
    factor = max(upsample.factor, downsample.factor)
    impl = select_backend(impl, factor, x.dtype)
    if impl == "native":
        return _native(x, bias, upsample, downsample, float(slope), bound)
    nonlinearity = _Nonlinearity(upsample.axes, downsample.axes, float(slope), bound)
    if impl == "matmul" and up_taps is down_taps is None and factor == 1 and not any(pad):
        return _pointwise(x, bias, gain, nonlinearity)
    return _stock(x, bias, _Kernel(nonlinearity, (upsample.filter.taps, downsample.filter.taps), impl))


# --- Native (custom_ops/filtered_lrelu) -------------------------------------------------------------------------------


def _native(
    x: tf.Tensor, bias: tf.Tensor, upsample: Resampling, downsample: Resampling, slope: float, clamp: float | None
) -> tf.Tensor:
    # In a graph, the kernel itself detects whether anything reads the mask. Under XLA and eagerly, it cannot.
    in_graph = not (tf.executing_eagerly() or in_xla_context())
    write_mask = is_recorded([x, bias]) or in_graph
    activation = encode([slope, math.inf if clamp is None else clamp])
    stages = _stage_attributes(upsample, downsample)
    del stages["down_pad"]  # always zero here
    return native.operations().sg3_filtered_lrelu(x, bias, **stages, activation=activation, write_mask=write_mask).y


@tf.RegisterGradient("Sg3>FilteredLrelu")
def _native_gradient(op: Any, dy: tf.Tensor, _: Any) -> tuple[tf.Tensor, tf.Tensor]:
    dx = _native_transposed(op, with_shape_of(op.outputs[0], dy), _mask_of(op), has_down_pad=False)
    return dx, _bias_gradient(dx, "native")


@tf.RegisterGradient("Sg3>FilteredLreluMasked")
def _native_masked_gradient(op: Any, dy: tf.Tensor) -> tuple[tf.Tensor, None]:
    return _native_transposed(op, with_shape_of(op.outputs[0], dy), op.inputs[1], has_down_pad=True), None


def _mask_of(op: Any) -> tf.Tensor:
    """Return the mask of `op`, recomputed here if `op` was compiled without knowledge of the enclosing tape."""
    if op.get_attr("write_mask"):
        return op.outputs[1]
    names = ("up", "up_pad", "up_terms", "up_taps_y", "up_taps_x", "down", "down_terms", "down_taps_y", "down_taps_x")
    attributes = {name: op.get_attr(name) for name in (*names, "activation")}
    return native.operations().sg3_filtered_lrelu(*op.inputs, **attributes, write_mask=True).mask


def _native_transposed(op: Any, dy: tf.Tensor, mask: tf.Tensor, has_down_pad: bool) -> tf.Tensor:
    """Return the transposed Jacobian of `op` with respect to its first input, times dy."""
    size = op.inputs[0].shape[1:3]
    upsample = native_resampling(op, "up_", up="up", pad="up_pad")
    downsample = native_resampling(op, "down_", down="down", pad="down_pad" if has_down_pad else "")
    stages = _stage_attributes(downsample.adjoint(*upsample.out_size(*size)), upsample.adjoint(*size))
    return native.operations().sg3_filtered_lrelu_masked(dy, mask, **stages, activation=op.get_attr("activation"))


def _stage_attributes(upsample: Resampling, downsample: Resampling) -> dict[str, Any]:
    up, down = native_attributes(upsample), native_attributes(downsample)
    stages = {"up": up["up"], "down": down["down"]}
    for name in ("pad", "terms", "taps_y", "taps_x"):
        stages |= {f"up_{name}": up[name], f"down_{name}": down[name]}
    return stages


def _bias_gradient(dx: tf.Tensor, impl: str) -> tf.Tensor:
    return tf.cast(tf.reduce_sum(sum_pixels(dx, impl=impl), axis=0), dx.dtype)


# --- Stock operations -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Nonlinearity:
    """One filtered leaky ReLU, y = down(act(up(x + bias))), in stock operations."""

    up: Axes
    down: Axes
    slope: float
    clamp: float | None

    def value(self, x: tf.Tensor, bias: tf.Tensor, taps: _Filters, lowering: Lowering) -> tf.Tensor:
        """Return y for x and bias."""
        z = self._upsampled(x + bias, taps, lowering)
        return _downsampled(z.map(self.activation), taps[1], self.down, lowering)

    def tangent(self, v: tf.Tensor, x: tf.Tensor, bias: tf.Tensor, taps: _Filters, lowering: Lowering) -> tf.Tensor:
        """Return the Jacobian at x + bias times v, which has the shape of x."""
        z = self._upsampled(x + bias, taps, lowering)
        v_up = self._upsampled(v, taps, lowering)
        return _downsampled(z.map(self.times_derivative, v_up), taps[1], self.down, lowering)

    def cotangent(self, v: tf.Tensor, x: tf.Tensor, bias: tf.Tensor, taps: _Filters, lowering: Lowering) -> tf.Tensor:
        """Return the transposed Jacobian at x + bias times v, which has the shape of y."""
        axes = _adjoint(self.down, self.up[0].out_size(x.shape[1]), self.up[1].out_size(x.shape[2]))
        counts = _lcm_phases(lowering.output_phases(self.up), lowering.output_phases(axes))
        z = lowering.resample(PolyphaseSignal.from_dense(x + bias), taps[0], self.up, counts)
        v_up = lowering.resample(PolyphaseSignal.from_dense(v), _reversed(taps[1]), axes, counts)
        z = z.map(self.times_derivative, v_up)
        return _downsampled(z, _reversed(taps[0]), _adjoint(self.up, *x.shape[1:3]), lowering)

    def _upsampled(self, x: tf.Tensor, taps: _Filters, lowering: Lowering) -> PolyphaseSignal:
        return lowering.resample(PolyphaseSignal.from_dense(x), taps[0], self.up, lowering.output_phases(self.up))

    def activation(self, z: tf.Tensor) -> tf.Tensor:
        """Return the leaky ReLU of z, clamped."""
        # tf.nn.leaky_relu rounds its slope to float32.
        z = tf.maximum(z, self.slope * z) if z.dtype == tf.float64 else tf.nn.leaky_relu(z, self.slope)
        return z if self.clamp is None else tf.clip_by_value(z, -self.clamp, self.clamp)

    def times_derivative(self, z: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
        """Return v times the derivative of the activation, which is slope or 1, or 0 where clamped."""
        factor = tf.where(z < 0, tf.constant(self.slope, z.dtype), tf.ones([], z.dtype))
        if self.clamp is not None:
            factor = tf.where(tf.abs(z * factor) < self.clamp, factor, tf.zeros([], z.dtype))
        return factor * v


def _pointwise(x: tf.Tensor, bias: tf.Tensor, gain: float, nonlinearity: _Nonlinearity) -> tf.Tensor:
    """Leaky ReLU without filters, in float32 or better."""

    @tf.custom_gradient  # TensorFlow's derivative at 0 is the slope, and at the clamp 1
    def activate(z: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return nonlinearity.activation(z), lambda dy: nonlinearity.times_derivative(z, dy)

    return tf.cast(activate((at_least_float32(x) + at_least_float32(bias)) * gain), x.dtype)


def _downsampled(z: PolyphaseSignal, taps: Taps, axes: Axes, lowering: Lowering) -> tf.Tensor:
    # With this many output components, every read of an input component is a plain shift.
    reads = _lcm_phases(z.counts, (axes[0].down, axes[1].down))
    return lowering.resample(z, taps, axes, (reads[0] // axes[0].down, reads[1] // axes[1].down)).interleave()


def _lcm_phases(a: Counts, b: Counts) -> Counts:
    return math.lcm(a[0], b[0]), math.lcm(a[1], b[1])


def _adjoint(axes: Axes, height: int, width: int) -> Axes:
    return axes[0].adjoint(height), axes[1].adjoint(width)


def _reversed(taps: Taps) -> Taps:
    return taps[0][:, ::-1], taps[1][:, ::-1]


# A method of _Nonlinearity: (nonlinearity, *tensors, filters, lowering) -> tensor.
_Method = Callable[..., tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class _Kernel:
    """A nonlinearity with its filters, bound to a stock backend."""

    nonlinearity: _Nonlinearity
    filters: _Filters
    impl: str

    def __call__(self, method: _Method, *tensors: tf.Tensor) -> tf.Tensor:
        """Run a method of _Nonlinearity on tensors, the last of which is the bias, in float32 or better.

        Returns:
            A tensor with the dtype of the first one.
        """
        # Gradients are defined below, so no tape needs to record these operations.
        tensors = tuple(tf.stop_gradient(t) for t in tensors)
        dtype = tensors[0].dtype
        if self.impl == "matmul":
            *directions, x, bias = (at_least_float32(t) for t in tensors)
            if self.nonlinearity.clamp is not None and dtype == tf.float16:
                # An overflow, which the clamp would bound, times a zero of the banded matrices would be NaN.
                x = tf.clip_by_value(x, dtype.min, dtype.max)
            wide = (*directions, x, bias)
            return tf.cast(method(self.nonlinearity, *wide, self.filters, BandedMatmulLowering()), dtype)
        up, down = self.filters
        taps = [tf.constant(t, at_least_float32(tensors[0]).dtype) for t in (*up, *down)]
        *images, bias = tensors
        specs = (*map(batch_free_spec, images), tensor_spec(bias), *map(tensor_spec, taps))
        return _compiled(self.nonlinearity, method, specs)(*tensors, *taps)


@functools.cache
def _compiled(
    nonlinearity: _Nonlinearity, method: _Method, specs: tuple[tf.TensorSpec, ...]
) -> Callable[..., tf.Tensor]:
    """Return a compiled function for one geometry. Taps are inputs, so that layers of the same shape share it."""

    @tf.function(jit_compile=True, autograph=False)
    def filtered_lrelu_kernel(*inputs: tf.Tensor) -> tf.Tensor:
        *tensors, up_y, up_x, down_y, down_x = inputs
        wide = [at_least_float32(t) for t in tensors]
        filters = (up_y, up_x), (down_y, down_x)
        return tf.cast(method(nonlinearity, *wide, filters, PolyphaseLowering()), tensors[0].dtype)

    return filtered_lrelu_kernel.get_concrete_function(*specs)


def _stock(x: tf.Tensor, bias: tf.Tensor, kernel: _Kernel) -> tf.Tensor:
    @tf.custom_gradient
    def apply(x: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        y = kernel(_Nonlinearity.value, x, bias)

        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dx = _jacobian(with_shape_of(y, dy), x, bias, kernel, transposed=True)
            return dx, _bias_gradient(dx, kernel.impl)

        return y, gradient

    return apply(x, bias)


def _jacobian(v: tf.Tensor, x: tf.Tensor, bias: tf.Tensor, kernel: _Kernel, transposed: bool) -> tf.Tensor:
    """Return the Jacobian, or its transpose, times v: linear in v, piecewise constant in x and bias."""

    @tf.custom_gradient
    def apply(v: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        product = kernel(_Nonlinearity.cotangent if transposed else _Nonlinearity.tangent, v, x, bias)

        def gradient(dy: tf.Tensor) -> tf.Tensor:
            return _jacobian(with_shape_of(product, dy), x, bias, kernel, not transposed)

        return product, gradient

    return apply(v)
