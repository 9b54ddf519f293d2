"""Dataset.to_tf_data: batches for Keras."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sampler import batches, epoch_batches

tf = pytest.importorskip("tensorflow", reason="the environment of Apache Beam has no TensorFlow")

COUNT = 10


@pytest.fixture
def dataset(ffhq_set: Callable[..., Path]) -> Dataset:
    return open_dataset(ffhq_set(COUNT, labels=[i % 3 for i in range(COUNT)]), use_labels=True)


def arrays(batched: tf.data.Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(batched.as_numpy_iterator())


def assert_equal(found: list[tuple[np.ndarray, ...]], expected: list[tuple[np.ndarray, ...]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def indices(dataset: Dataset, found: list[tuple[np.ndarray, np.ndarray]]) -> list[int]:
    """Return the index of every image in the batches, mirrored or not."""
    known = {}
    for i in range(len(dataset)):
        known[dataset[i][0].tobytes()] = known[dataset[i][0][:, ::-1].tobytes()] = i
    return [known[image.tobytes()] for images, _ in found for image in images]


def test_shapes_and_types(dataset: Dataset) -> None:
    batched = dataset.to_tf_data(4)
    assert batched.element_spec == (tf.TensorSpec([None, 8, 8, 3], tf.uint8), tf.TensorSpec([None, 3], tf.float32))
    found = arrays(batched)
    assert [(images.shape, images.dtype, labels.shape, labels.dtype) for images, labels in found] == [
        ((rows, 8, 8, 3), np.uint8, (rows, 3), np.float32) for rows in (4, 4, 2)
    ]
    assert batched.cardinality() == len(found) == 3


def test_without_labels(dataset: Dataset) -> None:
    (images,) = islice(dataset.to_tf_data(4, labels=False), 1)
    np.testing.assert_array_equal(images, arrays(dataset.to_tf_data(4))[0][0])
    without = open_dataset(dataset.path).to_tf_data(4)
    assert without.element_spec[1].shape == [None, 0]


def test_labels_stay_with_their_images(dataset: Dataset) -> None:
    found = arrays(dataset.to_tf_data(3, mirror=True))
    labels = [row for _, rows in found for row in rows]
    for i, row in zip(indices(dataset, found), labels, strict=True):
        np.testing.assert_array_equal(row, dataset.label(i))


def test_equal_seeds_give_equal_batches(dataset: Dataset) -> None:
    first, again = (arrays(dataset.to_tf_data(4, seed=5, mirror=True)) for _ in range(2))
    assert_equal(first, again)
    other = arrays(dataset.to_tf_data(4, seed=6, mirror=True))
    assert indices(dataset, first) != indices(dataset, other)


def test_every_pass_is_another_permutation(dataset: Dataset) -> None:
    batched = dataset.to_tf_data(4, seed=1)
    orders = [indices(dataset, arrays(batched)) for _ in range(3)]
    assert all(sorted(order) == list(range(COUNT)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    again = dataset.to_tf_data(4, seed=1)
    assert [indices(dataset, arrays(again)) for _ in range(3)] == orders


def test_without_a_seed_the_order_is_that_of_the_data_set(dataset: Dataset) -> None:
    batched = dataset.to_tf_data(4, seed=None)
    for _ in range(2):
        assert indices(dataset, arrays(batched)) == list(range(COUNT))


def test_remainder_is_dropped(dataset: Dataset) -> None:
    batched = dataset.to_tf_data(4, drop_remainder=True)
    assert batched.element_spec[0].shape == [4, 8, 8, 3]
    assert batched.cardinality() == 2
    assert_equal(arrays(batched), arrays(dataset.to_tf_data(4))[:2])


def test_repeat_is_the_training_stream(dataset: Dataset) -> None:
    batched = dataset.to_tf_data(4, seed=3, mirror=True, repeat=True)
    assert batched.cardinality() == tf.data.INFINITE_CARDINALITY
    expected = list(islice(batches(dataset, 4, seed=3, mirror=True), 8))
    for _ in range(2):
        assert_equal(arrays(batched.take(8)), expected)


def test_epochs_are_those_of_the_training_stream(dataset: Dataset) -> None:
    stream = np.concatenate([images for images, _ in islice(batches(dataset, 5, seed=2, mirror=True), 4)])
    for epoch in range(2):
        images = np.concatenate([images for images, _ in epoch_batches(dataset, 4, epoch=epoch, seed=2, mirror=True)])
        np.testing.assert_array_equal(images, stream[epoch * COUNT : (epoch + 1) * COUNT])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0, it must be at least 1"),
        ({"batch_size": 4, "seed": -1}, "seed is -1, it must be at least 0"),
        ({"batch_size": 4, "workers": 0}, "workers is 0, it must be at least 1"),
        ({"batch_size": 4, "seed": None, "mirror": True}, "mirror is True without a seed"),
        ({"batch_size": 4, "seed": None, "repeat": True}, "repeat is True without a seed"),
    ],
)
def test_arguments_are_checked(dataset: Dataset, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataset.to_tf_data(**arguments)


def test_a_corrupt_record_is_named(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Dataset, i: int) -> None:
        raise DataError("faces-r03.tfrecords: record 7 is corrupt")

    batched = dataset.to_tf_data(4)
    monkeypatch.setattr(Dataset, "__getitem__", fail)
    with pytest.raises(tf.errors.OpError, match="record 7 is corrupt"):
        arrays(batched)


def test_keras_trains_on_it(dataset: Dataset) -> None:
    model = tf.keras.Sequential([tf.keras.layers.Flatten(), tf.keras.layers.Dense(3)])
    model.compile(loss="mse")
    model.fit(dataset.to_tf_data(4), epochs=2, verbose=0)
