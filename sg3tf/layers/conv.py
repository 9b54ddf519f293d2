"""Convolution with equalised learning rate and optional antialiased downsampling (arXiv 1912.04958)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sg3tf.layers.dense import LRELU_GAIN, LRELU_SLOPE
from sg3tf.layers.mixed_precision import add_bias, conv2d
from sg3tf.ops import upfirdn2d

RESAMPLE_TAPS = np.array([1, 3, 3, 1]) / 8


@keras.saving.register_keras_serializable("sg3tf")
class Conv(keras.layers.Layer):
    """Convolution, scaled by 1 / sqrt(fan_in), with bias, activation, gain and clamp.

    Args:
        filters: output channels.
        kernel_size: side, odd; the output is as large as the input ("same") before downsampling.
        activation: "linear" or "lrelu" (slope 0.2, gain sqrt 2).
        use_bias: add a bias per channel.
        down: 1, or 2 to filter with [1, 3, 3, 1] and keep every other pixel.
        gain: factor on the result; the clamp scales with it.
        clamp: bound on the magnitude before the gain, or None.

    Call: x [N, H, W, in] -> [N, H / down, W / down, filters].
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        activation: str = "linear",
        use_bias: bool = True,
        down: int = 1,
        gain: float = 1.0,
        clamp: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if activation not in ("linear", "lrelu"):
            raise ValueError(f"activation={activation!r}: use 'linear' or 'lrelu'")
        if down not in (1, 2):
            raise ValueError(f"down={down!r}: use 1 or 2")
        self.filters = filters
        self.kernel_size = kernel_size
        self.activation = activation
        self.use_bias = use_bias
        self.down = down
        self.gain = gain
        self.clamp = clamp

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, input_shape[-1], self.filters),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
            autocast=False,
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", autocast=False, name="bias")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        size, _, fan_in, _ = self.kernel.shape
        kernel = self.kernel * (fan_in * size**2) ** -0.5  # in float32
        pad = (size - 1) // 2
        if self.down == 2:
            x = self._filtered(x, pad)
            y = conv2d(x, kernel, 1 if size == 1 else 2)
        else:
            y = conv2d(x, kernel, padding="SAME")
        if self.bias is not None:
            y = add_bias(y, self.bias)
        return self._activated(y)

    def _filtered(self, x: tf.Tensor, pad: int) -> tf.Tensor:
        """Low-passed, and padded for the convolution; a 1x1 convolution then needs every other pixel only."""
        ends = len(RESAMPLE_TAPS) - 2
        before, after = pad + (ends + 1) // 2, pad + ends // 2
        down = 2 if self.kernel_size == 1 else 1
        return upfirdn2d(x, RESAMPLE_TAPS, down=down, pad=(before, after, before, after))

    def _activated(self, y: tf.Tensor) -> tf.Tensor:
        gain = self.gain
        if self.activation == "lrelu":
            y = tf.nn.leaky_relu(y, LRELU_SLOPE)
            gain *= LRELU_GAIN
        if gain != 1:
            y *= gain
        if self.clamp is not None:
            bound = self.clamp * self.gain
            y = tf.clip_by_value(y, -bound, bound)
        return y

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        return batch, height and height // self.down, width and width // self.down, self.filters

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "kernel_size", "activation", "use_bias", "down", "gain", "clamp")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
