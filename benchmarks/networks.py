"""Networks by short names, and the arithmetic of one image."""

from __future__ import annotations

import dataclasses
import re
from typing import cast

from sg3tf.models.configs import ConfigError, DiscriminatorConfig, GeneratorConfig
from sg3tf.models.filters import low_pass
from sg3tf.models.layer_plan import LayerPlan, plan_synthesis
from sg3tf.models.presets import discriminator_preset, generator_preset
from sg3tf.ops.geometry import Filter
from sg3tf.utils.resolution import longer_side

PRESETS = {"T": "stylegan3-t", "R": "stylegan3-r"}
WIDE_RESOLUTION = 512  # published networks of at least this resolution are wider


@dataclasses.dataclass(frozen=True)
class Network:
    """A generator and the discriminator that it is trained with."""

    name: str
    preset: str
    resolution: int
    channel_base: int
    channel_max: int = 512

    @classmethod
    def named(cls, name: str, channel_base: int | None = None, channel_max: int = 512) -> Network:
        """Return a network by name, such as "T-256" for config T at 256 x 256, by default as wide as published.

        Raises:
            ConfigError: the name is malformed, or the sizes are impossible.
        """
        match = re.fullmatch(r"([TR])-(\d+)", name)
        if match is None:
            raise ConfigError(f"presets={name!r}: give T or R, a hyphen and a resolution, as in T-256")
        resolution = int(match[2])
        base = channel_base or (32768 if resolution >= WIDE_RESOLUTION else 16384)
        network = cls(name, PRESETS[match[1]], resolution, base, channel_max)
        network.generator()
        return network

    def generator(self) -> GeneratorConfig:
        size = {"channel_base": self.channel_base, "channel_max": self.channel_max}
        return cast(GeneratorConfig, generator_preset(self.preset, self.resolution, **size))

    def discriminator(self) -> DiscriminatorConfig:
        return discriminator_preset(
            self.preset, self.resolution, channel_base=self.channel_base, channel_max=self.channel_max
        )


def canvas_size(layer: LayerPlan) -> int:
    """Return the side of the input of the nonlinearity."""
    return longer_side(layer.in_size) + layer.conv_kernel - 1


def high_size(layer: LayerPlan) -> int:
    """Return the side of the canvas at the temporary rate."""
    return (longer_side(layer.out_size) - 1) * layer.down + layer.down_taps


def convolution_flop(config: GeneratorConfig) -> int:
    """Count the operations of the convolutions: kernel^2 products per input sample and pair of channels."""
    plan = plan_synthesis(config)
    products = (longer_side(plan.input.size) * plan.input.channels) ** 2  # the map of the Fourier features
    for layer in plan.layers:
        products += (longer_side(layer.in_size) * layer.conv_kernel) ** 2 * layer.in_channels * layer.out_channels
    return 2 * products


def filter_flop(layer: LayerPlan) -> int:
    """Count the operations of the filters: separable passes, vertical first, excluding products with inserted zeros."""
    canvas, high, out = canvas_size(layer), high_size(layer), longer_side(layer.out_size)
    products = 0
    if layer.up_taps > 1:
        products += high * (canvas + high) * (layer.up_taps // layer.up)
    if layer.down_taps > 1:
        separable = out * (high + out) * layer.down_taps
        at_once = out**2 * layer.down_taps**2
        products += min(down_terms(layer) * separable, at_once)
    return 2 * products * layer.out_channels


def down_terms(layer: LayerPlan) -> int:
    """Return the number of separable filters that the downsampling filter is the sum of."""
    taps = low_pass(
        layer.down_taps, layer.out_cutoff, layer.out_half_width, layer.temporary_rate, layer.use_radial_filters
    )
    return len(Filter.from_taps(taps, False, 1.0).y)


def generator_flop(config: GeneratorConfig) -> int:
    """Count the operations of convolutions and filters."""
    return convolution_flop(config) + sum(map(filter_flop, plan_synthesis(config).layers))


def discriminator_flop(config: DiscriminatorConfig) -> int:
    """Count the operations of the convolutions; the short filters add little."""
    side, last = longer_side(config.resolution), config.channels(4)
    products = side**2 * config.image_channels * config.channels(side)
    while side > 4:
        wide, narrow = config.channels(side), config.channels(side // 2)
        products += side**2 * 9 * wide**2 + (side // 2) ** 2 * (9 + 1) * wide * narrow
        side //= 2
    products += 4**2 * 9 * (last + config.mbstd_channels) * last + 4**2 * last**2
    return 2 * products
