"""Convolutions with kernels of 3x3 pixels: on CPUs, in float32, faster than TensorFlow's (docs/adr/0042)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from sg3tf.ops import native
from sg3tf.ops.backend import selects_cpu_kernel

MIN_CHANNELS = 16  # with fewer, transforming the images takes longer than it saves


def has_fast_conv3x3(x: tf.Tensor, kernel: tf.Tensor, impl: str | None = None) -> bool:
    """Return True if `conv3x3` serves these tensors here: both float32, a CPU, native operations, channels enough."""
    return (
        x.dtype == kernel.dtype == tf.float32
        and tuple(kernel.shape[:2]) == (3, 3)
        and min(kernel.shape[2:]) >= MIN_CHANNELS
        and selects_cpu_kernel(impl)
    )


def conv3x3(x: tf.Tensor, kernel: tf.Tensor, pad: int) -> tf.Tensor:
    """Convolve by Winograd's algorithm F(2x2, 3x3) (arXiv 1509.09308), with 4 multiplications instead of 9.

    Args:
        x: float32 [N, H, W, in].
        kernel: float32 [3, 3, in, out], which correlates.
        pad: zeros around the images: 0 ("VALID"), 1 ("SAME") or 2 ("full").

    Returns:
        float32 [N, H + 2 * pad - 2, W + 2 * pad - 2, out]. Gradients of any order. Rounding errors are about twice those
        of direct sums, and do not depend on the batch or the number of threads.
    """
    return native.operations().sg3_conv3x3(x, kernel, pad=pad)


@tf.RegisterGradient("Sg3>Conv3x3")
def _gradient(op: Any, dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    x, kernel = op.inputs
    pad = op.get_attr("pad")
    by_kernel = native.operations().sg3_conv3x3_kernel_gradient(x, dy, pad=pad)
    return conv3x3(dy, transposed_kernel(kernel), 2 - pad), by_kernel


@tf.RegisterGradient("Sg3>Conv3x3KernelGradient")
def _gradient_of_kernel_gradient(op: Any, d_gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    x, dy = op.inputs
    pad = op.get_attr("pad")
    return conv3x3(dy, transposed_kernel(d_gradient), 2 - pad), conv3x3(x, d_gradient, pad)


def transposed_kernel(kernel: tf.Tensor) -> tf.Tensor:
    """Kernel [K, K, out, in] of the transpose of a convolution with kernel [K, K, in, out]."""
    return tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
