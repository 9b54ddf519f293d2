"""The generator of the original StyleGAN, for published weights (arXiv 1812.04948)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sg3tf.models.base import BaseGenerator, Noise, register_generator
from sg3tf.models.configs import ConfigError, StyleGAN1Config
from sg3tf.models.layers import (
    FIRST_RESOLUTION,
    LRELU_GAIN,
    LRELU_SLOPE,
    EqualizedConv2D,
    EqualizedDense,
    layer_noises,
    repeat_const,
)
from sg3tf.models.registration import register
from sg3tf.ops import upfirdn2d

KERNEL_SIZE = 3
BLUR_TAPS = np.array([1, 2, 1]) / 4


@register("AdaINConv")
class AdaINConv(keras.layers.Layer):
    """3x3 convolution, noise, bias, leaky ReLU, and adaptive instance normalization (section 2 and figure 1b).

    Args:
        filters: output channels.
        resolution: side of the output.
        up: 1; 2 to repeat pixels before the convolution and blur after it; or 0 for no convolution, as directly after
            the constant input.

    The layer always computes in float32.

    Examples:
        >>> AdaINConv(3, resolution=8, up=2)(tf.ones([2, 4, 4, 5]), tf.ones([2, 7])).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(self, filters: int, resolution: int, up: int = 1, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if up not in (0, 1, 2):
            raise ValueError(f"up={up!r}: use 0, 1 or 2")
        self.filters = filters
        self.resolution = resolution
        self.up = up
        self.affine = EqualizedDense(2 * filters, dtype="float32", name="affine")

    def build(self, x_shape: Any, w_shape: Any, noise_shape: Any = None) -> None:
        """Create the weights from the shapes of x, (batch, height, width, in), and w, (batch, w_dim)."""
        normal = keras.initializers.RandomNormal
        self.affine.build(tuple(w_shape))
        if self.up:
            shape = (KERNEL_SIZE, KERNEL_SIZE, x_shape[-1], self.filters)
            self.kernel = self._weight(shape, normal(0.0, 1.0), "kernel")
        self.bias = self._weight((self.filters,), "zeros", "bias")
        self.noise_strength = self._weight((self.filters,), "zeros", "noise_strength")
        self.noise_const = self._weight((self.resolution,) * 2, normal(0.0, 1.0), "noise_const", trainable=False)
        self.built = True

    def _weight(self, shape: tuple[int, ...], initializer: Any, name: str, trainable: bool = True) -> keras.Variable:
        return self.add_weight(shape=shape, initializer=initializer, name=name, trainable=trainable, autocast=False)

    def call(self, x: tf.Tensor, w: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Convolve and normalize.

        Args:
            x: float32 [N, resolution / up, resolution / up, in].
            w: float32 [N, w_dim].
            noise: float32 [N or 1, resolution, resolution], or None.

        Returns:
            float32 [N, resolution, resolution, filters].

        Gradients: of any order.
        """
        if self.up == 2:
            x = tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
        if self.up:
            # The gain of the leaky ReLU is applied to the weights.
            gain = LRELU_GAIN / (KERNEL_SIZE**2 * x.shape[-1]) ** 0.5
            x = tf.nn.conv2d(x, self.kernel * gain, 1, "SAME")
        if self.up == 2:
            x = upfirdn2d(x, BLUR_TAPS, pad=(1, 1, 1, 1))
        if noise is not None:
            x += noise[..., None] * self.noise_strength
        return adain(tf.nn.leaky_relu(x + self.bias, LRELU_SLOPE), self.affine(w))

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], w_shape: Any = None, noise_shape: Any = None
    ) -> tuple[int | None, ...]:
        return x_shape[0], self.resolution, self.resolution, self.filters

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "resolution", "up")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def adain(x: tf.Tensor, style: tf.Tensor) -> tf.Tensor:
    """Adaptive instance normalization: scale * (x - mean) / std + shift, per image and channel (equation 1).

    Args:
        x: float32 [N, H, W, C].
        style: float32 [N, 2C]: scale - 1, then shift.
    """
    x -= tf.reduce_mean(x, axis=[1, 2], keepdims=True)
    x /= tf.sqrt(tf.reduce_mean(tf.square(x), axis=[1, 2], keepdims=True) + 1e-8)
    scale, shift = tf.split(style[:, None, None, :], 2, axis=-1)
    return x * (scale + 1) + shift


@register_generator(StyleGAN1Config)
@register("StyleGAN1Generator")
class StyleGAN1Generator(BaseGenerator):
    """The generator of the original StyleGAN: a learned constant, then convolutions with noise and AdaIN.

    Args:
        config: architecture; a StyleGAN1Config, or its dictionary from `get_config`.
        dtype: "float32".

    Layer i of `convs` uses style vector i. There are two per resolution; the first one, at 4 pixels, has no kernel.

    Examples:
        >>> config = StyleGAN1Config(resolution=8, channel_base=64, channel_max=4, z_dim=4, w_dim=4)
        >>> StyleGAN1Generator(config)(tf.zeros([2, 4])).shape
        TensorShape([2, 8, 8, 3])
    """

    def _create_synthesis(self) -> int:
        c = self.config
        if self.dtype_policy.name != "float32":
            raise ConfigError(f"dtype={self.dtype_policy.name!r}: the first StyleGAN computes in 'float32'")
        self.convs = []
        resolution = FIRST_RESOLUTION
        while resolution <= c.resolution:
            block, up = f"b{resolution}", 2 if resolution > FIRST_RESOLUTION else 0
            for index, factor in enumerate((up, 1)):
                name = f"{block}.conv{index}"
                self.convs.append(AdaINConv(c.channels(resolution), resolution, factor, dtype="float32", name=name))
            resolution *= 2
        self.torgb = EqualizedConv2D(c.image_channels, 1, dtype="float32", name="torgb")
        return len(self.convs)

    def _build_synthesis(self) -> None:
        c = self.config
        side, channels = FIRST_RESOLUTION, c.channels(FIRST_RESOLUTION)
        self.const: keras.Variable = self.add_weight(
            shape=(side, side, channels), initializer="ones", autocast=False, name="const"
        )
        for conv in self.convs:
            conv.build((None, None, None, channels), (None, c.w_dim))
            channels = conv.filters
        self.torgb.build((None, None, None, channels))

    def _synthesize(self, ws: tf.Tensor, transform: tf.Tensor | None, noise: Noise, update_emas: bool) -> tf.Tensor:
        x = repeat_const(self.const, tf.shape(ws)[0])
        for index, (conv, layer_noise) in enumerate(zip(self.convs, layer_noises(self.convs, noise), strict=True)):
            x = conv(x, ws[:, index], noise=layer_noise)
        return self.torgb(x)
