"""The StyleGAN2 generator, by default config F, which has skip connections (arXiv 1912.04958, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sg3tf.models.base import BaseGenerator, Noise, register_generator
from sg3tf.models.configs import RESAMPLE_FILTER, StyleGAN2Config
from sg3tf.models.layers import (
    EqualizedConv2D,
    EqualizedDense,
    FourierInput,
    add_bias_and_activate,
    check_activation,
    conv2d,
    demodulation,
    is_low_precision,
    layer_noises,
    low_precision_policy,
    modulated_conv,
    repeat_const,
    resample_taps,
    upsample2d,
    upsampling_conv,
)
from sg3tf.models.registration import register
from sg3tf.ops import scale_channels, upfirdn2d
from sg3tf.utils.resolution import Resolution, Size, image_shape, pyramid, size_of, to_resolution

KERNEL_SIZE = 3


@register("StyleConv")
class StyleConv(keras.layers.Layer):
    """3x3 modulated convolution, followed by noise, bias and activation (section 2.2 and figure 2c).

    Args:
        in_channels: input channels.
        filters: output channels.
        resolution: side of the output, or its (width, height).
        up: 1, or 2 to double the resolution and filter.
        clamp: bound on the magnitude of activations before the gain.
        noise: create `noise_strength` and `noise_const`. `noise_const` has the output size; callers can pass it as
            noise.
        activation: "linear", "relu" or "lrelu".
        gain: factor on the result.
        resample_filter: taps of the upsampling filter; they are normalized to sum to 1.

    Styles are float32 under every policy.

    Examples:
        >>> StyleConv(5, 3, resolution=8, up=2)(tf.ones([2, 4, 4, 5]), tf.ones([2, 7])).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        resolution: Resolution,
        up: int = 1,
        clamp: float = 256.0,
        noise: bool = True,
        activation: str = "lrelu",
        gain: float = 1.0,
        resample_filter: Sequence[float] = RESAMPLE_FILTER,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if up not in (1, 2):
            raise ValueError(f"up={up!r}: use 1 or 2")
        self.in_channels = in_channels
        self.filters = filters
        self.resolution = to_resolution(resolution)
        self.up = up
        self.clamp = clamp
        self.noise = noise
        self.activation = check_activation(activation)
        self.gain = gain
        self.resample_filter = tuple(resample_filter)
        self.affine = EqualizedDense(in_channels, bias_init=1.0, name="affine", dtype="float32")

    def build(self, x_shape: Any, w_shape: Any, noise_shape: Any = None) -> None:
        """Create the weights from the shape of w, (batch, w_dim)."""
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: self.in_channels})
        self.affine.build(tuple(w_shape))
        self.kernel = self.add_weight(
            shape=(KERNEL_SIZE, KERNEL_SIZE, self.in_channels, self.filters),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
            autocast=False,
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", autocast=False, name="bias")
        if self.noise:
            self.noise_strength = self.add_weight(shape=(), initializer="zeros", autocast=False, name="noise_strength")
            self.noise_const = self.add_weight(
                shape=image_shape(self.resolution, 1)[:2],
                initializer=keras.initializers.RandomNormal(0.0, 1.0),  # its own instance: each repeats its numbers
                trainable=False,
                autocast=False,
                name="noise_const",
            )
        self.built = True

    def call(self, x: tf.Tensor, w: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Convolve, add noise and bias, and activate.

        Args:
            x: float [N, H / up, W / up, in_channels].
            w: float32 [N, w_dim].
            noise: float32 [N or 1, H, W], only for a layer with noise weights; or None.

        Returns:
            [N, H, W, filters] in the compute dtype.

        Gradients: of any order.
        """
        styles, kernel, output_scale = demodulation(
            tf.convert_to_tensor(self.kernel), self.affine(w), epsilon=1e-8, axis=1, style_epsilon=1e-8
        )
        x = scale_channels(tf.cast(x, self.compute_dtype), styles)
        if self.up == 2:
            # A transposed convolution before the filter needs a quarter of the multiplications of filtering first.
            taps = resample_taps(self.resample_filter)
            before, after = (len(taps) - 1) // 2, (len(taps) - 2) // 2
            y = upfirdn2d(upsampling_conv(x, kernel, 2), taps, pad=(before, after, before, after), gain=4)
        else:
            y = conv2d(x, kernel, padding="SAME")
        y = scale_channels(y, output_scale)
        if noise is not None:
            # Broadcast over images in float32, so that the gradient is summed in float32.
            each = tf.broadcast_to(noise * self.noise_strength, tf.shape(y)[:3])
            y += tf.cast(each, y.dtype)[..., None]
        return add_bias_and_activate(y, self.bias, self.activation, self.gain, self.clamp)

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], w_shape: Any = None, noise_shape: Any = None
    ) -> tuple[int | None, ...]:
        return x_shape[0], *image_shape(self.resolution, self.filters)

    def get_config(self) -> dict[str, Any]:
        sizes = ("in_channels", "filters", "resolution", "up")
        names = (*sizes, "clamp", "noise", "activation", "gain", "resample_filter")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register("ToRGB")
class ToRGB(keras.layers.Layer):
    """1x1 modulated convolution to the image channels, without demodulation, followed by bias (figure 7b).

    Args:
        in_channels: input channels.
        image_channels: output channels.
        clamp: bound on the magnitude of the result.

    Call: x float [N, H, W, in_channels] and w float32 [N, w_dim] -> float32 [N, H, W, image_channels] under every
    policy, because the images of all resolutions are summed.

    Examples:
        >>> ToRGB(5, 3)(tf.ones([2, 4, 4, 5]), tf.ones([2, 7])).shape
        TensorShape([2, 4, 4, 3])
    """

    def __init__(self, in_channels: int, image_channels: int, clamp: float = 256.0, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.in_channels = in_channels
        self.image_channels = image_channels
        self.clamp = clamp
        self.affine = EqualizedDense(in_channels, bias_init=1.0, name="affine", dtype="float32")

    def build(self, x_shape: Any, w_shape: Any) -> None:
        """Create the weights from the shape of w, (batch, w_dim)."""
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: self.in_channels})
        self.affine.build(tuple(w_shape))
        self.kernel = self.add_weight(
            shape=(1, 1, self.in_channels, self.image_channels),
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
        y = modulated_conv(x, kernel, styles, demodulate=False)
        return tf.clip_by_value(tf.cast(y, tf.float32) + self.bias, -self.clamp, self.clamp)

    def compute_output_shape(self, x_shape: tuple[int | None, ...], w_shape: Any = None) -> tuple[int | None, ...]:
        return (*x_shape[:-1], self.image_channels)

    def get_config(self) -> dict[str, Any]:
        names = ("in_channels", "image_channels", "clamp")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register_generator(StyleGAN2Config)
@register("StyleGAN2Generator")
class StyleGAN2Generator(BaseGenerator):
    """The StyleGAN2 generator: a learned constant, then modulated convolutions with noise.

    As published, with skip connections, the image is the sum over all resolutions. Configs B and C of arXiv 2106.12423
    use Fourier features instead of the constant, and C has no noise.

    Args:
        config: architecture; a StyleGAN2Config, or its dictionary from `get_config`.
        dtype: see BaseGenerator; the image is summed in float32.

    Layer i of `convs` uses style vector i. The last layer of every resolution is followed by one of `torgbs`, which
    shares its style vector with the next layer. With architecture "resnet" or "orig", `torgbs` has a single layer, the
    last one; with "resnet", `skips` has a layer for every resolution but the first.

    Examples:
        >>> config = StyleGAN2Config(resolution=8, channel_base=64, channel_max=4, z_dim=4, w_dim=4)
        >>> G = StyleGAN2Generator(config)
        >>> G(tf.zeros([2, 4])).shape
        TensorShape([2, 8, 8, 3])
        >>> seeds = tf.constant([[0, 1], [0, 2]])
        >>> G.synthesis(G.mapping(tf.zeros([2, 4])), noise=seeds).shape
        TensorShape([2, 8, 8, 3])
    """

    def _create_synthesis(self) -> int:
        c = self.config
        policy = low_precision_policy(self.dtype_policy)
        first, last = pyramid(c.resolution)[0], size_of(c.resolution)
        if c.fourier_input:
            self.fourier_input = FourierInput(
                c.channels(first.longer), first, first.width, first.width / 2, transformed=False, name="input"
            )
        self.convs, self.torgbs, self.skips = [], [], []
        half = 0.5**0.5  # residual blocks sum two branches at half variance
        in_channels = c.channels(first.longer)
        for size in pyramid(c.resolution):
            dtype = policy if is_low_precision(size.longer, last.longer) else "float32"
            channels, block = c.channels(size.longer), f"b{size.longer}"
            is_residual = c.architecture == "resnet" and size != first
            if size != first:
                self.convs.append(self._conv(in_channels, channels, size, up=2, dtype=dtype, name=f"{block}.conv0"))
            gain = half if is_residual else 1.0
            self.convs.append(self._conv(channels, channels, size, gain=gain, dtype=dtype, name=f"{block}.conv1"))
            if is_residual:
                skip = EqualizedConv2D(channels, 1, use_bias=False, gain=half, dtype=dtype, name=f"{block}.skip")
                self.skips.append(skip)
            if c.architecture == "skip" or size == last:
                clamp = c.clamp(f"{block}.torgb", c.conv_clamp)
                self.torgbs.append(ToRGB(channels, c.image_channels, clamp, dtype=dtype, name=f"{block}.torgb"))
            in_channels = channels
        c.check_clamped_layers([layer.name for layer in self.convs] + [layer.name for layer in self.torgbs])
        return len(self.convs) + 1

    def _conv(self, in_channels: int, filters: int, size: Size, name: str, **options: Any) -> StyleConv:
        c = self.config
        options |= {"activation": c.activation, "resample_filter": c.resample_filter, "noise": c.noise}
        return StyleConv(in_channels, filters, size, clamp=c.clamp(name, c.conv_clamp), name=name, **options)

    def _build_synthesis(self) -> None:
        c = self.config
        w_shape = (None, c.w_dim)
        if c.fourier_input:
            self.fourier_input.build(w_shape)
        else:
            first = pyramid(c.resolution)[0]
            self.const: keras.Variable = self.add_weight(
                shape=image_shape(first, c.channels(first.longer)),
                initializer=keras.initializers.RandomNormal(0.0, 1.0),
                autocast=False,
                name="const",
            )
        for conv in self.convs:
            conv.build((None, None, None, conv.in_channels), w_shape)
        for torgb in self.torgbs:
            torgb.build((None, None, None, torgb.in_channels), w_shape)
        for skip, conv in zip(self.skips, self.convs[1::2], strict=False):  # same input as the upsampling convolution
            skip.build((None, None, None, conv.in_channels))

    def _synthesize(self, ws: tf.Tensor, transform: tf.Tensor | None, noise: Noise, update_emas: bool) -> tf.Tensor:
        if self.config.fourier_input:
            x = self.fourier_input(ws[:, 0], transform=transform)
        else:
            x = repeat_const(self.const, tf.shape(ws)[0])
        noises = layer_noises(self.convs, noise) if self.config.noise else [None] * len(self.convs)
        taps = resample_taps(self.config.resample_filter)
        image, shortcut = 0.0, None
        for index, conv in enumerate(self.convs):
            if conv.up == 2:
                if self.config.architecture == "skip":
                    image = upsample2d(image, taps)
                elif self.config.architecture == "resnet":
                    shortcut = upsample2d(self.skips[index // 2](x), taps)
            x = conv(x, ws[:, index], noise=noises[index])
            if index % 2 == 0:
                if shortcut is not None:
                    x = shortcut + x
                if self.config.architecture == "skip":
                    image += self.torgbs[index // 2](x, ws[:, index + 1])
        return image if self.config.architecture == "skip" else self.torgbs[0](x, ws[:, -1])
