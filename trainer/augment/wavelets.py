"""The two orthogonal wavelets of the augmentation, as filters of unit sum in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: sym6's low-pass filter: among the orthogonal filters of 12 taps with six zeros at the Nyquist frequency the most
#: nearly symmetric one. Upsampling by 2 with it and downsampling with it mirrored is the identity.
SYM6 = (
    0.01089235016329234,
    0.002468306185923318,
    -0.08343160770607297,
    -0.03416156079328601,
    0.34722898647921774,
    0.556946391962869,
    0.2389521856664347,
    -0.051362484930839246,
    -0.014891875649269698,
    0.031625281330021744,
    0.0012499610463979226,
    -0.005515933754688751,
)


def octave_bands() -> Array:
    """Four symmetric filters [4, 43] that add up to a unit impulse: frequencies up to pi/8, pi/4, pi/2 and pi.

    Appendix B builds them from sym2, Daubechies' orthogonal filter of 4 taps. With its power response P as a filter
    and Q = 1 - P, P keeps the lower half of the frequencies and Q the upper half; every further octave is split off
    what P has kept, with P and Q at twice the spacing.
    """
    root = np.sqrt(3)
    sym2 = np.array([1 + root, 3 + root, 3 - root, 1 - root]) / 8
    low = np.convolve(sym2, sym2[::-1])
    high = _unit_impulse(len(low)) - low
    bands, kept = [], np.ones(1)
    for octave in range(3):
        bands.append(np.convolve(kept, _spread(high, 2**octave)))
        kept = np.convolve(kept, _spread(low, 2**octave))
    bands.append(kept)
    width = len(kept)
    return np.stack([np.pad(band, (width - len(band)) // 2) for band in reversed(bands)])


def _unit_impulse(size: int) -> Array:
    return (np.arange(size) == size // 2).astype(np.float64)


def _spread(taps: Array, spacing: int) -> Array:
    """Taps of the filter f(z^spacing)."""
    spread = np.zeros((len(taps) - 1) * spacing + 1)
    spread[::spacing] = taps
    return spread
