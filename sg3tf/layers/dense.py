"""Dense layer with equalised learning rate (arXiv 1710.10196, section 4.1)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

LRELU_SLOPE = 0.2
LRELU_GAIN = 2**0.5


@keras.saving.register_keras_serializable("sg3tf")
class Dense(keras.layers.Layer):
    """y = act(x @ kernel * lr_multiplier / sqrt(fan_in) + bias * lr_multiplier).

    Weights are stored with unit variance and scaled when used, so that one learning rate fits all layers;
    `lr_multiplier` slows the layer down without changing its function.

    Args:
        units: size of the output.
        activation: "linear" or "lrelu" (slope 0.2, gain sqrt 2).
        lr_multiplier: factor on the effective learning rate.
        kernel_scale: standard deviation of the initial weights (0: start as the bias alone).
        bias_init: initial bias, one number or [units].

    Call: x [..., fan_in] -> [..., units].
    """

    def __init__(
        self,
        units: int,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        kernel_scale: float = 1.0,
        bias_init: float | tuple[float, ...] = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if activation not in ("linear", "lrelu"):
            raise ValueError(f"activation={activation!r}: use 'linear' or 'lrelu'")
        self.units = units
        self.activation = activation
        self.lr_multiplier = lr_multiplier
        self.kernel_scale = kernel_scale
        self.bias_init = bias_init

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        fan_in = input_shape[-1]
        spread = self.kernel_scale / self.lr_multiplier
        self.kernel = self.add_weight(
            shape=(fan_in, self.units),
            initializer=keras.initializers.RandomNormal(0.0, spread),
            autocast=False,
            name="kernel",
        )
        start = tf.broadcast_to(tf.constant(self.bias_init, tf.float32) / self.lr_multiplier, [self.units])
        self.bias = self.add_weight(
            shape=(self.units,),
            initializer=lambda shape, dtype=None: tf.cast(start, dtype),
            autocast=False,
            name="bias",
        )
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        scale = self.lr_multiplier / self.kernel.shape[0] ** 0.5
        y = tf.matmul(x, tf.cast(self.kernel * scale, x.dtype))  # both scaled in float32
        y += tf.cast(self.bias * self.lr_multiplier, y.dtype)
        if self.activation == "lrelu":
            y = tf.nn.leaky_relu(y, LRELU_SLOPE) * LRELU_GAIN
        return y

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation,
            "lr_multiplier": self.lr_multiplier,
            "kernel_scale": self.kernel_scale,
            "bias_init": self.bias_init,
        }
