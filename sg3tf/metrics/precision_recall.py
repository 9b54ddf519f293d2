"""Precision and recall, density and coverage: overlap of two sets of features, from balls around their points.

The radius of a ball is the distance from its center to the k-th nearest neighbor in the same set. Balls are closed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sg3tf.metrics.feature_stats import Array, Features, check_pair

BLOCK_SIZE = 2048  # points of each set per block of distances: 250 MB for 4096 features
Block = tuple[slice, slice, Array]


def precision_recall(real: Features, fake: Features, k: int = 3, block_size: int = BLOCK_SIZE) -> tuple[float, float]:
    """Improved precision and recall (arXiv 1904.06991, section 2).

    Args:
        real, fake: float [M, D] and [N, D].
        k: the k-th nearest neighbor defines a ball's radius.
        block_size: points of each set per block of distances; only affects memory.

    Returns:
        Precision, the share of fake points in the ball of any real point; and recall, the share of real points in the
        ball of any fake point.

    Raises:
        ValueError: mismatched shapes, or a set with fewer than k + 1 points.
        FloatingPointError: features are not finite.
    """
    _check_points(real, fake)
    _check_k(k, real=real, fake=fake)
    real_radii, fake_radii = _squared_radii(real, k, block_size), _squared_radii(fake, k, block_size)
    real_covered, fake_covered = np.zeros(len(real), bool), np.zeros(len(fake), bool)
    for i, j, squares in _squared_distances(real, fake, block_size, rounding=-1):
        fake_covered[j] |= (squares <= real_radii[i, None]).any(axis=0)
        real_covered[i] |= (squares <= fake_radii[j]).any(axis=1)
    return float(fake_covered.mean()), float(real_covered.mean())


def density_coverage(real: Features, fake: Features, k: int = 5, block_size: int = BLOCK_SIZE) -> tuple[float, float]:
    """Density and coverage (arXiv 2002.09797, section 3); arguments and errors are those of `precision_recall`.

    If both sets have the same distribution, the expected density is 1, and the expected coverage is
    1 - (M-1)...(M-k) / ((M+N-1)...(M+N-k)), which approaches 1 - 2^-k for many points.

    Returns:
        Density, the mean number of real points' balls that contain a fake point, divided by k; and coverage, the share
        of real points whose ball contains a fake point.
    """
    _check_points(real, fake)
    _check_k(k, real=real)
    radii = _squared_radii(real, k, block_size)
    num_inside, covered = 0, np.zeros(len(real), bool)
    for i, _, squares in _squared_distances(real, fake, block_size, rounding=-1):
        inside = squares <= radii[i, None]
        num_inside += int(np.count_nonzero(inside))
        covered[i] |= inside.any(axis=1)
    return num_inside / (k * len(fake)), float(covered.mean())


def _check_points(real: Features, fake: Features) -> None:
    check_pair(real, fake)
    for name, points in (("real", real), ("fake", fake)):
        if not len(points):
            raise ValueError(f"{name} has no points: give some")


def _check_k(k: int, **sets: Features) -> None:
    for name, points in sets.items():
        if not 1 <= k < len(points):
            raise ValueError(f"k={k}: must be at least 1 and less than {len(points)}, the number of {name} points")


def _squared_radii(points: Features, k: int, block_size: int) -> Array:
    """Squared distance from each of N points to its k-th nearest neighbor, float64 [N], rounded up."""
    nearest = np.full((len(points), k), np.inf)
    for i, j, squares in _squared_distances(points, points, block_size, rounding=1):
        if i == j:
            np.fill_diagonal(squares, np.inf)
        nearest[i] = np.partition(np.concatenate([nearest[i], squares], axis=1), k - 1, axis=1)[:, :k]
    return nearest.max(axis=1)


def _squared_distances(a: Features, b: Features, block_size: int, rounding: int) -> Iterator[Block]:
    """Squared distances between points, in blocks of `block_size` points of each set.

    |x|^2 + |y|^2 - 2 x.y cancels if x is close to y. The error is at most (D + 4) eps (|x|^2 + |y|^2): for 4096
    features, 1e-12 of the norms in float64, which is used here, and 5e-4 in float32. Radii are rounded up and distances
    down by this bound, so that points on a surface, such as duplicates, count as inside.

    Args:
        a, b: float [M, D] and [N, D].
        block_size: points of each set per block.
        rounding: 1 for upper bounds of the exact distances, -1 for lower bounds.

    Yields:
        Slice of a, slice of b, and float64 [points of a, points of b].
    """
    scale = 1 + rounding * (a.shape[1] + 4) * np.finfo(np.float64).eps
    for a_start in range(0, len(a), block_size):
        x = a[a_start : a_start + block_size].astype(np.float64)
        for b_start in range(0, len(b), block_size):
            y = b[b_start : b_start + block_size].astype(np.float64)
            squares = x @ y.T
            squares *= -2
            squares += scale * _squared_norms(x)[:, None]
            squares += scale * _squared_norms(y)
            yield slice(a_start, a_start + len(x)), slice(b_start, b_start + len(y)), squares


def _squared_norms(x: Array) -> Array:
    return np.einsum("nd,nd->n", x, x)
