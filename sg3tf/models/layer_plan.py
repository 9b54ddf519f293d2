"""Geometry of every synthesis layer: rates, cutoffs, sizes, channels, padding (arXiv 2106.12423, appendix F).

Rates and frequencies are in samples and cycles per image width. Pure Python: no TensorFlow, no NumPy.
"""

from __future__ import annotations

import dataclasses
import math

from sg3tf.models.configs import GeneratorConfig

NONLINEARITY_OVERSAMPLING = 2  # a filtered leaky ReLU runs at twice the higher of its two rates
TAPS_PER_FACTOR = 6
BILINEAR_TAPS_PER_FACTOR = 2
PYRAMID_HALF_WIDTH = 2**0.5 - 1  # of a pyramid's transition bands, relative to half of the sampling rate
LOW_PRECISION_RESOLUTIONS = 4  # 16-bit arithmetic pays in the highest so many octaves


@dataclasses.dataclass(frozen=True)
class InputPlan:
    """The Fourier features that the first layer reads."""

    channels: int
    size: int
    sampling_rate: int
    bandwidth: float
    transformed: bool


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """One synthesis layer; `padding` is (top, bottom, left, right) of its upsampling and downsampling.

    Filtered, it convolves, upsamples, applies the leaky ReLU, and downsamples; else it upsamples while it convolves.
    """

    name: str
    is_torgb: bool
    is_critically_sampled: bool
    low_precision: bool
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    in_rate: int
    out_rate: int
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    out_half_width: float
    kernel: int
    radial: bool
    filtered: bool = True
    bilinear: bool = False

    @property
    def temporary_rate(self) -> int:
        """Sampling rate at which the nonlinearity is applied."""
        oversampling = NONLINEARITY_OVERSAMPLING if self.filtered and not self.is_torgb else 1
        return max(self.in_rate, self.out_rate) * oversampling

    @property
    def conv_up(self) -> int:
        """Factor of upsampling in front of the kernel."""
        return 1 if self.filtered else self.temporary_rate // self.in_rate

    @property
    def up(self) -> int:
        """Factor of upsampling behind the kernel."""
        return self.temporary_rate // (self.in_rate * self.conv_up)

    @property
    def down(self) -> int:
        return self.temporary_rate // self.out_rate

    @property
    def up_taps(self) -> int:
        return self._taps(self.up * self.conv_up)

    @property
    def down_taps(self) -> int:
        return self._taps(self.down)

    def _taps(self, factor: int) -> int:
        per_factor = BILINEAR_TAPS_PER_FACTOR if self.bilinear else TAPS_PER_FACTOR
        return per_factor * factor if factor > 1 else 1

    @property
    def conv_size(self) -> int:
        """Side of what the convolution makes, with 'full' padding."""
        return (self.in_size - 1) * self.conv_up + self.kernel

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """What makes the output exactly `out_size` wide and centred on the input."""
        wanted = (self.out_size - 1) * self.down + 1
        there = self.conv_size * self.up
        total = wanted - there + self.up_taps + self.down_taps - 2
        before = (total + self.up) // 2
        return before, total - before, before, total - before


@dataclasses.dataclass(frozen=True)
class SynthesisPlan:
    """The whole synthesis network."""

    input: InputPlan
    layers: tuple[LayerPlan, ...]

    @property
    def num_ws(self) -> int:
        """Style vectors consumed: one by the input if it is transformed, one by each layer."""
        return self.input.transformed + len(self.layers)


def plan_synthesis(config: GeneratorConfig) -> SynthesisPlan:
    """The geometry that `config` implies."""
    entries = [_Entry.at(index, config) for index in range(config.num_layers + 1)]
    first = entries[0]
    layers = tuple(_layer(index, entries, config) for index in range(config.num_layers + 1))
    source = InputPlan(first.channels, first.size, first.rate, first.cutoff, config.transformed_input)
    return SynthesisPlan(source, layers)


@dataclasses.dataclass(frozen=True)
class _Entry:
    """The signal behind layer i: its band and the grid that carries it."""

    cutoff: float
    rate: int
    half_width: float
    size: int
    channels: int

    @classmethod
    def at(cls, index: int, config: GeneratorConfig) -> _Entry:
        rate, cutoff, half_width = (_pyramid if config.pyramid else _flexible)(index, config)
        is_cropped = index >= config.num_layers - 1  # the last two carry the image without margin
        channels = round(min(config.channel_base / 2 / cutoff, config.channel_max))
        return cls(
            cutoff=cutoff,
            rate=rate,
            half_width=half_width,
            size=config.resolution if is_cropped else rate + 2 * config.margin,
            channels=config.image_channels if index == config.num_layers else channels,
        )


def _flexible(index: int, config: GeneratorConfig) -> tuple[int, float, float]:
    """Sampling rate, cutoff and half width of entry `index`: the band decides."""
    exponent = min(index / (config.num_layers - config.num_critical), 1)
    last_cutoff = config.resolution / 2
    last_stopband = last_cutoff * config.last_stopband_rel
    cutoff = config.first_cutoff * (last_cutoff / config.first_cutoff) ** exponent
    stopband = config.first_stopband * (last_stopband / config.first_stopband) ** exponent
    rate = 2 ** math.ceil(math.log2(min(2 * stopband, config.resolution)))
    return rate, cutoff, max(stopband, rate / 2) - cutoff


def _pyramid(index: int, config: GeneratorConfig) -> tuple[int, float, float]:
    """As `_flexible`: the rate decides, and doubles with every second entry."""
    rate = config.resolution >> max(config.num_layers - 1 - index, 0) // 2
    half_width = PYRAMID_HALF_WIDTH * rate / 2
    return rate, rate / 2 if _is_critical(index, config) else rate / 2 - half_width, half_width


def _is_critical(index: int, config: GeneratorConfig) -> bool:
    return index >= config.num_layers - config.num_critical


def _layer(index: int, entries: list[_Entry], config: GeneratorConfig) -> LayerPlan:
    before, after = entries[max(index - 1, 0)], entries[index]
    is_torgb = index == config.num_layers
    is_critical = _is_critical(index, config)
    return LayerPlan(
        name=f"L{index}_{after.size}_{after.channels}",
        is_torgb=is_torgb,
        is_critically_sampled=is_critical,
        low_precision=after.rate * 2**LOW_PRECISION_RESOLUTIONS > config.resolution,
        in_channels=before.channels,
        out_channels=after.channels,
        in_size=before.size,
        out_size=after.size,
        in_rate=before.rate,
        out_rate=after.rate,
        in_cutoff=before.cutoff,
        out_cutoff=after.cutoff,
        in_half_width=before.half_width,
        out_half_width=after.half_width,
        kernel=1 if is_torgb else config.kernel,
        radial=config.radial and not is_critical,
        filtered=config.filtered,
        bilinear=config.bilinear,
    )
