"""The native filtered leaky ReLU and its gradients (custom_ops/filtered_lrelu)."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import record

from sg3tf.ops import native
from sg3tf.ops.implementation import compiling
from sg3tf.ops.native_attributes import encode, native_attributes, native_resampling
from sg3tf.ops.resampling import Resampling
from sg3tf.ops.upfirdn2d import at_least_float32


def native_filtered_lrelu(
    x: tf.Tensor, bias: tf.Tensor, upsample: Resampling, downsample: Resampling, slope: float, clamp: float | None
) -> tf.Tensor:
    """The arguments of sg3tf.ops.filtered_lrelu, checked; the gain is in `upsample`."""
    # In a graph the kernel itself sees whether anything reads the mask; XLA cannot tell, and eagerly nobody can.
    watched = record.should_record_backprop([x, bias])
    write_mask = watched or not (tf.executing_eagerly() or compiling())
    activation = encode([slope, math.inf if clamp is None else clamp])
    stages = _stages(upsample, downsample)
    del stages["down_pad"]  # always zero here
    return native.operations().sg3_filtered_lrelu(x, bias, **stages, activation=activation, write_mask=write_mask).y


@tf.RegisterGradient("Sg3>FilteredLrelu")
def _gradient(op: Any, dy: tf.Tensor, _: Any) -> tuple[tf.Tensor, tf.Tensor]:
    dx = _transposed(op, dy, _mask(op), has_down_pad=False)
    return dx, tf.cast(tf.reduce_sum(at_least_float32(dx), axis=[0, 1, 2]), dx.dtype)


@tf.RegisterGradient("Sg3>FilteredLreluMasked")
def _masked_gradient(op: Any, dy: tf.Tensor) -> tuple[tf.Tensor, None]:
    return _transposed(op, dy, op.inputs[1], has_down_pad=True), None


def _mask(op: Any) -> tf.Tensor:
    """The mask that `op` has written, or would have: a tape outside of a function that XLA compiles comes too late."""
    if op.get_attr("write_mask"):
        return op.outputs[1]
    names = ("up", "up_pad", "up_terms", "up_taps_y", "up_taps_x", "down", "down_terms", "down_taps_y", "down_taps_x")
    attributes = {name: op.get_attr(name) for name in (*names, "activation")}
    return native.operations().sg3_filtered_lrelu(*op.inputs, **attributes, write_mask=True).mask


def _transposed(op: Any, dy: tf.Tensor, mask: tf.Tensor, has_down_pad: bool) -> tf.Tensor:
    """The transpose of the derivative of `op` with respect to its first input, times dy."""
    size = op.inputs[0].shape[1:3]
    upsample = native_resampling(op, "up_", up="up", pad="up_pad")
    downsample = native_resampling(op, "down_", down="down", pad="down_pad" if has_down_pad else "")
    stages = _stages(downsample.adjoint(*upsample.out_size(*size)), upsample.adjoint(*size))
    return native.operations().sg3_filtered_lrelu_masked(dy, mask, **stages, activation=op.get_attr("activation"))


def _stages(upsample: Resampling, downsample: Resampling) -> dict[str, Any]:
    up, down = native_attributes(upsample), native_attributes(downsample)
    stages = {"up": up["up"], "down": down["down"]}
    for name in ("pad", "terms", "taps_y", "taps_x"):
        stages |= {f"up_{name}": up[name], f"down_{name}": down[name]}
    return stages
