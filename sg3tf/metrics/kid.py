"""Kernel Inception distance (KID; arXiv 1801.01401, section 4): distance between two sets of features."""

from __future__ import annotations

import numpy as np

from sg3tf.metrics.feature_stats import Array, Features, check_pair

SUBSET_SIZE = 1000


def kernel_distance(
    real: Features, fake: Features, rng: np.random.Generator, num_subsets: int = 100, subset_size: int = SUBSET_SIZE
) -> float:
    """Squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, an unbiased estimate that may be negative.

    The result is the mean over pairs of subsets, one from each set, drawn without replacement; computed in float64.

    Args:
        real, fake: float [M, D] and [N, D].
        rng: random generator for the subsets.
        num_subsets: number of pairs of subsets.
        subset_size: vectors per subset; at most the size of the smaller set.

    Returns:
        The distance; publications often report 1000 times this value.

    Raises:
        ValueError: mismatched shapes, fewer than two vectors per subset, or no subset.
        FloatingPointError: features are not finite.
    """
    check_pair(real, fake)
    size = min(subset_size, len(real), len(fake))
    if size < 2:
        sizes = f"subset_size={subset_size}, {len(real)} real and {len(fake)} fake images"
        raise ValueError(f"{sizes}: give at least 2 of each")
    if num_subsets < 1:
        raise ValueError(f"num_subsets={num_subsets}: must be at least 1")

    def subset(features: Features) -> Array:
        return features[rng.choice(len(features), size, replace=False)].astype(np.float64)

    return float(np.mean([_squared_discrepancy(subset(real), subset(fake)) for _ in range(num_subsets)]))


def standardized_kernel_distance(
    real: Features, fake: Features, rng: np.random.Generator, smallest_deviations: Array
) -> float:
    """Return 1000 times the `kernel_distance` of features standardized by the real set.

    For features whose scales are arbitrary. Ten pairs of subsets are drawn, or a single pair if it is both full sets.

    Args:
        real, fake: float [M, D] and [N, D].
        rng: random generator for the subsets.
        smallest_deviations: float [D], positive; lower bounds on the standard deviations to divide by. Without them,
            the rounding of a feature that is constant in the real set would outweigh all others.
    """
    check_pair(real, fake)
    mean, std = real.mean(axis=0, dtype=np.float64), real.std(axis=0, dtype=np.float64)
    num_subsets = 1 if len(real) == len(fake) <= SUBSET_SIZE else 10
    scale = np.maximum(std, smallest_deviations)
    return 1000 * kernel_distance((real - mean) / scale, (fake - mean) / scale, rng, num_subsets)


def _squared_discrepancy(x: Array, y: Array) -> float:
    """Unbiased estimate of the squared discrepancy between x and y, [N, D] each."""
    return _off_diagonal_mean(_kernel(x, x)) + _off_diagonal_mean(_kernel(y, y)) - 2 * _kernel(x, y).mean()


def _off_diagonal_mean(kernel: Array) -> float:
    """Mean over pairs of different vectors; pairs of a vector with itself would bias the estimate."""
    size = len(kernel)
    return (kernel.sum() - np.trace(kernel)) / (size * (size - 1))


def _kernel(x: Array, y: Array) -> Array:
    return (x @ y.T / x.shape[1] + 1) ** 3
