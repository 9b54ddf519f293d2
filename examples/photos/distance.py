"""Fréchet distance between generated and real images, as in FID, on features that need no network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CELLS = 4  # rows and columns of the coarse picture
_BANDS = 8  # rings of spatial frequency, up to Nyquist's along an axis
_ROUNDING_POWER = (2 / 255) ** 2 / 12  # of 8-bit values in [-1, 1]: less than this is rounding


def features(images: NDArray[np.uint8]) -> Array:
    """Return coarse and fine features: colors of 4 x 4 cells, and log power in rings of frequency.

    Args:
        images: uint8 [N, R, R, 3], R a multiple of 4, at least 16.

    Returns:
        float64 [N, 56].
    """
    count, resolution = images.shape[:2]
    pixels = images / 127.5 - 1
    side = resolution // _CELLS
    colors = pixels.reshape(count, _CELLS, side, _CELLS, side, 3).mean((2, 4)).reshape(count, -1)
    return np.concatenate([colors, _log_power(pixels.mean(3))], axis=1)


def _log_power(gray: Array) -> Array:
    """Natural logarithm of the mean power in each ring, [N, 8]; white noise has its variance in all of them."""
    resolution = gray.shape[1]
    # The periodic Hann window keeps an image's unequal borders from filling all bands.
    window = 1 - np.cos(2 * np.pi * np.arange(resolution) / resolution)
    window = np.outer(window, window)
    centered = (gray - gray.mean((1, 2), keepdims=True)) * window
    power = np.abs(np.fft.fft2(centered)) ** 2 / (window**2).sum()
    cycles = np.fft.fftfreq(resolution, 1 / resolution)
    radius = np.hypot(cycles[:, None], cycles)
    edges = np.linspace(0.5, resolution / 2 + 0.5, _BANDS + 1)
    rings = [power[:, (radius >= low) & (radius < high)].mean(1) for low, high in pairwise(edges)]
    return np.log(np.stack(rings, axis=1) + _ROUNDING_POWER)


@dataclass(frozen=True)
class Gaussian:
    """Mean [F] and covariance [F, F] of features."""

    mean: Array
    covariance: Array

    @classmethod
    def of(cls, rows: Array) -> Gaussian:
        """Fits [N, F]."""
        return cls(rows.mean(0), np.cov(rows, rowvar=False))


def frechet(a: Gaussian, b: Gaussian) -> float:
    """Returns |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), as FID does; 0 for equal Gaussians."""
    # A B has the eigenvalues of A^(1/2) B A^(1/2), which are not negative but for rounding.
    eigenvalues = np.linalg.eigvals(a.covariance @ b.covariance).real
    overlap = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    shift = ((a.mean - b.mean) ** 2).sum()
    return float(shift + np.trace(a.covariance) + np.trace(b.covariance) - 2 * overlap)


class DistanceToReals:
    """Frechet distance to real images, in units in which each of their features has mean 0 and variance 1.

    Args:
        reals: uint8 [N, R, R, 3].
    """

    def __init__(self, reals: NDArray[np.uint8]) -> None:
        rows = features(reals)
        self._mean, self._std = rows.mean(0), rows.std(0)
        self._reals = self._fit(rows)

    def __call__(self, images: NDArray[np.uint8]) -> float:
        """Distance of `images`, uint8 [N, R, R, 3]; with 1000, new crops have some 0.2."""
        return frechet(self._reals, self._fit(features(images)))

    def _fit(self, rows: Array) -> Gaussian:
        return Gaussian.of((rows - self._mean) / self._std)
