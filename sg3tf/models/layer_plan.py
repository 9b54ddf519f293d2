"""Geometry of every synthesis layer: rates, cutoffs, sizes, channels, padding (arXiv 2106.12423, appendix F).

Rates and frequencies are in samples and cycles per longer side of the image, the same along both axes. The size of a
grid that is not square is a Size. Pure Python: no TensorFlow, no NumPy.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from sg3tf.models.configs import GeneratorConfig
from sg3tf.utils.resolution import Resolution, Size, longer_side, size_of, to_resolution

NONLINEARITY_OVERSAMPLING = 2  # a filtered leaky ReLU runs at twice the higher of its two rates
TAPS_PER_FACTOR = 6
LOW_PRECISION_RESOLUTIONS = 4  # number of octaves, from the highest, computed in 16 bits


@dataclasses.dataclass(frozen=True)
class InputPlan:
    """Fourier features read by the first layer; here, rate and bandwidth are per image width.

    Examples:
        >>> plan_synthesis(GeneratorConfig(256)).input
        InputPlan(channels=512, size=36, sampling_rate=16, bandwidth=2.0, transformed=True)
    """

    channels: int
    size: Resolution
    sampling_rate: int
    bandwidth: float
    transformed: bool


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """One synthesis layer: convolution, upsampling, leaky ReLU, downsampling.

    Examples:
        >>> layer = plan_synthesis(GeneratorConfig(256)).layers[0]
        >>> layer.name, layer.in_size, layer.out_size, layer.up, layer.down
        ('L0_36_512', 36, 36, 2, 2)
    """

    name: str
    is_torgb: bool
    is_critically_sampled: bool
    low_precision: bool
    in_channels: int
    out_channels: int
    in_size: Resolution
    out_size: Resolution
    in_rate: int
    out_rate: int
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    out_half_width: float
    conv_kernel: int
    use_radial_filters: bool
    filter_size: int = TAPS_PER_FACTOR

    def __post_init__(self) -> None:
        for name in ("in_size", "out_size"):  # files store [width, height]
            object.__setattr__(self, name, to_resolution(getattr(self, name)))

    @property
    def temporary_rate(self) -> int:
        """Sampling rate at which the nonlinearity is applied."""
        return max(self.in_rate, self.out_rate) * (1 if self.is_torgb else NONLINEARITY_OVERSAMPLING)

    @property
    def up(self) -> int:
        """Upsampling factor before the nonlinearity."""
        return self.temporary_rate // self.in_rate

    @property
    def down(self) -> int:
        """Downsampling factor after the nonlinearity."""
        return self.temporary_rate // self.out_rate

    @property
    def up_taps(self) -> int:
        return self._num_taps(self.up)

    @property
    def down_taps(self) -> int:
        return self._num_taps(self.down)

    def _num_taps(self, factor: int) -> int:
        return self.filter_size * factor if factor > 1 and not self.is_torgb else 1

    @property
    def conv_size(self) -> Size:
        """Output size of the convolution, which has 'full' padding."""
        return Size(*(side + self.conv_kernel - 1 for side in size_of(self.in_size)))

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) for an output of `out_size` centered on the input.

        The padding is the same along both axes, because the margins are.
        """
        needed = (size_of(self.out_size).width - 1) * self.down + 1
        total = needed - self.conv_size.width * self.up + self.up_taps + self.down_taps - 2
        before = (total + self.up) // 2
        return before, total - before, before, total - before


@dataclasses.dataclass(frozen=True)
class SynthesisPlan:
    """The whole synthesis network.

    Examples:
        >>> plan = plan_synthesis(GeneratorConfig(256))
        >>> len(plan.layers), plan.num_ws
        (15, 16)
    """

    input: InputPlan
    layers: tuple[LayerPlan, ...]

    @property
    def num_ws(self) -> int:
        """Number of style vectors per image: one for the input, if it is transformed, and one per layer."""
        return self.input.transformed + len(self.layers)


class Band(NamedTuple):
    """Sampling rate, cutoff and transition half-width of a signal.

    Examples:
        >>> flexible_band(GeneratorConfig(256), index=0)
        Band(rate=16, cutoff=2.0, half_width=6.0)
    """

    rate: int
    cutoff: float
    half_width: float


