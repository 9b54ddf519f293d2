"""Principal components of samples whose components are known."""

from __future__ import annotations

import numpy as np
import pytest

from sg3tf.editing.ganspace import ganspace_directions

DIM, COUNT = 6, 20_000


def test_components_of_a_gaussian():
    """Two neighboring variances l and l/2 turn by about sqrt(l * l/2) / (l/2) / sqrt(N) = 0.01; 5 of those."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal([DIM, DIM]))[0]  # columns
    variances = 0.5 ** np.arange(DIM)
    w = 7.0 + rng.standard_normal([COUNT, DIM]) * np.sqrt(variances) @ axes.T
    found = ganspace_directions(w, 3)
    assert found.shape == (3, DIM)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)
    cosine = np.sum(found * axes.T[:3], axis=1)
    assert np.all(np.sqrt(1 - np.minimum(cosine**2, 1)) < 5 * 2**0.5 / COUNT**0.5 * 2)
    assert np.all(np.take_along_axis(found, np.abs(found).argmax(1)[:, None], 1) > 0)


def test_against_the_svd_of_the_samples():
    w = np.random.default_rng(1).standard_normal([50, DIM]) * np.arange(1, DIM + 1)
    expected = np.linalg.svd(w - w.mean(0))[2]
    np.testing.assert_allclose(np.abs(ganspace_directions(w, DIM)), np.abs(expected), atol=1e-10)


def test_too_many():
    with pytest.raises(ValueError, match="count=7: must be from 1 to 6"):
        ganspace_directions(np.eye(6), 7)
