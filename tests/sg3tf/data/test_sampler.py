"""batches: an endless stream, reproducible from any position, with any number of threads."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.labels import LabelSpec
from sg3tf.data.sampler import ORDERS, ShuffledOrder, batches

MakeSet = Callable[..., Path]
NUM_IMAGES = 7


@pytest.fixture
def dataset(ffhq_set: MakeSet) -> Dataset:
    return open_dataset(ffhq_set(NUM_IMAGES, labels=list(range(NUM_IMAGES))), use_labels=True)


class Counted:
    """Store whose image i is 1x1 and has the label [i]; counts how often each is read."""

    name, path, resolution, channels, digest = "counted", Path("counted"), 1, 1, "sha256:"
    label, classes, remarks = LabelSpec("vector", 1), (), ()

    def __init__(self, num_images: int) -> None:
        self.num_images = num_images
        self.reads = [0] * num_images

    def where(self, i: int) -> str:
        return f"record {i}"

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        self.reads[i] += 1
        return np.full((1, 1, 1), i % 256, np.uint8), self.read_label(i)

    def read_label(self, i: int) -> np.ndarray:
        return np.array([i], np.float32)


def take(stream: Iterator[tuple[np.ndarray, np.ndarray]], count: int) -> tuple[np.ndarray, ...]:
    """Return the first `count` images and labels, batches concatenated."""
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


@settings(deadline=None, max_examples=60)
@given(num_images=st.integers(1, 40), rows=st.integers(1, 4), processes=st.integers(1, 5), epochs=st.integers(1, 3))
def test_processes_share_an_epoch_without_losing_or_doubling_an_image(
    num_images: int, rows: int, processes: int, epochs: int
) -> None:
    store = Counted(num_images)
    dataset, batch = Dataset(store, use_labels=True), rows * processes
    steps = -(-epochs * num_images // batch)
    parts = []
    for process in range(processes):
        part = slice(process * rows, (process + 1) * rows)
        stream = batches(dataset, batch, seed=5, part=part, workers=1, prefetch=1)
        parts.append(take(stream, steps)[1].reshape(steps, rows))
        stream.close()
    together = np.concatenate(parts, axis=1).reshape(-1).astype(int)  # whole batches, one after the other
    for epoch in np.split(together[: epochs * num_images], epochs):
        assert sorted(epoch) == list(range(num_images))
    alone = take(batches(dataset, batch, seed=5, workers=1), steps)[1].reshape(-1)
    np.testing.assert_array_equal(together, alone)


def test_a_process_reads_no_image_of_another() -> None:
    store = Counted(1000)
    images, labels = take(batches(Dataset(store, use_labels=True), 8, seed=0, part=slice(4, 8), workers=1), 10)
    assert images.shape == (40, 1, 1, 1)
    others = take(batches(Dataset(Counted(1000), use_labels=True), 8, seed=0, part=slice(4)), 20)[1]
    assert not any(store.reads[int(i)] for i in others[:, 0])
    assert all(store.reads[int(i)] == 1 for i in labels[:, 0])


def test_a_resumed_stream_reads_nothing_of_what_is_behind_it() -> None:
    store = Counted(1000)
    stream = batches(Dataset(store, use_labels=True), 10, seed=0, start_nimg=900, prefetch=1)
    rest = take(stream, 9)[1]
    stream.close()
    assert all(store.reads[int(i)] == 1 for i in rest[:, 0])
    assert sum(store.reads) <= 100


def test_the_first_order_is_the_same_for_ever(dataset: Dataset) -> None:
    _, labels = take(batches(dataset, NUM_IMAGES, seed=1, order=1), 2)
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


def test_a_missing_label_reaches_the_consumer_with_its_record(
    shard_set: Path, drop_label: Callable[[Path, int], None]
) -> None:
    drop_label(shard_set / "shards-00000-of-00002.tfrecords", 1)
    with pytest.raises(DataError, match=r"00000-of-00002\.tfrecords: record 1: the label is missing"):
        take(batches(open_dataset(shard_set, use_labels=True), 2, seed=0), 3)


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


@pytest.mark.parametrize("part", [slice(4, 8), slice(0), slice(2, 1)])
def test_a_part_without_rows(dataset: Dataset, part: slice) -> None:
    with pytest.raises(ValueError, match=r"part is slice\(.*\), which has no rows of a batch of 4"):
        batches(dataset, 4, seed=0, part=part)


@pytest.mark.parametrize("version", ORDERS)
def test_order_is_the_recorded_one(version: int) -> None:
    """A checkpoint continues with this order: recorded before the streams were enumerated in sg3tf.utils.rng."""
    order = ShuffledOrder(10, seed=7, mirror=True, version=version)
    images, mirrored = zip(*(order.at(position) for position in range(20)), strict=True)
    assert images == (8, 4, 1, 6, 3, 2, 7, 5, 9, 0, 2, 5, 7, 8, 1, 9, 3, 4, 0, 6)
    assert [position for position, flip in enumerate(mirrored) if flip] == [0, 2, 4, 5, 7, 8, 13, 15, 16, 17]


@pytest.mark.parametrize(
    ("version", "images"),
    [
        (1, (1069, 887, 1998, 1382, 1654, 1480, 1720)),
        (2, (883, 180, 1599, 1452, 275, 894, 775)),
    ],
)
def test_order_of_many_images_is_the_recorded_one(version: int, images: tuple[int, ...]) -> None:
    """Recorded when version 2 was new."""
    order = ShuffledOrder(2000, seed=7, mirror=False, version=version)
    assert tuple(order.at(position)[0] for position in (0, 1, 1023, 1024, 1999, 2000, 4001)) == images


@pytest.mark.parametrize("version", ORDERS)
def test_an_order_is_the_same_from_any_position(version: int) -> None:
    """Epochs of several chunks of 1,024 positions, read forward, and backward from a fresh start at every position."""
    count = 2500
    order = ShuffledOrder(count, seed=3, mirror=True, version=version)
    whole = [order.at(position) for position in range(2 * count)]
    for epoch in (whole[:count], whole[count:]):
        assert sorted(image for image, _ in epoch) == list(range(count))
    words = np.random.Philox(counter=[0, 0, 0, 1], key=[3, 1]).random_raw(count)
    assert [flip for _, flip in whole[count:]] == (words >> np.uint64(63)).astype(bool).tolist()
    for position in (4999, 3524, 3523, 2500, 2499, 1024, 1023, 0):
        assert ShuffledOrder(count, seed=3, mirror=True, version=version).at(position) == whole[position]
        assert order.at(position) == whole[position]


def test_a_hundred_million_images_take_no_memory() -> None:
    """A table of their order would take 800 MB: a chunk is computed instead, here with its Python objects."""
    tracemalloc.start()
    order = ShuffledOrder(10**8, seed=0, mirror=True)
    images = [order.at(position)[0] for position in range(10**8 - 3000, 10**8 + 3000)]
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()
    assert len(set(images[:3000])) == len(set(images[3000:])) == 3000 and min(images) >= 0 and max(images) < 10**8
