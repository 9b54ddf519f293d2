"""Geometry of every synthesis layer: rates, cutoffs, sizes, channels, padding (arXiv 2106.12423, appendix F).

Rates and frequencies are in samples and cycles per image width. Pure Python: no TensorFlow, no NumPy.
"""

from __future__ import annotations

import dataclasses
import math

from sg3tf.config import GeneratorConfig

NONLINEARITY_OVERSAMPLING = 2  # the leaky ReLU runs at twice the higher of its two rates
TAPS_PER_FACTOR = 6
LOW_PRECISION_RESOLUTIONS = 4  # 16-bit arithmetic pays in the highest so many octaves


@dataclasses.dataclass(frozen=True)
class InputPlan:
    """The Fourier features that the first layer reads."""

    channels: int
    size: int
    sampling_rate: int
    bandwidth: float


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """One synthesis layer; `padding` is (top, bottom, left, right) of its filtered leaky ReLU."""

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

    @property
    def temporary_rate(self) -> int:
        """Sampling rate at which the nonlinearity is applied."""
        return max(self.in_rate, self.out_rate) * (1 if self.is_torgb else NONLINEARITY_OVERSAMPLING)

    @property
    def up(self) -> int:
        return self.temporary_rate // self.in_rate

    @property
    def down(self) -> int:
        return self.temporary_rate // self.out_rate

    @property
    def up_taps(self) -> int:
        return TAPS_PER_FACTOR * self.up if self.up > 1 else 1

    @property
    def down_taps(self) -> int:
        return TAPS_PER_FACTOR * self.down if self.down > 1 else 1

    @property
    def padding(self) -> tuple[int, int, int, int]:
        """What makes the output exactly `out_size` wide and centred on the input."""
        wanted = (self.out_size - 1) * self.down + 1
        there = (self.in_size + self.kernel - 1) * self.up
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
        """Style vectors consumed: one by the input, one by each layer."""
        return 1 + len(self.layers)


def plan_synthesis(config: GeneratorConfig) -> SynthesisPlan:
    """The geometry that `config` implies."""
    entries = [_Entry.at(index, config) for index in range(config.num_layers + 1)]
    first = entries[0]
    layers = tuple(_layer(index, entries, config) for index in range(config.num_layers + 1))
    return SynthesisPlan(InputPlan(first.channels, first.size, first.rate, first.cutoff), layers)


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
        exponent = min(index / (config.num_layers - config.num_critical), 1)
        last_cutoff = config.resolution / 2
        last_stopband = last_cutoff * config.last_stopband_rel
        cutoff = config.first_cutoff * (last_cutoff / config.first_cutoff) ** exponent
        stopband = config.first_stopband * (last_stopband / config.first_stopband) ** exponent
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, config.resolution)))
        is_cropped = index >= config.num_layers - 1  # the last two carry the image without margin
        channels = round(min(config.channel_base / 2 / cutoff, config.channel_max))
        return cls(
            cutoff=cutoff,
            rate=rate,
            half_width=max(stopband, rate / 2) - cutoff,
            size=config.resolution if is_cropped else rate + 2 * config.margin,
            channels=config.image_channels if index == config.num_layers else channels,
        )


def _layer(index: int, entries: list[_Entry], config: GeneratorConfig) -> LayerPlan:
    before, after = entries[max(index - 1, 0)], entries[index]
    is_torgb = index == config.num_layers
    is_critical = index >= config.num_layers - config.num_critical
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
    )
