"""One resolution's share of a StyleGAN2 image (arXiv 1912.04958, section 4.1 and figure 7b)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from sg3tf.layers.dense import Dense
from sg3tf.layers.modulated_conv import modulated_conv


@keras.saving.register_keras_serializable("sg3tf")
class ToRGB(keras.layers.Layer):
    """1x1 convolution to colours with kernels that each image's style scales, without demodulation; then bias.

    Args:
        image_channels: colours.
        clamp: bound on the magnitude of the result.

    Call: x float [N, H, W, in] and w float32 [N, w_dim] -> float32 [N, H, W, image_channels], whatever the policy,
    as it is to be summed.
    """

    def __init__(self, image_channels: int, clamp: float = 256.0, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.image_channels = image_channels
        self.clamp = clamp

    def build(self, x_shape: Any, w_shape: Any) -> None:
        """The shapes of x and w: (batch, height, width, in), of which only `in` counts, and (batch, w_dim)."""
        channels = x_shape[-1]
        self.affine = Dense(channels, bias_init=1.0, name="affine", dtype="float32")
        self.affine.build(tuple(w_shape))
        self.kernel = self.add_weight(
            shape=(1, 1, channels, self.image_channels),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
            autocast=False,
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.image_channels,), initializer="zeros", autocast=False, name="bias")
        self.built = True

    def call(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        x = tf.cast(x, self.compute_dtype)
        kernel = tf.convert_to_tensor(self.kernel)
        styles = self.affine(w) / x.shape[3] ** 0.5
        y = modulated_conv(x, kernel, styles, demodulate=False, input_gain=tf.ones([]))
        return tf.clip_by_value(tf.cast(y, tf.float32) + self.bias, -self.clamp, self.clamp)

    def compute_output_shape(self, x_shape: tuple[int | None, ...], w_shape: Any = None) -> tuple[int | None, ...]:
        return (*x_shape[:-1], self.image_channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "image_channels": self.image_channels, "clamp": self.clamp}
