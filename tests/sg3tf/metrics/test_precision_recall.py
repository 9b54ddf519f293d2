"""Precision and recall, density and coverage: against all distances, and where they are plain to see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sg3tf.metrics.precision_recall import density_coverage, precision_recall

Array = np.ndarray[Any, Any]


def distances(a: Array, b: Array) -> Array:
    """By differences, in float64."""
    return np.sqrt([np.sum((x - b.astype(np.float64)) ** 2, axis=1) for x in a.astype(np.float64)])


def radii(x: Array, k: int) -> Array:
    return np.sort(distances(x, x), axis=1)[:, k]  # the nearest is the point itself


def by_all_distances(real: Array, fake: Array, k: int) -> Array:
    """Precision, recall, density, coverage."""
    between = distances(real, fake)
    inside, around = between <= radii(real, k)[:, None], between <= radii(fake, k)
    return np.array(
        [
            inside.any(axis=0).mean(),
            around.any(axis=1).mean(),
            inside.sum() / (k * len(fake)),
            inside.any(axis=1).mean(),
        ]
    )


def all_values(real: Array, fake: Array, k: int, **options: Any) -> Array:
    return np.array(precision_recall(real, fake, k, **options) + density_coverage(real, fake, k, **options))


@pytest.mark.parametrize("block_size", [1, 7, 40, 2048])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_random_points(k: int, block_size: int):
    rng = np.random.default_rng(0)
    real = rng.standard_normal([60, 4], np.float32)
    fake = 0.5 + rng.standard_normal([47, 4], np.float32)
    expected = by_all_distances(real, fake, k)
    assert np.all((expected > 0.1) & (expected < 0.99)), "shows nothing"
    np.testing.assert_allclose(all_values(real, fake, k, block_size=block_size), expected, rtol=1e-12)


@pytest.mark.parametrize("block_size", [5, 2048])
def test_ties_are_inside(block_size: int):
    """On a grid most balls have points on their surface, and points lie on each other; whole numbers have no error."""
    rng = np.random.default_rng(1)
    real, fake = rng.integers(0, 4, [50, 3]), rng.integers(1, 6, [40, 3])
    expected = by_all_distances(real, fake, 3)
    assert np.sum(distances(real, fake) == radii(real, 3)[:, None]) > 50
    np.testing.assert_allclose(
        all_values(real.astype(np.float32), fake.astype(np.float32), 3, block_size=block_size), expected
    )


def test_ties_are_inside_where_squares_are_rounded():
    """Pairs of points 2999 apart, and a fake one 2999 from the first.

    Squared norms are near 2^55, where float64 has multiples of 8. What passes as a tie is within 1e5 of 2999^2.
    """
    first = np.random.default_rng(7).integers(-(2**23), 2**23, [30, 2000]).astype(np.float64)
    step = np.eye(2000)[0]
    real, tied, outside = np.concatenate([first, first + 2999 * step]), first - 2999 * step, first - 3100 * step
    assert precision_recall(real, tied, k=1)[0] == precision_recall(tied, real, k=1)[1] == 1
    assert density_coverage(real, tied, k=1) == (1, 0.5)
    assert precision_recall(real, outside, k=1)[0] == density_coverage(real, outside, k=1)[0] == 0


@pytest.mark.parametrize("offset", [0, 100])
def test_duplicates(offset: float):
    """Balls of radius 0 contain their center: k others lie there too, and a fake one of each.

    In floating point, |x|^2 + |y|^2 - 2 x.y is not 0 for x = y in all places of a product of matrices.
    """
    rng = np.random.default_rng(2)
    centers = offset + rng.standard_normal([37, 1001], np.float32)
    real = rng.permutation(np.repeat(centers, 4, axis=0))
    precision, recall = precision_recall(real, np.concatenate([centers] * 4 + [centers + 0.01]), k=3)
    assert precision == 0.8 and recall == 1
    density, coverage = density_coverage(real, centers, k=3)
    assert density == pytest.approx(4 / 3) and coverage == 1
    assert density_coverage(real, centers + 0.01, k=3) == (0, 0)
    assert precision_recall(np.zeros([9, 2]), np.zeros([5, 2])) == (1, 1)


def test_near_points_far_away():
    """4096 features of 10 +- 0.01, as neighbors a thousandth of their length apart: float32 would guess."""
    rng = np.random.default_rng(3)
    real, fake = (10 + 0.01 * rng.standard_normal([n, 3]) @ rng.standard_normal([3, 4096]) for n in (50, 45))
    real, fake = real.astype(np.float32), fake.astype(np.float32)
    np.testing.assert_allclose(all_values(real, fake, 3), by_all_distances(real, fake, 3), rtol=1e-12)


def test_line():
    """Real points 0, 1, ..., 9, k = 2: balls reach 1 inside, and 2 at either end."""
    real = np.arange(10.0)[:, None]
    fake = np.array([[-2.0], [-2.1], [4.5], [6.0], [100.0]])
    density, coverage = density_coverage(real, fake, k=2)
    assert density == pytest.approx((1 + 0 + 2 + 3 + 0) / (2 * len(fake)))
    assert coverage == 0.5  # balls of 0, 4, 5, 6 and 7
    assert precision_recall(real, fake, k=2)[0] == pytest.approx(3 / 5)


def test_recall_is_precision_the_other_way():
    rng = np.random.default_rng(4)
    real, fake = rng.standard_normal([60, 4]), 2 * rng.standard_normal([50, 4])
    precision, recall = precision_recall(real, fake)
    assert precision_recall(fake, real) == (recall, precision) and precision < recall - 0.1


def test_apart_and_alike():
    points = np.random.default_rng(5).standard_normal([50, 4])
    assert precision_recall(points, points + 100) == density_coverage(points, points + 100) == (0, 0)
    assert precision_recall(points, points) == (1, 1)
    density, coverage = density_coverage(points, points, k=5)
    assert density == pytest.approx(6 / 5) and coverage == 1  # each ball holds its center and five more


@pytest.mark.parametrize(("m", "n", "k"), [(60, 60, 5), (40, 90, 2)])
def test_expectations_for_one_distribution(m: int, n: int, k: int):
    """A ball holds a fake point with probability k / m, and none of n with that of the k nearest being real."""
    rng = np.random.default_rng(6)
    values = np.array([density_coverage(*(rng.standard_normal([c, 2]) for c in (m, n)), k=k) for _ in range(400)])
    i = np.arange(1, k + 1)
    expected = np.array([1, 1 - np.prod((m - i) / (m + n - i))])
    error = values.std(axis=0) / np.sqrt(len(values))
    assert np.all(error < 0.006)
    assert np.all(np.abs(values.mean(axis=0) - expected) < 4 * error)


@pytest.mark.parametrize("k", [0, 5, 9])
def test_k_refused(k: int):
    five, ten = np.zeros([5, 2]), np.zeros([10, 2])
    message = f"k={k}: must be at least 1 and less than"
    with pytest.raises(ValueError, match=f"{message} 5, the number of real"):
        density_coverage(five, ten, k)
    with pytest.raises(ValueError, match=f"{message} 5, the number of fake" if k else message):
        precision_recall(ten, five, k)
    if k:
        assert density_coverage(ten, five, k) == (10 / k, 1)  # of fake points, none needs neighbors


def test_points_refused():
    with pytest.raises(ValueError, match=r"fake of shape \[5, 3\]: give \[N, 2\]"):
        precision_recall(np.zeros([5, 2]), np.zeros([5, 3]))
    with pytest.raises(ValueError, match="fake has no points"):
        density_coverage(np.zeros([9, 2]), np.zeros([0, 2]))
    for function in (precision_recall, density_coverage):
        with pytest.raises(FloatingPointError, match=r"fake: 1 of 9 rows are not finite \(8\)"):
            function(np.zeros([9, 1]), np.array([[0.0]] * 8 + [[np.nan]]))
