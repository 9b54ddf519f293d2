"""The kernel distance against its definition and known expectations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sg3tf.metrics.kid import kernel_distance


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def double_loop(x: np.ndarray, y: np.ndarray) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (sum(float(u) * float(v) for u, v in zip(a, b, strict=True)) / len(a) + 1) ** 3

    m, n = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    within_y = sum(k(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (m * n)


def test_definition():
    """Subsets of all vectors are the set itself, in any order."""
    x, y = rng(1).standard_normal([12, 5], np.float32), rng(2).uniform(size=[12, 5]).astype(np.float32)
    assert kernel_distance(x, y, rng(), num_subsets=3) == pytest.approx(double_loop(x, y), rel=1e-12)


def test_subsets_are_drawn_without_replacement_from_both_sides():
    """Their mean is that of all pairs, within the standard error that the subsets themselves show."""
    x, y = rng(1).standard_normal([30, 3]), rng(2).standard_normal([40, 3]) + 0.5
    values = [kernel_distance(x, y, rng(i), num_subsets=1, subset_size=8) for i in range(2000)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - double_loop(x, y)) < 4 * error < 0.2 * double_loop(x, y)
    # With replacement a vector would be its own neighbor: two different ones, but for this one, are far apart.
    x = np.array([[1.0], [-1.0]])
    assert kernel_distance(x, np.zeros([50, 1]), rng(), num_subsets=20) == pytest.approx(0 + 1 - 2)


def test_expectation():
    """In one dimension (x y + 1)^3 compares moments: 3 d1^2 + 3 d2^2 + d3^2 for differences d of the first three."""
    x, y = rng(1).uniform(0, 1, [200, 300, 1]), rng(2).uniform(0, 2, [200, 300, 1])
    expected = 3 * (1 / 2 - 1) ** 2 + 3 * (1 / 3 - 4 / 3) ** 2 + (1 / 4 - 2) ** 2
    values = [kernel_distance(*pair, rng(), num_subsets=1) for pair in zip(x, y, strict=True)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values) - expected) < 4 * error < 0.05 * expected


def test_unbiased():
    """One normal distribution for both: the mean is zero, and the variance what the kernel's covariance says.

    The kernel's features are sqrt(3) x, sqrt(3) x^2 and x^3, whose covariance has the squared norm
    3^2 + 6^2 + 15^2 + 2 * 27 = 324. Either set's own mean, of m (m - 1) / 2 pairs, has the variance
    2 * 324 / (m (m - 1)), and twice the mean of m^2 pairs between them 4 * 324 / m^2. A biased estimate would be at
    2 (3 + 6 + 15) / m.
    """
    m, count = 50, 2000
    values = [
        kernel_distance(*rng(i).standard_normal([2, m, 1]), rng(), num_subsets=1, subset_size=m) for i in range(count)
    ]
    variance = 324 * (4 / (m * (m - 1)) + 4 / m**2)
    assert abs(np.mean(values)) < 4 * np.sqrt(variance / count) < 0.1 * 48 / m
    assert np.var(values) == pytest.approx(variance, rel=0.5)  # fat tails: x^3 x^3


def test_seed_decides():
    x, y = rng(1).standard_normal([2, 50, 4])
    first = kernel_distance(x, y, rng(3), num_subsets=4, subset_size=20)
    assert kernel_distance(x, y, rng(3), num_subsets=4, subset_size=20) == first
    assert kernel_distance(x, y, rng(4), num_subsets=4, subset_size=20) != first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"real": np.zeros([1, 4])}, "subset_size=1000, 1 real and 5 fake images: give at least 2"),
        ({"subset_size": 1}, "subset_size=1,"),
        ({"num_subsets": 0}, "num_subsets=0"),
        ({"fake": np.zeros([5, 3])}, r"fake of shape \[5, 3\]: give \[N, 4\]"),
    ],
)
def test_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        kernel_distance(**{"real": np.zeros([5, 4]), "fake": np.zeros([5, 4]), "rng": rng(), **arguments})


@pytest.mark.parametrize("name", ["real", "fake"])
def test_not_finite(name: str):
    bad = {"real": np.zeros([5, 4]), "fake": np.zeros([5, 4])}
    bad[name][2, 0] = np.nan
    with pytest.raises(FloatingPointError, match=rf"{name}: 1 of 5 rows are not finite \(2\)"):
        kernel_distance(**bad, rng=rng())
