"""Mixed precision: float32 weights, 16-bit activations in the highest resolutions (arXiv 2006.06676, appendix D).

What is summed over many pixels is summed in float32: TensorFlow adds up the gradients of broadcast factors and biases
in the type that they have, and 65536 positive numbers then make a quarter of their sum in float16 (docs/adr/0010).
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from sg3tf.config import ConfigError
from sg3tf.layer_plan import LOW_PRECISION_RESOLUTIONS

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
LOWEST_RESOLUTION = 8


def low_precision_policy(policy: keras.DTypePolicy) -> keras.DTypePolicy:
    """The policy of a model, checked: for those of its layers that may compute in 16 bits, "float32" for the others.

    Raises:
        ConfigError: weights would not be float32.
    """
    if policy.name not in POLICIES:
        mixed = f"mixed_{policy.name}"
        remedy = f"{mixed!r}" if mixed in POLICIES else f"one of {', '.join(map(repr, POLICIES))}"
        raise ConfigError(f"dtype={policy.name!r}: weights are always float32; use {remedy}")
    return policy


def is_low_precision(resolution: int, highest: int) -> bool:
    """Whether a block at `resolution`, of a network for images of `highest`, may compute in 16 bits."""
    return resolution >= max(highest >> (LOW_PRECISION_RESOLUTIONS - 1), LOWEST_RESOLUTION)


def conv2d(x: tf.Tensor, kernel: tf.Tensor, stride: int = 1, padding: str = "VALID") -> tf.Tensor:
    """x [N, H, W, in] convolved with kernel float32 [K, K, in, out], which is rounded to the type of x."""
    kernel = tf.cast(kernel, x.dtype)
    if x.dtype != tf.float16 or tf.config.get_visible_devices("GPU"):
        return tf.nn.conv2d(x, kernel, stride, padding)
    # On CPUs the gradients of float16 convolutions are 15 times slower, and summed in float16.
    wide = tf.nn.conv2d(tf.cast(x, tf.float32), tf.cast(kernel, tf.float32), stride, padding)
    return tf.cast(wide, x.dtype)


def scale_channels(x: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """x [N, H, W, C] times factors float32 [N, C], of the type of x; gradients of any order."""
    if x.dtype.size >= 4:
        return x * factors[:, None, None, :]

    @tf.custom_gradient
    def scale(x: tf.Tensor, factors: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tuple[tf.Tensor, tf.Tensor]]]:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            products = tf.cast(x, tf.float32) * tf.cast(dy, tf.float32)
            return scale_channels(dy, factors), tf.reduce_sum(products, axis=[1, 2])

        return x * tf.cast(factors, x.dtype)[:, None, None, :], gradient

    return scale(x, factors)


def add_bias(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """x [N, H, W, C] plus bias float32 [C], of the type of x; gradients of any order."""
    if x.dtype.size >= 4:
        return x + bias

    @tf.custom_gradient
    def add(x: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tuple[tf.Tensor, tf.Tensor]]]:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return dy, tf.reduce_sum(tf.cast(dy, tf.float32), axis=[0, 1, 2])

        return x + tf.cast(bias, x.dtype), gradient

    return add(x, tf.convert_to_tensor(bias))
