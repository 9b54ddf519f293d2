"""batches: one endless stream, the same from any start, with any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.data import DataError, Dataset, batches, open_dataset

MakeSet = Callable[..., Path]
NUM_IMAGES = 7


@pytest.fixture
def dataset(ffhq_set: MakeSet) -> Dataset:
    return open_dataset(ffhq_set(NUM_IMAGES, labels=list(range(NUM_IMAGES))), use_labels=True)


def take(stream: Iterator[tuple[np.ndarray, np.ndarray]], count: int) -> tuple[np.ndarray, ...]:
    """The first `count` images and labels, batches joined."""
    images, labels = zip(*islice(stream, count), strict=True)
    return np.concatenate(images), np.concatenate(labels)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    batch=st.integers(1, 10),
    start=st.integers(0, 40),
    workers=st.integers(1, 4),
    prefetch=st.integers(1, 5),
    mirror=st.booleans(),
)
def test_a_resumed_stream_is_the_rest_of_the_whole(
    dataset: Dataset, batch: int, start: int, workers: int, prefetch: int, mirror: bool
) -> None:
    whole = take(batches(dataset, 1, seed=3, mirror=mirror, workers=1), start + 2 * batch)
    stream = batches(
        dataset,
        batch,
        seed=3,
        start_nimg=start,
        mirror=mirror,
        workers=workers,
        prefetch=prefetch,
    )
    rest = take(stream, 2)
    for all_of_it, tail in zip(whole, rest, strict=True):
        np.testing.assert_array_equal(all_of_it[start:], tail)


def test_every_epoch_is_another_permutation(dataset: Dataset) -> None:
    _, labels = take(batches(dataset, NUM_IMAGES, seed=0), 6)
    epochs = labels.argmax(1).reshape(6, NUM_IMAGES)
    assert (np.sort(epochs) == np.arange(NUM_IMAGES)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_the_order_is_the_same_for_ever(dataset: Dataset) -> None:
    _, labels = take(batches(dataset, NUM_IMAGES, seed=1), 2)
    words = [np.random.Philox(counter=[0, 0, 0, e], key=[1, 0]).random_raw(7) for e in (0, 1)]
    assert labels.argmax(1).tolist() == [i for w in words for i in sorted(range(7), key=w.item)]


def test_another_seed_is_another_stream(dataset: Dataset) -> None:
    one, other = (take(batches(dataset, 14, seed=seed), 1)[0] for seed in (0, 1))
    assert (one != other).any()


def test_mirror_flips_about_half_left_to_right(dataset: Dataset) -> None:
    plain, labels = take(batches(dataset, 50, seed=0), 4)
    mirrored, same_labels = take(batches(dataset, 50, seed=0, mirror=True), 4)
    np.testing.assert_array_equal(labels, same_labels)
    flipped = (mirrored == plain[:, :, ::-1]).all((1, 2, 3))
    kept = (mirrored == plain).all((1, 2, 3))
    assert (flipped ^ kept).all()
    assert 60 < flipped.sum() < 140


def test_types_and_shapes(dataset: Dataset) -> None:
    images, labels = next(batches(dataset, 5, seed=0))
    assert images.shape == (5, 8, 8, 3)
    assert images.dtype == np.uint8
    assert labels.shape == (5, NUM_IMAGES)
    assert labels.dtype == np.float32


def test_a_corrupt_record_reaches_the_consumer_with_its_name(ffhq_set: MakeSet) -> None:
    path = ffhq_set(NUM_IMAGES) / "faces-r03.tfrecords"
    content = bytearray(path.read_bytes())
    content[len(content) * 5 // 14] ^= 1  # in the middle of record 2
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"faces-r03\.tfrecords: record 2 is corrupt"):
        take(batches(open_dataset(path), 4, seed=0), 9)


def test_any_other_error_names_the_record_too(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Dataset, i: int) -> tuple[np.ndarray, np.ndarray]:
        raise OSError("disk gone")

    monkeypatch.setattr(Dataset, "__getitem__", fail)
    with pytest.raises(DataError, match=r"r03\.tfrecords: record \d: disk gone"):
        next(batches(dataset, 1, seed=0))


def test_closing_ends_the_threads(dataset: Dataset) -> None:
    before = set(threading.enumerate())
    stream = batches(dataset, 4, seed=0)
    next(stream)
    assert set(threading.enumerate()) > before
    del stream
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize(
    "wrong", [{"batch_size": 0}, {"seed": -1}, {"start_nimg": -1}, {"workers": 0}, {"prefetch": 0}]
)
def test_arguments_out_of_range_at_once(dataset: Dataset, wrong: dict[str, Any]) -> None:
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=f"{name} is -?\\d, it must be at least"):
        batches(dataset, **({"batch_size": 1, "seed": 0} | wrong))
