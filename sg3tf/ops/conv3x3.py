"""3x3 convolutions in float32 on CPUs, faster than TensorFlow's (docs/adr/0042)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from sg3tf.ops import native
from sg3tf.ops.backend import selects_cpu_kernel
from sg3tf.ops.channels import scale_channels, sum_pixels
from sg3tf.ops.tensors import with_shape_of

MIN_CHANNELS = 16  # with fewer, the transforms cost more than they save


def has_fast_conv3x3(x: tf.Tensor, kernel: tf.Tensor) -> bool:
    """Return True if `conv3x3` applies: both tensors are float32, on a CPU, native ops available, enough channels."""
    return (
        x.dtype == kernel.dtype == tf.float32
        and tuple(kernel.shape[:2]) == (3, 3)
        and min(kernel.shape[2:]) >= MIN_CHANNELS
        and selects_cpu_kernel(None)
    )


def conv3x3(
    x: tf.Tensor,
    kernel: tf.Tensor,
    pad: int,
    in_scale: tf.Tensor | None = None,
    out_scale: tf.Tensor | None = None,
) -> tf.Tensor:
    """Convolve with Winograd's algorithm F(2x2, 3x3) (arXiv 1509.09308): 4 multiplications per output instead of 9.

    Args:
        x: float32 [N, H, W, in].
        kernel: float32 [3, 3, in, out], applied as a correlation.
        pad: zeros around the images: 0 ("VALID"), 1 ("SAME") or 2 ("full").
        in_scale: factors on the channels of x, float32 [N, in], or None.
        out_scale: nonzero factors on the channels of the result, float32 [N, out], or None.

    Returns:
        float32 [N, H + 2 * pad - 2, W + 2 * pad - 2, out]. Gradients of any order. Rounding errors are as large
        as TensorFlow's, and do not depend on the batch or the number of threads.

    Raises:
        tf.errors.InvalidArgumentError: wrong shape; the message names the argument, its shape and the expected one.
    """
    return native.operations().sg3_conv3x3(x, kernel, _scale(in_scale), _scale(out_scale), pad=pad)


def _scale(scale: tf.Tensor | None) -> tf.Tensor:
    """Return the operand for the native operations, which is empty if there is no scale."""
    return tf.zeros([0, 0]) if scale is None else scale


def _is_none(scale: tf.Tensor) -> bool:
    return scale.shape == (0, 0)


def _scaled_gradient(gradient: tf.Tensor, x: tf.Tensor, scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the gradients with respect to x and scale, given the one with respect to x * scale."""
    if _is_none(scale):
        return gradient, tf.zeros_like(scale)
    return scale_channels(gradient, scale, "native"), sum_pixels(gradient, x, "native")


@tf.RegisterGradient("Sg3>Conv3x3")
def _gradient(op: Any, dy: tf.Tensor) -> tuple[tf.Tensor, ...]:
    x, kernel, in_scale, out_scale = op.inputs
    pad = op.get_attr("pad")
    dy = with_shape_of(op.outputs[0], dy)
    by_kernel = native.operations().sg3_conv3x3_kernel_gradient(x, dy, in_scale, out_scale, pad=pad)
    by_x, by_in = _scaled_gradient(conv3x3(dy, transposed_kernel(kernel), 2 - pad, out_scale), x, in_scale)
    # op.outputs[0] includes out_scale, so divide by it.
    by_out = tf.zeros_like(out_scale) if _is_none(out_scale) else sum_pixels(dy, op.outputs[0], "native") / out_scale
    return by_x, by_kernel, by_in, by_out


@tf.RegisterGradient("Sg3>Conv3x3KernelGradient")
def _gradient_of_kernel_gradient(op: Any, d_gradient: tf.Tensor) -> tuple[tf.Tensor, ...]:
    x, dy, in_scale, out_scale = op.inputs
    pad = op.get_attr("pad")
    by_x = conv3x3(dy, transposed_kernel(d_gradient), 2 - pad, out_scale)
    by_dy = conv3x3(x, d_gradient, pad, in_scale)
    (by_x, by_in), (by_dy, by_out) = _scaled_gradient(by_x, x, in_scale), _scaled_gradient(by_dy, dy, out_scale)
    return by_x, by_dy, by_in, by_out


def transposed_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """Kernel [K, K, out, in] of the transposed convolution, for a kernel [K, K, in, out]."""
    return tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
