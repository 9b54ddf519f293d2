"""Permutation: every image once, and as random as a sorted list of random words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg3tf.data.permutation import ROUNDS, Permutation

stats = pytest.importorskip("scipy.stats", reason="the environment of Apache Beam has no SciPy")

# A right generator falls below this once in 100,000 choices of the seed, which is fixed.
LEAST_P = 1e-5


def keys(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, (count, ROUNDS), np.uint64)


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32))
def test_every_image_once_from_any_position(size: int, seed: int) -> None:
    permutation = Permutation(size, keys(1, seed)[0])
    images = permutation(np.arange(size))
    assert sorted(images.tolist()) == list(range(size))
    assert permutation(np.arange(size)[::-3]).tolist() == images[::-3].tolist()


@pytest.mark.parametrize("size", [2**31 + 11, 10**12, 2**53])
def test_images_beyond_32_bits_are_within_the_size_and_spread_over_it(size: int) -> None:
    images = Permutation(size, keys(1)[0])(np.arange(size - 4000, size))
    assert len(np.unique(images)) == 4000 and images.min() >= 0 and images.max() < size
    assert stats.kstest(images / size, "uniform").pvalue > LEAST_P


@pytest.mark.parametrize("size", [100, 1000])
def test_places_and_neighbors_are_as_frequent(size: int) -> None:
    """Of an image over epochs, and the distance from each image to the next, where all but 0 are as likely."""
    epochs = np.stack([Permutation(size, row)(np.arange(size)) for row in keys(600)])
    for image in (0, size // 2, size - 1):
        places = np.nonzero(epochs == image)[1]
        assert stats.chisquare(np.bincount(places * 20 // size, minlength=20)).pvalue > LEAST_P
    steps = (np.diff(epochs) % size).ravel()
    assert stats.chisquare(np.bincount(steps, minlength=size)[1:]).pvalue > LEAST_P
    # Orders of other keys agree in one place on average, as independent ones do.
    others = np.stack([Permutation(size, row)(np.arange(size)) for row in keys(600, seed=1)])
    assert stats.poisson.sf(np.sum(epochs == others), 600) > LEAST_P
