"""Inputs of metrics: functions of seed and position alone, with the numbers that cached results were computed with."""

from __future__ import annotations

import numpy as np
import pytest

from sg3tf.metrics import samples
from sg3tf.metrics.samples import (
    ArrayImages,
    Samples,
    comparison_rng,
    labels_from_data,
    padded_batches,
    uniform_classes,
)
from tests.helpers.metric_stubs import Data, FiftyLabels, digest


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


def test_samples_differ_by_seed_and_position_only():
    z = Samples(3, z_dim=500, seed=0, labels=None).latents(np.arange(3))
    assert z.shape == (3, 500) and z.dtype == np.float32
    assert abs(z.mean()) < 0.1 and abs(z.std() - 1) < 0.1  # four standard errors
    np.testing.assert_array_equal(Samples(9, 500, 0, None).latents(np.array([2, 0])), z[[2, 0]])
    other = Samples(3, 500, 1, None).latents(np.arange(3))
    correlation = np.corrcoef(np.concatenate([z, other])) - np.eye(6)
    assert np.max(np.abs(correlation)) < 0.2


def test_uniform_classes():
    labels = uniform_classes(3, seed=2)
    drawn = np.stack([labels(i) for i in range(300)])
    assert drawn.dtype == np.float32 and set(np.unique(drawn)) == {0, 1} and np.all(drawn.sum(axis=1) == 1)
    assert np.all(np.abs(drawn.sum(axis=0) - 100) < 33)  # four standard deviations
    np.testing.assert_array_equal(labels(7), drawn[7])


def test_a_label_of_one_number_is_no_class():
    with pytest.raises(ValueError, match="label_dim=1: the label is one number, of which no classes can be drawn; use"):
        uniform_classes(1, seed=0)


def test_labels_from_data_are_as_frequent_as_there():
    labels = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]
    drawn = labels_from_data(Data(np.zeros([4, 3], np.uint8), labels), seed=1)
    counts = sum(drawn(i) for i in range(400))
    assert np.all(np.abs(counts - [300, 100, 0]) < 36)  # four standard deviations
    np.testing.assert_array_equal(drawn(7), drawn(7))
    others = labels_from_data(Data(np.zeros([4, 3], np.uint8), labels), seed=2)
    assert any((drawn(i) != others(i)).any() for i in range(20))
    assert drawn.origin == others.origin and "sha256:" in drawn.origin


def test_streams_differ():
    one = Samples(4, 3, 5, None)
    assert len({int(comparison_rng(5).integers(2**62)), int(one.params_rng(0).integers(2**62))}) == 2
    assert comparison_rng(5).integers(2**62) == comparison_rng(5).integers(2**62) != comparison_rng(6).integers(2**62)


def test_padded_batches():
    batches = [(start, stop, index.tolist()) for start, stop, index in padded_batches(3, 10, 4)]
    assert batches == [(3, 7, [3, 4, 5, 6]), (7, 10, [7, 8, 9, 9])]
    assert not list(padded_batches(5, 5, 4))


def test_array_images():
    images, labels = np.arange(5 * 8 * 8 * 3, dtype=np.uint8).reshape([5, 8, 8, 3]), np.eye(5)
    data = ArrayImages(images, labels)
    assert (len(data), data.resolution, data.channels, data.label_dim) == (5, 8, 3, 5)
    np.testing.assert_array_equal(data[2][0], images[2])
    np.testing.assert_array_equal(data[2][1], data.label(2))
    assert data.label(2).tolist() == labels[2].tolist() and data.label(2).dtype == np.float32
    assert ArrayImages(images).label_dim == 0 and ArrayImages(images)[0][1].shape == (0,)


def test_array_images_of_other_content_have_other_digests():
    images = np.zeros([4, 8, 8, 3], np.uint8)
    others = [ArrayImages(images + 1), ArrayImages(images[:2]), ArrayImages(images, np.ones([4, 1]))]
    others += [ArrayImages(images.reshape([12, 8, 8, 1]))]
    digests = {data.digest for data in [ArrayImages(images), ArrayImages(images.copy()), *others]}
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros([4, 8, 8, 3]), None, r"images: float64 \[4, 8, 8, 3\]; give uint8"),
        (np.zeros([8, 8, 3], np.uint8), None, "images: uint8"),
        (np.zeros([4, 8, 8, 3], np.uint8), np.zeros(4), r"labels of shape \[4\]: give \[4, label_dim\]"),
        (np.zeros([4, 8, 8, 3], np.uint8), np.zeros([3, 2]), r"labels of shape \[3, 2\]: give \[4, label_dim\]"),
    ],
)
def test_array_images_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ArrayImages(images, labels)
