"""The two filter designs as closed forms: windowed sinc and windowed jinc (arXiv 2106.12423, appendix C).

Independent of scipy.signal's design functions, which the library uses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def attenuation(num_taps: int, half_width: float, sampling_rate: float) -> float:
    """Kaiser's estimate of the stopband attenuation in dB."""
    transition = 2 * half_width / (sampling_rate / 2)  # in units of the Nyquist frequency
    return 2.285 * (num_taps - 1) * np.pi * transition + 7.95


def kaiser(num_taps: int, half_width: float, sampling_rate: float) -> Array:
    """Kaiser's window for that attenuation."""
    a = attenuation(num_taps, half_width, sampling_rate)
    if a > 50:
        beta = 0.1102 * (a - 8.7)
    elif a > 21:
        beta = 0.5842 * (a - 21) ** 0.4 + 0.07886 * (a - 21)
    else:
        beta = 0.0
    return np.kaiser(num_taps, beta)


def low_pass(
    num_taps: int, cutoff: float, half_width: float, sampling_rate: float, radial: bool = False
) -> Array | None:
    """Return the taps; arguments as in sg3tf.models.filters.low_pass."""
    if num_taps == 1:
        return None
    position = (np.arange(num_taps) - (num_taps - 1) / 2) / sampling_rate
    window = kaiser(num_taps, half_width, sampling_rate)
    if radial:
        radius = np.sqrt(position[:, None] ** 2 + position[None, :] ** 2)
        taps = jinc(radius, cutoff) * np.outer(window, window)
    else:
        taps = np.sinc(2 * cutoff * position) * window
    return taps / taps.sum()


def jinc(radius: Array, cutoff: float) -> Array:
    """Inverse Fourier transform of a disc of radius `cutoff`, up to a factor: J1(2 pi f r) / r.

    J1 by Bessel's integral; the trapezoidal rule converges geometrically on a periodic integrand.
    """
    turns = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    argument = 2 * np.pi * cutoff * radius[..., None]
    j1 = np.mean(np.cos(turns - argument * np.sin(turns)), axis=-1)
    return np.where(radius > 0, j1 / np.where(radius > 0, radius, 1), np.pi * cutoff)


def response(taps: Array, frequency: Array, sampling_rate: float) -> Array:
    """Real frequency response of symmetric taps [K]."""
    position = np.arange(len(taps)) - (len(taps) - 1) / 2
    return np.cos(2 * np.pi * np.multiply.outer(frequency, position) / sampling_rate) @ taps
