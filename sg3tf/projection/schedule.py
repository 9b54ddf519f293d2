"""How fast and how noisily a projection goes, from its beginning to its end (arXiv 1912.04958, appendix D)."""

from __future__ import annotations

import math

WARM_UP = 0.05  # share of the steps in which the learning rate rises
COOL_DOWN = 0.25  # and, at the end, falls
NOISY = 0.75  # share of the steps with noise
NOISE = 0.05  # at the beginning, in standard deviations of w


def learning_rate_share(progress: float) -> float:
    """Share of the full learning rate: a linear rise, and at the end half a cosine.

    Args:
        progress: 0 at the beginning, 1 at the end.
    """
    rise = min(1.0, progress / WARM_UP)
    remaining = min(1.0, (1 - progress) / COOL_DOWN)
    return rise * (1 - math.cos(math.pi * remaining)) / 2


def noise_strength(progress: float, sigma: float) -> float:
    """Standard deviation of the noise on every number of w.

    Args:
        progress: 0 at the beginning, 1 at the end.
        sigma: standard deviation of w, as the distance from its mean.
    """
    return NOISE * sigma * max(0.0, 1 - progress / NOISY) ** 2
