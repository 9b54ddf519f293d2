"""Convolution whose weights every image scales by its own style (arXiv 1912.04958, section 2.2)."""

from __future__ import annotations

import tensorflow as tf


def modulated_conv(
    x: tf.Tensor,
    kernel: tf.Tensor,
    styles: tf.Tensor,
    *,
    demodulate: bool,
    input_gain: tf.Tensor,
) -> tf.Tensor:
    """Convolves with kernel * styles, normalised per output channel where asked, with 'full' zero padding.

    Scaling the channels of the input and of the output is the same function as scaling the weights, and needs
    neither a kernel per image nor a grouped convolution.

    Args:
        x: [N, H, W, in].
        kernel: float32 [K, K, in, out].
        styles: float32 [N, in].
        demodulate: make every output channel unit variance for unit variance input.
        input_gain: float32 scalar on the result, not seen by the demodulation.

    Returns:
        [N, H + K - 1, W + K - 1, out], of the type of x.
    """
    if demodulate:
        # Both scales cancel in the result; they keep it inside the range of 16-bit types and fix what 1e-8 means.
        kernel = kernel * tf.math.rsqrt(tf.reduce_mean(tf.square(kernel), axis=[0, 1, 2], keepdims=True))
        styles = styles * tf.math.rsqrt(tf.reduce_mean(tf.square(styles)))
    before = styles * input_gain
    x = x * tf.cast(before, x.dtype)[:, None, None, :]
    if (pad := kernel.shape[0] - 1) > 0:
        # The gradients of conv2d with padding of its own take a third longer (docs/adr/0009).
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    y = tf.nn.conv2d(x, tf.cast(kernel, x.dtype), 1, "VALID")
    if demodulate:
        energy = tf.matmul(tf.square(styles), tf.reduce_sum(tf.square(kernel), axis=[0, 1]))
        y = y * tf.cast(tf.math.rsqrt(energy + 1e-8), x.dtype)[:, None, None, :]
    return y
