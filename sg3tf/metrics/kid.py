"""How far apart two sets of features lie under a polynomial kernel (KID; arXiv 1801.01401, section 4)."""

from __future__ import annotations

import numpy as np

from sg3tf.metrics.feature_stats import Array, Features, check_features


def kernel_distance(
    real: Features, fake: Features, rng: np.random.Generator, subsets: int = 100, subset_size: int = 1000
) -> float:
    """Squared maximum mean discrepancy for the kernel (x.y / D + 1)^3: an unbiased estimate, so it may be negative.

    It is estimated between subsets, drawn from either set without replacement, and averaged; in float64.

    Args:
        real, fake: float [M, D] and [N, D].
        rng: subsets are drawn from it.
        subsets: how many.
        subset_size: vectors in a subset; all of the smaller set where that has fewer.

    Returns:
        The distance; publications often give 1000 times as much.

    Raises:
        ValueError: shapes that do not match, fewer than two vectors in a subset, or no subset.
        FloatingPointError: features that are not finite.
    """
    check_features("real", real, real.shape[-1])
    check_features("fake", fake, real.shape[-1])
    size = min(subset_size, len(real), len(fake))
    if size < 2:
        sizes = f"subset_size={subset_size}, {len(real)} real and {len(fake)} fake images"
        raise ValueError(f"{sizes}: give at least 2 of each")
    if subsets < 1:
        raise ValueError(f"subsets={subsets}: must be at least 1")

    def drawn(features: Features) -> Array:
        return features[rng.choice(len(features), size, replace=False)].astype(np.float64)

    return float(np.mean([_squared_discrepancy(drawn(real), drawn(fake)) for _ in range(subsets)]))


def _squared_discrepancy(x: Array, y: Array) -> float:
    """The unbiased estimate between x and y, [N, D] each."""
    return _mean_of_others(_kernel(x, x)) + _mean_of_others(_kernel(y, y)) - 2 * _kernel(x, y).mean()


def _mean_of_others(kernel: Array) -> float:
    """The mean off the diagonal: of a vector with itself, the kernel says nothing about the distribution."""
    size = len(kernel)
    return (kernel.sum() - np.trace(kernel)) / (size * (size - 1))


def _kernel(x: Array, y: Array) -> Array:
    return (x @ y.T / x.shape[1] + 1) ** 3
