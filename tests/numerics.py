"""Comparing arrays, and the two image layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def relative_error(actual: Any, expected: Any) -> float:
    """||actual - expected|| / ||expected||, in float64; infinite where the shapes differ."""
    a, b = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape:
        return np.inf
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def psnr(actual: Any, expected: Any) -> float:
    """10 log10(4 / mean squared difference) dB: images in [-1, 1] have a range of 2."""
    difference = np.asarray(actual, np.float64) - np.asarray(expected, np.float64)
    return float(10 * np.log10(4 / np.mean(difference**2)))


def nhwc(x: Any) -> Array:
    return np.transpose(np.asarray(x), (0, 2, 3, 1))


def nchw(x: Any) -> Array:
    return np.transpose(np.asarray(x), (0, 3, 1, 2))
