"""The StyleGAN2 generator as a Keras model: config F with skip connections (arXiv 1912.04958, section 4.1).

Also configs A, B and C of arXiv 2106.12423, section 3.1: the same, with Fourier features, without noise.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from sg3tf.config import StyleGAN2Config
from sg3tf.generator import Generator
from sg3tf.layers import FourierInput
from sg3tf.layers.conv import RESAMPLE_TAPS
from sg3tf.layers.mixed_precision import is_low_precision, low_precision_policy
from sg3tf.layers.style_conv import StyleConv
from sg3tf.layers.to_rgb import ToRGB
from sg3tf.ops import upfirdn2d

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
