"""The convolution of a StyleGAN2 block: style, noise, leaky ReLU (arXiv 1912.04958, section 2.2 and figure 2c)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from sg3tf.layers.conv import RESAMPLE_TAPS
from sg3tf.layers.dense import LRELU_GAIN, LRELU_SLOPE, Dense
from sg3tf.layers.mixed_precision import add_bias, conv2d, scale_channels
from sg3tf.ops import upfirdn2d

KERNEL_SIZE = 3


@keras.saving.register_keras_serializable("sg3tf")
class StyleConv(keras.layers.Layer):
    """3x3 convolution with kernels that each image's style scales and demodulates; then noise, bias, leaky ReLU.

    Args:
        filters: output channels.
        resolution: side of the output.
        up: 1, or 2 to double the resolution and filter with [1, 3, 3, 1].
        clamp: bound on the magnitude of activations.
        noise: have weights for noise.

    The style is float32 whatever the policy; `noise_const` [resolution, resolution] is kept here for whoever calls.
    """

    def __init__(
        self, filters: int, resolution: int, up: int = 1, clamp: float = 256.0, noise: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if up not in (1, 2):
            raise ValueError(f"up={up!r}: use 1 or 2")
        self.filters = filters
        self.resolution = resolution
        self.up = up
        self.clamp = clamp
        self.noise = noise

    def build(self, x_shape: Any, w_shape: Any, noise_shape: Any = None) -> None:
        """The shapes of x and w: (batch, height, width, in), of which only `in` counts, and (batch, w_dim)."""
        channels = x_shape[-1]
        self.affine = Dense(channels, bias_init=1.0, name="affine", dtype="float32")
        self.affine.build(tuple(w_shape))
        self.kernel = self.add_weight(
            shape=(KERNEL_SIZE, KERNEL_SIZE, channels, self.filters),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
            autocast=False,
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", autocast=False, name="bias")
        if self.noise:
            self._add_noise_weights()
        self.built = True

    def _add_noise_weights(self) -> None:
        self.noise_strength = self.add_weight(shape=(), initializer="zeros", autocast=False, name="noise_strength")
        self.noise_const = self.add_weight(
            shape=(self.resolution, self.resolution),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),  # an instance of its own: each repeats itself
            trainable=False,
            autocast=False,
            name="noise_const",
        )

    def call(self, x: tf.Tensor, w: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Convolves.

        Args:
            x: float [N, resolution / up, resolution / up, in].
            w: float32 [N, w_dim].
            noise: float32 [N or 1, resolution, resolution]; None for none, as it must be without weights for it.

        Returns:
            [N, resolution, resolution, filters], of the compute type.

        Gradients: of any order.
        """
        before, kernel, after = modulation(tf.convert_to_tensor(self.kernel), self.affine(w))
        x = scale_channels(tf.cast(x, self.compute_dtype), before)
        y = scale_channels(self._doubled(x, kernel) if self.up == 2 else conv2d(x, kernel, padding="SAME"), after)
        if noise is not None:
            # One for every image already in float32, as a gradient summed over images in float16 is no sum.
            each = tf.broadcast_to(noise * self.noise_strength, tf.shape(y)[:3])
            y += tf.cast(each, y.dtype)[..., None]
        y = tf.nn.leaky_relu(add_bias(y, self.bias), LRELU_SLOPE) * LRELU_GAIN
        return tf.clip_by_value(y, -self.clamp, self.clamp)

    def _doubled(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolved while zeros are inserted, which costs a quarter of filtering first, and then filtered."""
        side = self.resolution + 1
        shape = tf.stack([tf.shape(x)[0], side, side, self.filters])
        kernel = tf.cast(tf.transpose(kernel, [0, 1, 3, 2]), x.dtype)
        y = tf.nn.conv2d_transpose(x, kernel, shape, 2, "VALID")
        return upfirdn2d(y, RESAMPLE_TAPS, pad=(1, 1, 1, 1), gain=4)

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], w_shape: Any = None, noise_shape: Any = None
    ) -> tuple[int | None, ...]:
        return x_shape[0], self.resolution, self.resolution, self.filters

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "resolution", "up", "clamp", "noise")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def modulation(kernel: tf.Tensor, styles: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Scaling the input, convolving and scaling the output, which equals one demodulated kernel per image.

    Args:
        kernel: float32 [K, K, in, out].
        styles: float32 [N, in].

    Returns:
        Factors of the input [N, in], the kernel [K, K, in, out], and factors of the output [N, out].
    """
    # Both scales cancel in the result; they keep it inside the range of 16-bit types.
    kernel *= tf.math.rsqrt(tf.reduce_sum(tf.square(kernel), axis=[0, 1, 2], keepdims=True))
    styles *= tf.math.rsqrt(tf.reduce_mean(tf.square(styles), axis=1, keepdims=True) + 1e-8)
    energy = tf.matmul(tf.square(styles), tf.reduce_sum(tf.square(kernel), axis=[0, 1]))
    return styles, kernel, tf.math.rsqrt(energy + 1e-8)
