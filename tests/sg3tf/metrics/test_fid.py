"""The distance between normal distributions, where it is known otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from sg3tf.metrics.feature_stats import Moments
from sg3tf.metrics.fid import frechet_distance

EPS = np.finfo(np.float64).eps


def gaussian(mean: np.ndarray | list[float], covariance: np.ndarray) -> Moments:
    return Moments.from_arrays({"count": np.array(2), "mean": np.asarray(mean), "squares": covariance})


def covariance(dim: int, seed: int) -> np.ndarray:
    """Positive definite, of eigenvalues from about 0.1."""
    x = np.random.default_rng(seed).standard_normal([dim, dim])
    return x @ x.T / dim + 0.1 * np.eye(dim)


def samples(count: int, dim: int, seed: int) -> tuple[Moments, np.ndarray]:
    """Moments, and deviations over sqrt(count - 1), whose squares are the covariance."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal([count, dim]) @ rng.standard_normal([dim, dim])
    moments = Moments(dim)
    moments.add(x)
    return moments, (x - x.mean(axis=0)) / np.sqrt(count - 1)


@pytest.mark.parametrize("means", [(0.0, 0.0), (1.0, -2.0), (1e3, 1e3 + 1)])
@pytest.mark.parametrize("deviations", [(1.0, 3.0), (0.0, 2.0), (0.0, 0.0), (0.5, 0.5)])
def test_one_dimension(means: tuple[float, float], deviations: tuple[float, float]):
    a, b = (gaussian([m], np.array([[s**2]])) for m, s in zip(means, deviations, strict=True))
    expected = np.subtract(*means) ** 2 + np.subtract(*deviations) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, abs=100 * EPS)


def test_commuting():
    """The same axes: one distance for each."""
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.standard_normal([20, 20]))
    variances = rng.uniform(0, 4, [2, 20])
    means = rng.standard_normal([2, 20])
    a, b = (gaussian(m, axes * v @ axes.T) for m, v in zip(means, variances, strict=True))
    expected = np.sum(np.diff(means, axis=0) ** 2) + np.sum(np.diff(np.sqrt(variances), axis=0) ** 2)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("angle", [0.3, np.pi / 4, np.pi / 2])
def test_two_dimensions(angle: float):
    """The root of a 2 x 2 matrix has the trace sqrt(trace + 2 sqrt(determinant))."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    C1, C2 = np.diag([9.0, 0.25]), turn @ np.diag([4.0, 1.0]) @ turn.T
    root = np.sqrt(np.trace(C1 @ C2) + 2 * np.sqrt(np.linalg.det(C1 @ C2)))
    expected = 1 + np.trace(C1) + np.trace(C2) - 2 * root
    assert frechet_distance(gaussian([0, 0], C1), gaussian([0, 1], C2)) == pytest.approx(expected, rel=1e-13)


def test_matrix_root():
    C1, C2 = covariance(60, 1), covariance(60, 2)
    expected = np.trace(C1) + np.trace(C2) - 2 * np.trace(scipy.linalg.sqrtm(C1 @ C2).real)
    actual = frechet_distance(gaussian(np.zeros(60), C1), gaussian(np.zeros(60), C2))
    assert actual == pytest.approx(expected, abs=100 * 60 * EPS * np.trace(C1))


@pytest.mark.parametrize(("counts", "dim"), [((10, 200), 40), ((200, 10), 40), ((10, 15), 40)])
def test_singular(counts: tuple[int, int], dim: int):
    """With X^T X and Y^T Y as covariances, the trace is the sum of the singular values of X Y^T, of full rank.

    An eigenvalue of zero comes out as some EPS times the largest, and its root adds to the trace.
    """
    (a, x), (b, y) = (samples(count, dim, seed) for seed, count in enumerate(counts))
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    shift = a.mean - b.mean
    expected = shift @ shift + np.sum(x**2) + np.sum(y**2) - 2 * root
    largest = np.linalg.norm(x, 2) * np.linalg.norm(y, 2)
    tolerance = 2 * dim * np.sqrt(dim * EPS) * largest
    assert tolerance < 1e-5 * expected
    assert frechet_distance(a, b) == pytest.approx(expected, abs=tolerance)
    assert frechet_distance(b, a) == pytest.approx(expected, abs=tolerance)


def test_nothing_in_common():
    """Variances along different axes: the distance is their sum."""
    C1, C2 = np.diag([1.0, 2.0, 0, 0]), np.diag([0, 0, 3.0, 4.0])
    assert frechet_distance(gaussian(np.zeros(4), C1), gaussian(np.zeros(4), C2)) == pytest.approx(10, abs=1e-12)


def test_same_is_zero_and_not_below():
    for seed in range(5):
        same, _ = samples(100, 30, seed)
        assert 0 <= frechet_distance(same, same) < 1e-9


def test_units():
    """Features in other units: the distance in their square."""
    (a, _), (b, _) = samples(90, 20, 0), samples(90, 20, 1)
    scaled = [gaussian(3 * m.mean, 9 * m.covariance) for m in (a, b)]
    assert frechet_distance(*scaled) == pytest.approx(9 * frechet_distance(a, b), rel=1e-10)


def test_bound_of_the_divisor():
    """The bound in Moments.covariance holds, and is not far off."""
    (a, x), (b, y) = samples(300, 20, 0), samples(200, 20, 1)
    by_count = [gaussian(m.mean, m.covariance * (m.count - 1) / m.count) for m in (a, b)]
    value = frechet_distance(a, b)
    bound = value / 200 + (1 / 200 - 1 / 300) / 2 * np.sqrt(value) * (np.linalg.norm(x) + np.linalg.norm(y))
    change = abs(frechet_distance(*by_count) - value)
    assert 0.01 * bound < change < bound


def test_refused():
    with pytest.raises(ValueError, match="fake of 3 features: give 2, as real has"):
        frechet_distance(gaussian([0, 0], np.eye(2)), gaussian([0, 0, 0], np.eye(3)))
    with pytest.raises(ValueError, match="count=0"):
        frechet_distance(gaussian([0, 0], np.eye(2)), Moments(2))
