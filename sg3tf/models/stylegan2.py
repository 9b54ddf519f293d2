"""The StyleGAN2 generator and its layers (arXiv 1912.04958)."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from sg3tf.models.configs import StyleGAN2Config
from sg3tf.models.layers import (
    LRELU_GAIN,
    LRELU_SLOPE,
    RESAMPLE_TAPS,
    EqualizedDense,
    FourierInput,
    add_bias,
    conv2d,
    is_low_precision,
    low_precision_policy,
    modulated_conv,
    scale_channels,
)
from sg3tf.models.stylegan3 import Generator
from sg3tf.ops import upfirdn2d

# ---------------------------------------------------------------------------------------------------------------------
# The convolution of a StyleGAN2 block: style, noise, leaky ReLU (arXiv 1912.04958, section 2.2 and figure 2c).
# ---------------------------------------------------------------------------------------------------------------------

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
        self.affine = EqualizedDense(channels, bias_init=1.0, name="affine", dtype="float32")
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


# ---------------------------------------------------------------------------------------------------------------------
# One resolution's share of a StyleGAN2 image (arXiv 1912.04958, section 4.1 and figure 7b).
# ---------------------------------------------------------------------------------------------------------------------


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
        self.affine = EqualizedDense(channels, bias_init=1.0, name="affine", dtype="float32")
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


# ---------------------------------------------------------------------------------------------------------------------
# The StyleGAN2 generator as a Keras model: config F with skip connections (arXiv 1912.04958, section 4.1).
#
# Also configs A, B and C of arXiv 2106.12423, section 3.1: the same, with Fourier features, without noise.
# ---------------------------------------------------------------------------------------------------------------------

FIRST_RESOLUTION = 4


@keras.saving.register_keras_serializable("sg3tf")
class StyleGAN2Generator(Generator):
    """Latents to images; mapping, truncation, `predict`, saving and loading as those of Generator.

    Args:
        config: architecture; a StyleGAN2Config, or the dictionary that get_config makes of it.
        dtype: as of Generator; the image is summed in float32.

    Layer i of `convs` reads style vector i; the last layer of every resolution is followed by one of `torgbs`, which
    shares its style vector with the next layer.
    """

    config_class: ClassVar[Any] = StyleGAN2Config

    def _create_synthesis(self) -> None:
        c = self.config
        policy = low_precision_policy(self.dtype_policy)
        if c.fourier_input:
            side = FIRST_RESOLUTION
            self.fourier_input = FourierInput(c.channels(side), side, side, side / 2, transformed=False, name="input")
        self.convs, self.torgbs = [], []
        resolution = FIRST_RESOLUTION
        while resolution <= c.resolution:
            dtype = policy if is_low_precision(resolution, c.resolution) else "float32"
            options = {"clamp": c.clamp, "dtype": dtype}
            channels, block = c.channels(resolution), f"b{resolution}"
            if resolution > FIRST_RESOLUTION:
                self.convs.append(StyleConv(channels, resolution, 2, noise=c.noise, name=f"{block}.conv0", **options))
            self.convs.append(StyleConv(channels, resolution, noise=c.noise, name=f"{block}.conv1", **options))
            self.torgbs.append(ToRGB(c.image_channels, name=f"{block}.torgb", **options))
            resolution *= 2
        self.num_ws = len(self.convs) + 1

    def build(self, input_shape: Any = None) -> None:
        c = self.config
        self.mapping_network.build()
        side, channels = FIRST_RESOLUTION, c.channels(FIRST_RESOLUTION)
        if c.fourier_input:
            self.fourier_input.build((None, c.w_dim))
        else:
            self.const: keras.Variable = self.add_weight(
                shape=(side, side, channels),
                initializer=keras.initializers.RandomNormal(0.0, 1.0),
                autocast=False,
                name="const",
            )
        for conv in self.convs:
            conv.build((None, None, None, channels), (None, c.w_dim))
            channels = conv.filters
        for torgb, conv in zip(self.torgbs, self.convs[::2], strict=True):
            torgb.build((None, None, None, conv.filters), (None, c.w_dim))
        self.built = True

    def synthesis(
        self,
        ws: tf.Tensor,
        transform: tf.Tensor | None = None,
        update_emas: bool = False,
        noise: tf.Tensor | str = "const",
    ) -> tf.Tensor:
        """Images for style vectors.

        Args:
            ws: float32 [N, num_ws, w_dim].
            transform: as of Generator where the input is Fourier features, which noise does not follow; else None.
            update_emas: without effect; only the mapping has running statistics.
            noise: "const" for the noise images stored with the weights, "none", or int32 [N, 2], one seed for
                every image, from which its noise is drawn whatever the other images are. Not seeds for config C.

        Returns:
            float32 [N, resolution, resolution, image_channels].

        Gradient with respect to ws and weights: of any order.
        """
        ws = self._checked_ws(ws)
        noises = self._noises(noise, ws.shape[0])
        x = self._input(ws[:, 0], transform)
        image = 0.0
        for index, conv in enumerate(self.convs):
            if conv.up == 2:
                image = upfirdn2d(image, RESAMPLE_TAPS, up=2, pad=(2, 1, 2, 1), gain=4)
            x = conv(x, ws[:, index], noise=noises[index])
            if index % 2 == 0:
                image += self.torgbs[index // 2](x, ws[:, index + 1])
        return image

    def _input(self, w: tf.Tensor, transform: tf.Tensor | None) -> tf.Tensor:
        """[N, 4, 4, C]."""
        if self.config.fourier_input:
            return self.fourier_input(w, transform=transform)
        if transform is not None:
            raise ValueError("transform is given: StyleGAN2 has no input to transform; leave it None")
        return tf.repeat(tf.convert_to_tensor(self.const)[None], tf.shape(w)[0], axis=0)

    def _noises(self, noise: tf.Tensor | str, count: int | None) -> list[tf.Tensor | None]:
        """For every layer of `convs` its noise [N or 1, H, W], or None."""
        if isinstance(noise, str):
            if noise not in ("const", "none"):
                raise ValueError(f"noise={noise!r}: use 'const', 'none', or seeds, int32 [N, 2]")
            const = noise == "const" and self.config.noise
            return [tf.convert_to_tensor(conv.noise_const)[None] if const else None for conv in self.convs]
        if not self.config.noise:
            raise ValueError("noise is given as seeds: this generator adds none; leave it 'const'")
        seeds = tf.convert_to_tensor(noise)
        if seeds.dtype != tf.int32 or not seeds.shape.is_compatible_with([count, 2]):
            given = f"noise of type {seeds.dtype.name} and shape {seeds.shape}"
            raise ValueError(f"{given}: give seeds, int32 [{count or 'N'}, 2]")
        # One stream for every image, and a stretch of it for every layer.
        sizes = [conv.resolution**2 for conv in self.convs]
        stretches = tf.split(normal_rows(seeds, sum(sizes)), sizes, axis=1)
        return [
            tf.reshape(stretch, [-1, conv.resolution, conv.resolution])
            for stretch, conv in zip(stretches, self.convs, strict=True)
        ]


def normal_rows(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """Standard normal numbers float32 [N, count], each row from its own seed, of int32 [N, 2]; count is even.

    From random bits by Box and Muller's method: those are the same everywhere, but tf.random.stateless_normal makes
    other numbers of them where XLA compiles it.
    """
    shape = [2, count // 2]
    bits = tf.map_fn(
        lambda seed: tf.random.stateless_uniform(shape, seed, None, None, tf.uint32, alg="philox"),
        seeds,
        fn_output_signature=tf.TensorSpec(shape, tf.uint32),
    )
    uniform = (tf.cast(bits, tf.float32) + 0.5) * 2.0**-32  # above 0 up to 1
    radius, angle = tf.sqrt(-2 * tf.math.log(uniform[:, 0])), 2 * np.pi * uniform[:, 1]
    return tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)
