"""Streamed moments against those of all features at once."""

from __future__ import annotations

import numpy as np
import pytest

from sg3tf.metrics.feature_stats import Moments

EPS = np.finfo(np.float64).eps


def features(count: int, dim: int, seed: int = 0) -> np.ndarray:
    """Correlated, with means of ten standard deviations."""
    rng = np.random.default_rng(seed)
    return (10 + rng.standard_normal([count, dim]) @ rng.standard_normal([dim, dim])).astype(np.float32)


def moments(*blocks: np.ndarray) -> Moments:
    result = Moments(blocks[0].shape[1])
    for block in blocks:
        result.add(block)
    return result


def check(actual: Moments, x: np.ndarray, blocks: int) -> None:
    """Every block moves the mean and adds to every square: two roundings each beside those of the sums over rows."""
    x = x.astype(np.float64)
    tolerance = (len(x) + 4 * blocks) * EPS
    assert actual.count == len(x) and actual.mean.dtype == actual.covariance.dtype == np.float64
    np.testing.assert_allclose(actual.mean, x.mean(axis=0), rtol=0, atol=tolerance * np.abs(x).max())
    magnitude = np.abs(x - x.mean(axis=0)).max() ** 2
    np.testing.assert_allclose(actual.covariance, np.cov(x, rowvar=False), rtol=0, atol=2 * tolerance * magnitude)
    np.testing.assert_array_equal(actual.covariance, actual.covariance.T)


@pytest.mark.parametrize("cuts", [[], [1], [1, 2, 3], [40, 40, 47], list(range(1, 60))])
def test_blocks_of_any_size(cuts: list[int]):
    x = features(60, 5)
    check(moments(*np.split(x, cuts)), x, len(cuts) + 1)


def test_large_mean():
    """Deviations of 1e-6 of the mean: a sum of squares less the square of the sum keeps no digit of their product."""
    x = 1e6 + np.random.default_rng(0).standard_normal([5000, 3])
    exact = np.cov((x - 1e6), rowvar=False)  # the subtraction is exact
    actual = moments(*np.split(x, 50)).covariance
    # Means of blocks are off by half a digit of 1e6 and more; errors of a mean count squared, and between blocks once.
    np.testing.assert_allclose(actual, exact, rtol=0, atol=100 * 1e6 * EPS)


def test_saved_moments_resume():
    x = features(50, 4)
    first = moments(x[:20])
    saved = first.arrays()
    first.add(x[20:])
    restored = Moments.from_arrays(saved)
    restored.add(x[20:])
    for name, value in first.arrays().items():
        np.testing.assert_array_equal(restored.arrays()[name], value)
    again = moments(x[:20]).arrays()
    assert all(np.array_equal(saved[name], again[name]) for name in again), "changed since"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(value: float):
    x = features(20, 4)
    m = moments(x)
    bad = x.copy()
    bad[[3, 7], [0, 3]] = value
    with pytest.raises(FloatingPointError, match=r"features: 2 of 20 rows are not finite \(3, 7\)"):
        m.add(bad)
    check(m, x, 1)
    with pytest.raises(FloatingPointError, match=r"\(0, 1, 2, 3, 4, \.\.\.\)"):
        m.add(np.full([20, 4], value, np.float32))


def test_refused():
    with pytest.raises(ValueError, match=r"features of shape \[3, 5\]: give \[N, 4\]"):
        Moments(4).add(np.zeros([3, 5]))
    for count in (0, 1):
        with pytest.raises(ValueError, match=f"count={count}: .* at least 2"):
            _ = moments(np.zeros([count, 4])).covariance