@dataclasses.dataclass(frozen=True)
class _SignalGrid:
    """A layer's output signal: its band, and the grid on which it is sampled."""

    band: Band
    size: Resolution
    channels: int


def plan_synthesis(config: GeneratorConfig) -> SynthesisPlan:
    """Plan the synthesis network of `config`, for configs T and R."""
    return build_plan(config, flexible_band)


def flexible_band(config: GeneratorConfig, index: int) -> Band:
    """Output band of layer `index`: cutoff and stopband grow geometrically; the sampling rate follows from them."""
    exponent = min(index / (config.num_layers - config.num_critical), 1)
    side = longer_side(config.resolution)
    last_cutoff = side / 2
    last_stopband = last_cutoff * config.last_stopband_rel
    cutoff = config.first_cutoff * (last_cutoff / config.first_cutoff) ** exponent
    stopband = config.first_stopband * (last_stopband / config.first_stopband) ** exponent
    rate = _rate_above(min(2 * stopband, side), config.resolution)
    return Band(rate, cutoff, max(stopband, rate / 2) - cutoff)


def _rate_above(least: float, resolution: Resolution) -> int:
    """Lowest sampling rate >= `least` at which both sides of the image, repeatedly halved, are whole samples."""
    width, height = size_of(resolution)
    side = max(width, height)
    odd = side // _power_of_two_in(side)
    return max(odd * 2 ** math.ceil(math.log2(least / odd)), side // _power_of_two_in(width | height))


def _power_of_two_in(number: int) -> int:
    """Largest power of two that divides `number`. For `a | b`, it divides both a and b."""
    return number & -number


def build_plan(
    config: GeneratorConfig,
    band: Callable[[GeneratorConfig, int], Band],
    layer_class: type[LayerPlan] = LayerPlan,
    transformed_input: bool = True,
    **variant: Any,
) -> SynthesisPlan:
    """Plan a synthesis network from the band of each layer.

    Args:
        config: everything except the bands.
        band: (config, index) -> output band of layer `index`.
        layer_class: LayerPlan or a subclass.
        transformed_input: let w move the input.
        **variant: additional fields of `layer_class`.
    """
    grids = [_grid(config, index, band(config, index)) for index in range(config.num_layers + 1)]
    layers = []
    for index, after in enumerate(grids):
        before = grids[max(index - 1, 0)]
        is_torgb = index == config.num_layers
        layer = layer_class(
            name=f"L{index}_{after.size}_{after.channels}",
            is_torgb=is_torgb,
            is_critically_sampled=is_critical(config, index),
            low_precision=after.band.rate * 2**LOW_PRECISION_RESOLUTIONS > longer_side(config.resolution),
            in_channels=before.channels,
            out_channels=after.channels,
            in_size=before.size,
            out_size=after.size,
            in_rate=before.band.rate,
            out_rate=after.band.rate,
            in_cutoff=before.band.cutoff,
            out_cutoff=after.band.cutoff,
            in_half_width=before.band.half_width,
            out_half_width=after.band.half_width,
            conv_kernel=1 if is_torgb else config.conv_kernel,
            use_radial_filters=config.use_radial_filters and not is_critical(config, index),
            filter_size=config.filter_size,
            **variant,
        )
        layers.append(layer)
    first, width, side = grids[0], size_of(config.resolution).width, longer_side(config.resolution)
    source = InputPlan(
        first.channels,
        first.size,
        first.band.rate * width // side,
        first.band.cutoff * width / side,
        transformed_input,
    )
    return SynthesisPlan(source, tuple(layers))


def is_critical(config: GeneratorConfig, index: int) -> bool:
    """Return True if layer `index` is critically sampled: its cutoff is half its sampling rate."""
    return index >= config.num_layers - config.num_critical


def _grid(config: GeneratorConfig, index: int, band: Band) -> _SignalGrid:
    is_cropped = index >= config.num_layers - 1  # the last two have no margin
    channels = round(min(config.channel_base / 2 / band.cutoff, config.channel_max))
    side = longer_side(config.resolution)
    canvas = [part * band.rate // side + 2 * config.margin_size for part in size_of(config.resolution)]
    return _SignalGrid(
        band=band,
        size=config.resolution if is_cropped else to_resolution(canvas),
        channels=config.image_channels if index == config.num_layers else channels,
    )
