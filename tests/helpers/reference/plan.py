"""The layer plan's formulas (arXiv 2106.12423, appendix F), for all entries at once."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np

from sg3tf.models.configs import GeneratorConfig

LAYERS = 14
CRITICAL = 2
MARGIN = 10
TAPS = 6  # for every unit of a resampling factor


@dataclasses.dataclass(frozen=True)
class Layer:
    """Geometry of one synthesis layer."""

    name: str
    torgb: bool
    use_radial_filters: bool
    kernel: int
    in_channels: int
    out_channels: int
    up: int
    down: int
    up_taps: int
    down_taps: int
    temporary_rate: int
    pad: tuple[int, int]  # before, after
    in_cutoff: float
    in_half_width: float
    out_cutoff: float
    out_half_width: float


def entries(config: GeneratorConfig) -> SimpleNamespace:
    """Arrays over i = 0..14: cutoff, rate, half_width, size, channels."""
    index = np.arange(LAYERS + 1)
    r = config.resolution
    e = np.minimum(index / (LAYERS - CRITICAL), 1)
    cutoff = 2 * (r / 4) ** e
    stopband = 2**2.1 * (r / 2 * 2**0.3 / 2**2.1) ** e
    rate = np.exp2(np.ceil(np.log2(np.minimum(2 * stopband, r)))).astype(int)
    size = np.where(index >= LAYERS - 1, r, rate + 2 * MARGIN)
    channels = np.rint(np.minimum(config.channel_base / 2 / cutoff, config.channel_max)).astype(int)
    channels[-1] = config.image_channels
    half_width = np.maximum(stopband, rate / 2) - cutoff
    return SimpleNamespace(cutoff=cutoff, rate=rate, half_width=half_width, size=size, channels=channels)


def layers(config: GeneratorConfig) -> list[Layer]:
    e = entries(config)
    return [_layer(i, max(i - 1, 0), e, config) for i in range(LAYERS + 1)]


def _layer(after: int, before: int, e: SimpleNamespace, config: GeneratorConfig) -> Layer:
    torgb = after == LAYERS
    kernel = 1 if torgb else config.conv_kernel
    rate = int(max(e.rate[before], e.rate[after])) * (1 if torgb else 2)
    up, down = rate // int(e.rate[before]), rate // int(e.rate[after])
    up_taps, down_taps = (TAPS * factor if factor > 1 else 1 for factor in (up, down))
    total = (e.size[after] - 1) * down + 1 - (e.size[before] + kernel - 1) * up + up_taps + down_taps - 2
    first = int(np.floor((total + up) / 2))
    return Layer(
        name=f"L{after}_{e.size[after]}_{e.channels[after]}",
        torgb=torgb,
        use_radial_filters=config.use_radial_filters and after < LAYERS - CRITICAL,
        kernel=kernel,
        in_channels=int(e.channels[before]),
        out_channels=int(e.channels[after]),
        up=up,
        down=down,
        up_taps=up_taps,
        down_taps=down_taps,
        temporary_rate=rate,
        pad=(first, int(total) - first),
        in_cutoff=e.cutoff[before],
        in_half_width=e.half_width[before],
        out_cutoff=e.cutoff[after],
        out_half_width=e.half_width[after],
    )
