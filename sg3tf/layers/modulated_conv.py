"""Convolution whose weights every image scales by its own style (arXiv 1912.04958, section 2.2)."""

from __future__ import annotations

import math

import tensorflow as tf

from sg3tf.layers.mixed_precision import conv2d, scale_channels


def modulated_conv(
    x: tf.Tensor,
    kernel: tf.Tensor,
    styles: tf.Tensor,
    *,
    demodulate: bool,
    input_gain: tf.Tensor,
    up: int = 1,
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
        up: 1, or 2 to insert zeros between pixels beforehand; that convolves, and 1 correlates, as in StyleConv.

    Returns:
        [N, (H - 1) * up + K, (W - 1) * up + K, out], of the type of x.
    """
    if demodulate:
        # Both scales cancel in the result; they keep everything on the way inside the range of 16-bit types.
        kernel = kernel * tf.math.rsqrt(tf.reduce_sum(tf.square(kernel), axis=[0, 1, 2], keepdims=True))
        styles = styles * tf.math.rsqrt(tf.reduce_mean(tf.square(styles)))
    x = scale_channels(x, styles * input_gain)
    y = _spread_conv(x, kernel, up) if up > 1 else _full_conv(x, kernel)
    if demodulate:
        energy = tf.matmul(tf.square(styles), tf.reduce_sum(tf.square(kernel), axis=[0, 1]))
        # The published 1e-8 belongs to kernels of unit mean square, not of unit sum as here.
        fan_in = math.prod(kernel.shape[:3])
        y = scale_channels(y, tf.math.rsqrt(energy + 1e-8 / fan_in))
    return y


def _full_conv(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    if (pad := kernel.shape[0] - 1) > 0:
        # The gradients of conv2d with padding of its own take a third longer (docs/adr/0009).
        x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    return conv2d(x, kernel)


def _spread_conv(x: tf.Tensor, kernel: tf.Tensor, up: int) -> tf.Tensor:
    size, _, _, filters = kernel.shape
    height, width = ((side - 1) * up + size for side in x.shape[1:3])
    kernel = tf.cast(tf.transpose(kernel, [0, 1, 3, 2]), x.dtype)
    return tf.nn.conv2d_transpose(x, kernel, tf.stack([tf.shape(x)[0], height, width, filters]), up, "VALID")
