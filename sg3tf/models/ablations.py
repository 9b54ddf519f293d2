"""Ablations from StyleGAN2 (config A) to StyleGAN3 (config T): presets and geometry (arXiv 2106.12423, section 3).

Each config makes one change to the previous one (figure 3). A, B and C are StyleGAN2 networks; D to H are steps toward
the alias-free generator, and their layers are in ablation_layers. docs/ablations.md compares all of them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from sg3tf.models.configs import GeneratorConfig, require
from sg3tf.models.layer_plan import Band, LayerPlan, SynthesisPlan, build_plan, is_critical
from sg3tf.utils.resolution import Resolution, Size, longer_side, pyramid, size_of

ABLATION_PRESETS = tuple(f"stylegan3-{letter}" for letter in "abcdefgh")
#: Fields of StyleGAN2Config that the configs A, B and C fix.
STYLEGAN2_ABLATIONS: dict[str, dict[str, Any]] = {
    "stylegan3-a": {},
    "stylegan3-b": {"fourier_input": True},
    "stylegan3-c": {"fourier_input": True, "noise": False},
}

BILINEAR_TAPS_PER_FACTOR = 2
PYRAMID_HALF_WIDTH = 2**0.5 - 1  # of transition bands, relative to half the sampling rate


def alias_free_ablation(name: str, resolution: Resolution) -> dict[str, Any]:
    """Fields of AblationConfig that the configs D to H fix at `resolution`."""
    num_layers = pyramid_layers(resolution)
    presets: dict[str, dict[str, Any]] = {
        "stylegan3-d": {
            "num_layers": num_layers,
            "num_critical": num_layers,
            "transformed_input": False,
            "filtered": False,
            "bilinear": True,
            "margin_size": 0,
        },
        "stylegan3-e": {
            "num_layers": num_layers,
            "num_critical": num_layers,
            "transformed_input": False,
            "filtered": False,
        },
        "stylegan3-f": {
            "num_layers": num_layers,
            "num_critical": num_layers,
            "transformed_input": False,
        },
        "stylegan3-g": {
            "num_layers": num_layers,
            "transformed_input": False,
        },
        "stylegan3-h": {
            "num_layers": num_layers,
        },
    }
    return presets[name]


def pyramid_layers(resolution: Resolution) -> int:
    """Number of layers in a pyramid that starts at 4 pixels (or the smallest grid): two per resolution."""
    return 2 * len(pyramid(resolution))


@dataclasses.dataclass(frozen=True)
class AblationConfig(GeneratorConfig):
    """Architecture of configs D to H, whose sampling rates form a pyramid that determines the bands.

    Attributes:
        transformed_input: let w translate and rotate the Fourier features (config H).
        filtered: apply nonlinearities at twice the sampling rate, between two filters (config F and later).
        bilinear: resample with filters that interpolate linearly, instead of windowed sincs (config D).

    first_cutoff, first_stopband and last_stopband_rel are ignored.

    Examples:
        >>> config = AblationConfig(256, num_layers=14, transformed_input=False)
        >>> len(plan_ablation(config).layers), plan_ablation(config).num_ws
        (15, 15)
    """

    transformed_input: bool = True
    filtered: bool = True
    bilinear: bool = False

    def _check_layers(self) -> None:
        most = pyramid_layers(self.resolution)
        remedy = f"must be between 1 and {most} in a pyramid"
        require(0 < self.num_layers <= most, "num_layers", self.num_layers, remedy)
        remedy = f"must be between 1 and num_layers = {self.num_layers}"
        require(0 < self.num_critical <= self.num_layers, "num_critical", self.num_critical, remedy)


@dataclasses.dataclass(frozen=True)
class AblationLayerPlan(LayerPlan):
    """Geometry of a layer of configs D to H.

    Attributes:
        filtered: convolve, upsample, apply the leaky ReLU, and downsample; if False, upsample while convolving.
        bilinear: resample with filters that interpolate linearly.

    Examples:
        >>> plan = plan_ablation(AblationConfig(256, num_layers=14, filtered=False))
        >>> layer = plan.layers[2]
        >>> layer.temporary_rate, layer.conv_up, layer.up, layer.down
        (8, 2, 1, 1)
    """

    filtered: bool = True
    bilinear: bool = False

    @property
    def temporary_rate(self) -> int:
        return super().temporary_rate if self.filtered else max(self.in_rate, self.out_rate)

    @property
    def conv_up(self) -> int:
        """Upsampling factor of the convolution."""
        return 1 if self.filtered else self.temporary_rate // self.in_rate

    @property
    def up(self) -> int:
        return self.temporary_rate // (self.in_rate * self.conv_up)

    @property
    def up_taps(self) -> int:
        return self._num_taps(self.up * self.conv_up)

    @property
    def conv_size(self) -> Size:
        return Size(*((side - 1) * self.conv_up + self.conv_kernel for side in size_of(self.in_size)))

    def _num_taps(self, factor: int) -> int:
        return (BILINEAR_TAPS_PER_FACTOR if self.bilinear else self.filter_size) * factor if factor > 1 else 1


def plan_ablation(config: AblationConfig) -> SynthesisPlan:
    """Plan the synthesis network of an AblationConfig."""
    variant = {"filtered": config.filtered, "bilinear": config.bilinear}
    return build_plan(config, pyramid_band, AblationLayerPlan, config.transformed_input, **variant)


def pyramid_band(config: GeneratorConfig, index: int) -> Band:
    """Output band of layer `index`: the sampling rate doubles every second layer, and the band follows from it."""
    rate = longer_side(config.resolution) >> max(config.num_layers - 1 - index, 0) // 2
    half_width = PYRAMID_HALF_WIDTH * rate / 2
    return Band(rate, rate / 2 if is_critical(config, index) else rate / 2 - half_width, half_width)
