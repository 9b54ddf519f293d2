"""Inputs of metrics: functions of seed and position alone, with the numbers that cached results were computed with."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from sg3tf.metrics import samples


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


class FiftyLabels:
    """Data set of 50 images in three classes."""

    label_dim, digest, part = 3, "d", "all"

    def __len__(self):
        return 50

    def label(self, i):
        return np.eye(3, dtype=np.float32)[i % 3]


@pytest.fixture
def of_classes():
    return samples.Samples(10, 5, 7, samples.uniform_classes(4, 7))


def test_numbers_are_the_recorded_ones(of_classes):
    """Recorded before the streams were enumerated in sg3tf.utils.rng."""
    index = np.arange(2, 4)
    assert digest(of_classes.latents(index)) == "29a0d0301c935a67"
    assert digest(of_classes.label(index)) == "2a228be734fcc0ed"
    assert digest(of_classes.noise_seeds(index)) == "9d64881da19e63b8"
    assert digest(of_classes.params_rng(3).random(2)) == "9d092a61e14fde5d"
    assert digest(samples.comparison_rng(7).random(2)) == "e8e926bdab65e1f8"
    labels = samples.labels_from_data(FiftyLabels(), 7)
    assert digest(np.stack([labels(position) for position in range(6)])) == "7552f1eb2440baa0"


def test_samples_do_not_depend_on_those_before(of_classes):
    both, alone = of_classes.latents(np.array([5, 6])), of_classes.latents(np.array([6]))
    np.testing.assert_array_equal(both[1:], alone)
