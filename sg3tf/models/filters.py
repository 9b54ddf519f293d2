"""Low-pass filter design in float64 NumPy (arXiv 2106.12423, appendix C)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal, special

FloatArray = NDArray[np.float64]


def low_pass(
    num_taps: int, cutoff: float, half_width: float, sampling_rate: float, radial: bool = False
) -> FloatArray | None:
    """Design a Kaiser-windowed low-pass filter with unit gain at zero frequency.

    Args:
        num_taps: taps along each axis; 1 for no filter.
        cutoff: half-amplitude frequency, in cycles per image width.
        half_width: half the width of the transition band, in cycles per image width.
        sampling_rate: samples per image width of the signal to be filtered.
        radial: design a circularly symmetric two-dimensional filter instead of a separable one.

    Returns:
        float64 [num_taps] (separable), float64 [num_taps, num_taps] (radial), or None for 1 tap.

    Examples:
        >>> low_pass(12, cutoff=2.0, half_width=2.0, sampling_rate=16.0).shape
        (12,)
    """
    if num_taps == 1:
        return None
    if not radial:
        taps: FloatArray = signal.firwin(num_taps, cutoff, width=2 * half_width, fs=sampling_rate)
        return taps
    return _radial_low_pass(num_taps, cutoff, half_width, sampling_rate)


def _radial_low_pass(num_taps: int, cutoff: float, half_width: float, sampling_rate: float) -> FloatArray:
    """Design the ideal circular low-pass filter, a jinc, windowed by the outer product of two Kaiser windows."""
    position = (np.arange(num_taps) - (num_taps - 1) / 2) / sampling_rate
    radius = np.hypot(*np.meshgrid(position, position))
    at_center = np.pi * cutoff**2  # limit of J1(2 pi f r) / r * f as r -> 0
    safe = np.where(radius > 0, radius, 1.0)
    jinc = np.where(radius > 0, cutoff * special.j1(2 * np.pi * cutoff * safe) / safe, at_center)
    attenuation = signal.kaiser_atten(num_taps, 2 * half_width / (sampling_rate / 2))
    window = signal.windows.kaiser(num_taps, signal.kaiser_beta(attenuation))
    taps = jinc * np.outer(window, window)
    result: FloatArray = taps / taps.sum()
    return result
