"""Shuffled batches of a data set, reproducible from any position: the training stream, and single epochs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Protocol

import numpy as np

from sg3tf.data.errors import DataError
from sg3tf.data.permutation import ROUNDS, Permutation
from sg3tf.utils import parallel
from sg3tf.utils.resolution import Resolution, image_shape
from sg3tf.utils.rng import WORDS_PER_ADVANCE, Purpose, philox

SamplePosition = tuple[int, bool]  # image index, whether it is mirrored
Batch = tuple[np.ndarray, np.ndarray]


class IndexedImages(Protocol):
    """Images and labels by index, such as `sg3tf.data.dataset.Dataset`."""

    resolution: Resolution
    channels: int
    label_dim: int

    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]: ...
    def where(self, i: int) -> str: ...


#: Versions of the order of an epoch. 1 sorts random words of all images. 2 does so for at most _CHUNK images, and
#: otherwise computes the permutation lazily. 3 differs from 2 in which images a subset uses (see Dataset.subsample),
#: and also balances held-out images with --balance.
ORDERS = (1, 2, 3)
_CHUNK = 1024  # positions computed at a time


class ShuffledOrder:
    """The image at each position of the stream, and whether it is mirrored.

    Both derive from raw words of the random streams of (seed, purpose, epoch). Memory does not depend on the number of
    images, except in version 1 of the order.

    Args:
        num_images: length of an epoch.
        seed: 0 or more.
        mirror: mirror half of the images.
        version: one of ORDERS; a run keeps the version that it started with.

    Examples:
        >>> order = ShuffledOrder(num_images=4, seed=0, mirror=False)
        >>> sorted(order.at(position) for position in range(4))
        [(0, False), (1, False), (2, False), (3, False)]
    """

    def __init__(self, num_images: int, seed: int, mirror: bool, version: int = ORDERS[-1]) -> None:
        self._num_images, self._seed, self._mirror = num_images, seed, mirror
        self._epoch_images = self._sorted_words if version == 1 or num_images <= _CHUNK else self._permutation
        self._epoch, self._first = -1, -1

    def _sorted_words(self, epoch: int) -> Callable[[np.ndarray], np.ndarray]:
        words = philox(self._seed, Purpose.SHUFFLE, epoch).random_raw(self._num_images)
        return np.argsort(np.asarray(words), kind="stable").__getitem__

    def _permutation(self, epoch: int) -> Callable[[np.ndarray], np.ndarray]:
        keys = philox(self._seed, Purpose.SHUFFLE_KEYS, epoch).random_raw(ROUNDS)
        return Permutation(self._num_images, np.asarray(keys))

    def at(self, position: int) -> SamplePosition:
        """Return (image, mirrored) at `position`, in images from the start."""
        epoch, step = divmod(position, self._num_images)
        first = step - step % _CHUNK
        if epoch != self._epoch:
            self._image_at = self._epoch_images(epoch)
        if (epoch, first) != (self._epoch, self._first):
            self._epoch, self._first = epoch, first
            steps = np.arange(first, min(first + _CHUNK, self._num_images))
            self._images = self._image_at(steps).tolist()
            flips = philox(self._seed, Purpose.MIRROR, epoch).advance(first // WORDS_PER_ADVANCE)
            self._flips = (np.asarray(flips.random_raw(len(steps))) >> np.uint64(63)).tolist()
        return self._images[step - first], bool(self._mirror and self._flips[step - first])


def batches(
    dataset: IndexedImages,
    batch_size: int,
    *,
    seed: int,
    start_nimg: int = 0,
    mirror: bool = False,
    workers: int = 3,
    prefetch: int = 4,
    part: slice = slice(None),
    order: int = ORDERS[-1],
) -> Generator[Batch]:
    """Yield shuffled batches indefinitely; threads read and decode the images.

    Every epoch is a new permutation of the data set. The image at a position of the stream depends only on `seed` and
    the position, so that a run resumed at `start_nimg` gets the same images as without the interruption. In distributed
    training, each process reads its `part` of every batch. Positions count global batches, so that the parts together
    form the permutation. Close or delete the iterator to stop its threads.

    Args:
        dataset: source of the images.
        batch_size: images per global batch.
        seed: seed of order and mirroring, 0 or more.
        start_nimg: number of images of the stream to skip.
        mirror: flip each image horizontally with probability 1/2.
        workers: number of threads.
        prefetch: number of batches prepared ahead.
        part: the rows of every batch to read, such as slice(4, 8) of a batch of 8.
        order: version of the order of an epoch, from ORDERS.

    Returns:
        Generator of images, uint8 [B, H, W, C], and labels, float32 [B, label_dim], where B is the number of rows in
        `part`.

    Raises:
        ValueError: an argument is out of range.
        DataError: (from the iterator) a record cannot be read; the message names it.
    """
    _check_at_least(batch_size=(batch_size, 1), seed=(seed, 0), start_nimg=(start_nimg, 0))
    rows = range(batch_size)[part]
    if not rows:
        raise ValueError(f"part is {part}, which has no rows of a batch of {batch_size}")
    shuffled = ShuffledOrder(len(dataset), seed, mirror, order)
    positions = ([shuffled.at(first + row) for row in rows] for first in count(start_nimg, batch_size))
    return _load_batches(dataset, positions, workers, prefetch)


def epoch_batches(
    dataset: IndexedImages,
    batch_size: int,
    *,
    epoch: int = 0,
    seed: int | None = None,
    mirror: bool = False,
    drop_remainder: bool = False,
    workers: int = 3,
    prefetch: int = 4,
) -> Generator[Batch]:
    """Yield the batches of one epoch, with every image once.

    Args:
        dataset: source of the images.
        batch_size: images per batch; the last batch may be smaller.
        epoch: epoch number; with `seed`, it determines order and mirroring as in `batches`.
        seed: seed of order and mirroring, 0 or more; None for the data set's order, which requires mirror=False.
        mirror: flip each image horizontally with probability 1/2.
        drop_remainder: drop the last batch if it is smaller than the others.
        workers, prefetch: see `batches`.

    Returns:
        Generator of images, uint8 [B, H, W, C], and labels, float32 [B, label_dim].

    Raises:
        ValueError, DataError: see `batches`.
    """
    _check_at_least(batch_size=(batch_size, 1), seed=(seed or 0, 0), epoch=(epoch, 0))
    if seed is None and mirror:
        raise ValueError("mirror is True without a seed, which is required; give seed=0")
    num_images = len(dataset)
    shuffled = None if seed is None else ShuffledOrder(num_images, seed, mirror)
    end = num_images - num_images % batch_size if drop_remainder else num_images

    def position(step: int) -> SamplePosition:
        return (step, False) if shuffled is None else shuffled.at(epoch * num_images + step)

    chunks = (
        [position(step) for step in range(first, min(first + batch_size, end))] for first in range(0, end, batch_size)
    )
    return _load_batches(dataset, chunks, workers, prefetch)


def _check_at_least(**values: tuple[int, int]) -> None:
    for name, (value, least) in values.items():
        if value < least:
            raise ValueError(f"{name} is {value}, it must be at least {least}")


def _load_batches(
    dataset: IndexedImages, positions: Iterable[list[SamplePosition]], workers: int, prefetch: int
) -> Generator[Batch]:
    _check_at_least(workers=(workers, 1), prefetch=(prefetch, 1))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="data")
    return parallel.prefetch(partial(_load, dataset), positions, executor=pool, ahead=prefetch)


def _load(dataset: IndexedImages, positions: list[SamplePosition]) -> Batch:
    images = np.empty((len(positions), *image_shape(dataset.resolution, dataset.channels)), np.uint8)
    labels = np.empty((len(positions), dataset.label_dim), np.float32)
    for row, (i, mirrored) in enumerate(positions):
        try:
            image, labels[row] = dataset[i]
        except DataError:
            raise
        except Exception as error:  # otherwise, a thread's traceback would not name the record
            raise DataError(f"{dataset.where(i)}: {error}") from error
        if mirrored:
            for channel in range(dataset.channels):  # four times as fast as all channels at once
                images[row, :, :, channel] = image[:, ::-1, channel]
        else:
            images[row] = image
    return images, labels
