"""Inputs of a step: dataclasses of tensors, batches from any point of a run, plain iterators."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sampler import ShuffledOrder, batches
from tests.helpers import tiny_run
from trainer.augment import INTERVAL
from trainer.inputs import BatchIterator, FakeInputs, InputPipeline, Latents, View

# --- Dataclasses ------------------------------------------------------------------------------------------------------


def test_fields_that_are_none_are_no_tensors():
    inputs = FakeInputs(Latents(np.zeros([4, 2]), np.zeros([4, 0]), noise=np.ones([4, 2])), View())
    assert [array.shape for array in tf.nest.flatten(inputs)] == [(4, 2), (4, 0), (4, 2)]
    half = tf.nest.map_structure(lambda array: array[:2], inputs)
    assert isinstance(half, FakeInputs) and half.latents.noise.shape == (2, 2)
    assert half.latents.mix_z is None and half.view == View()


def test_functions_take_them_and_are_traced_once():
    traces = []

    @tf.function
    def total(inputs):
        traces.append(inputs)
        return tf.reduce_sum(inputs.latents.z)

    for value in (1.0, 2.0):
        latents = Latents(tf.fill([2, 3], value), tf.zeros([2, 0]))
        assert float(total(FakeInputs(latents, View(blur_sigma=tf.zeros([2]))))) == 6 * value
    assert len(traces) == 1 and isinstance(traces[0], FakeInputs)


# --- Batches of a data set --------------------------------------------------------------------------------------------


@pytest.fixture
def options(faces):
    return dataclasses.replace(tiny_run.options(faces, cond=True, workers=1), validation=16)


@pytest.fixture
def parts(faces):
    return open_dataset(faces, use_labels=True).split(16)


def fed_steps(options, parts, first, count):
    pipeline = InputPipeline(options, *parts, step=first, cur_nimg=first * options.batch)
    fed = [pipeline.next() for _ in range(count)]
    pipeline.close()
    assert pipeline.pop_stall_seconds() > 0 == pipeline.pop_stall_seconds()
    return fed


def test_images_are_those_of_the_stream(options, parts):
    expected = batches(parts[0], 8, seed=options.seed)
    for (images, labels), _ in fed_steps(options, parts, 0, 9):
        expected_images, expected_labels = next(expected)
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(labels, expected_labels)


@pytest.mark.parametrize("version", [1, 2])
def test_the_order_has_the_version_of_the_run(options, version):
    """Versions differ from 1,025 images on."""

    class Counter:
        resolution, channels, label_dim = 4, 1, 0

        def __len__(self):
            return 1100

        def __getitem__(self, i):
            return np.full([4, 4, 1], i % 251, np.uint8), np.zeros(0, np.float32)

    pipeline = InputPipeline(dataclasses.replace(options, data_order=version), Counter(), None, step=0, cur_nimg=0)
    (images, _), _ = pipeline.next()
    pipeline.close()
    order = ShuffledOrder(1100, options.seed, mirror=False, version=version)
    assert images[:, 0, 0, 0].tolist() == [order.at(i)[0] % 251 for i in range(options.batch)]


def test_held_out_images_come_as_often_as_augmentation_adapts(options, parts):
    fed = fed_steps(options, parts, 0, 9)
    assert [step for step, (_, held_out) in enumerate(fed) if held_out is not None] == [0, INTERVAL, 2 * INTERVAL]
    rows = {image.tobytes() for step in (0, INTERVAL) for image in fed[step][1][0]}
    assert rows == {parts[1][i][0].tobytes() for i in range(16)}  # an epoch of them


@pytest.mark.parametrize("first", [1, 3, 4, 5, 8])
def test_any_point_continues_as_if_from_the_start(options, parts, first):
    straight = fed_steps(options, parts, 0, 13)[first:]
    for one, other in zip(straight, fed_steps(options, parts, first, 13 - first), strict=True):
        np.testing.assert_array_equal(one[0][0], other[0][0])
        assert (one[1] is None) == (other[1] is None)
        if one[1] is not None:
            np.testing.assert_array_equal(one[1][0], other[1][0])


# --- Batches of an iterator -------------------------------------------------------------------------------------------

SHAPE = (2, 4, 4, 3)


def numbered(count, label_dim=3):
    """Batches with images of their own number, and labels likewise."""
    for number in range(count):
        yield np.full(SHAPE, number, np.uint8), np.full([2, label_dim], number, np.float32)


def test_an_iterator_feeds_its_batches_in_order(options):
    data = BatchIterator(numbered(4), SHAPE, 3)
    assert len(data) == 2 and data.label_dim == 3
    assert data[1][0].shape == (4, 4, 3) and data.label(0).tolist() == [0, 0, 0]  # before the first step
    pipeline = InputPipeline(options, data, None, step=0, cur_nimg=0)
    for number in range(4):
        (images, labels), held_out = pipeline.next()
        assert images.dtype == np.uint8 and images.max() == images.min() == labels.max() == number and held_out is None
        assert data.label(1).tolist() == 3 * [number]  # generated images are given these
    with pytest.raises(DataError, match=r"ended after 4: repeat it"):
        pipeline.next()
    pipeline.close()


def test_tensors_and_batches_without_labels_are_taken():
    tensors = tf.data.Dataset.from_generator(
        lambda: numbered(2), output_signature=(tf.TensorSpec(SHAPE, tf.uint8), tf.TensorSpec([2, 3], tf.float32))
    )
    data = BatchIterator(tensors, SHAPE, 3)
    assert [(type(images), int(images.max()), int(labels.max())) for images, labels in (next(data), next(data))] == [
        (np.ndarray, 0, 0),
        (np.ndarray, 1, 1),
    ]
    alone = BatchIterator(iter([np.zeros(SHAPE, np.uint8)]), SHAPE, 0)
    images, labels = next(alone)
    assert isinstance(images, np.ndarray) and labels.shape == (2, 0)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ((np.zeros(SHAPE, np.float32), np.zeros([2, 3])), r"images float32 \[2, 4, 4, 3\].*yield images uint8"),
        ((np.zeros((2, 8, 4, 3), np.uint8), np.zeros([2, 3])), r"images uint8 \[2, 8, 4, 3\]"),
        ((np.zeros(SHAPE, np.uint8), np.zeros([2, 4])), r"labels \[2, 4\]; yield .* labels \[2, 3\]"),
        (np.zeros(SHAPE, np.uint8), r"labels \[2, 0\]"),
    ],
)
def test_other_batches_are_refused(batch, words):
    with pytest.raises(DataError, match=words):
        BatchIterator([batch], SHAPE, 3)
