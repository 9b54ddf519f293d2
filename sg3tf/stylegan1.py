"""The generator of the first StyleGAN as a Keras model, for published weights (arXiv 1812.04958)."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import tensorflow as tf

from sg3tf.config import ConfigError, StyleGAN1Config
from sg3tf.layers import Conv
from sg3tf.layers.adain_conv import AdaINConv
from sg3tf.stylegan2 import FIRST_RESOLUTION, StyleGAN2Generator


@keras.saving.register_keras_serializable("sg3tf")
class StyleGAN1Generator(StyleGAN2Generator):
    """Latents to images; mapping, truncation, mixing of styles and noise as those of StyleGAN2Generator.

    Args:
        config: architecture; a StyleGAN1Config, or the dictionary that get_config makes of it.
        dtype: "float32".

    Layer i of `convs` reads style vector i: two at every resolution, of which the first at 4 pixels has no kernel.
    """

    config_class: ClassVar[Any] = StyleGAN1Config

    def _create_synthesis(self) -> None:
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
        self.torgbs = []  # of colours none takes a style
        self.torgb = Conv(c.image_channels, 1, dtype="float32", name="torgb")
        self.num_ws = len(self.convs)

    def build(self, input_shape: Any = None) -> None:
        c = self.config
        self.mapping_network.build()
        side, channels = FIRST_RESOLUTION, c.channels(FIRST_RESOLUTION)
        self.const: keras.Variable = self.add_weight(
            shape=(side, side, channels), initializer="ones", autocast=False, name="const"
        )
        for conv in self.convs:
            conv.build((None, None, None, channels), (None, c.w_dim))
            channels = conv.filters
        self.torgb.build((None, None, None, channels))
        self.built = True

    def synthesis(
        self,
        ws: tf.Tensor,
        transform: tf.Tensor | None = None,
        update_emas: bool = False,
        noise: tf.Tensor | str = "const",
    ) -> tf.Tensor:
        """Images float32 [N, R, R, C] for style vectors; arguments as of StyleGAN2Generator with a constant input."""
        ws = self._checked_ws(ws)
        noises = self._noises(noise, ws.shape[0])
        x = self._input(ws[:, 0], transform)
        for index, conv in enumerate(self.convs):
            x = conv(x, ws[:, index], noise=noises[index])
        return self.torgb(x)
