"""The endless stream of training batches, the same from any starting point."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

import numpy as np

from sg3tf.data.dataset import Dataset
from sg3tf.data.errors import DataError
from sg3tf.utils import parallel
from sg3tf.utils.rng import Purpose, philox

Place = tuple[int, bool]  # image, mirrored
Batch = tuple[np.ndarray, np.ndarray]


class _Order:
    """Which image is at each position of the stream, and whether it is mirrored.

    Both come from raw words of the random streams of (seed, purpose, epoch).
    """

    def __init__(self, num_images: int, seed: int, mirror: bool) -> None:
        self._num_images, self._seed, self._mirror = num_images, seed, mirror
        self._epoch = -1

    def _words(self, purpose: Purpose, epoch: int) -> np.ndarray:
        return np.asarray(philox(self._seed, purpose, epoch).random_raw(self._num_images))

    def at(self, position: int) -> Place:
        """Returns (image, mirrored) at `position`, counted in images from the start."""
        epoch, step = divmod(position, self._num_images)
        if epoch != self._epoch:
            self._epoch = epoch
            self._images = np.argsort(self._words(Purpose.SHUFFLE, epoch), kind="stable")
            self._flips = (self._words(Purpose.MIRROR, epoch) >> np.uint64(63)).astype(bool)
        return int(self._images[step]), bool(self._mirror and self._flips[step])


def batches(
    dataset: Dataset,
    batch_size: int,
    *,
    seed: int,
    start_nimg: int = 0,
    mirror: bool = False,
    workers: int = 3,
    prefetch: int = 4,
    part: slice = slice(None),
) -> Generator[Batch]:
    """Yields shuffled batches for ever; reading and decoding run in threads.

    Every epoch is a fresh permutation of the data set. What is at a position of the stream depends
    on `seed` and the position only: a run resumed at `start_nimg` gets what it would have got.
    Processes that train together each read their `part` of every batch: positions count in the whole
    batch, so that the parts of an epoch together are the permutation.
    Close the iterator (or let go of it) to end its threads.

    Args:
      dataset: where the images come from.
      batch_size: images of a whole batch.
      seed: 0 or more; keys order and mirroring.
      start_nimg: how many images of the stream to leave out.
      mirror: flip each image left to right with probability 1/2.
      workers: threads.
      prefetch: batches being made while one is consumed.
      part: the rows of every batch that are wanted, e.g. slice(4, 8) of a batch of 8.

    Returns:
      Generator of images, uint8 [B, R, R, C], and labels, float32 [B, label_dim]; B: rows in `part`.

    Raises:
      ValueError: an argument is out of range.
      DataError: (from the iterator) a record cannot be read; the message names it.
    """
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("seed", seed, 0),
        ("start_nimg", start_nimg, 0),
        ("workers", workers, 1),
        ("prefetch", prefetch, 1),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}, it must be at least {least}")
    rows = range(batch_size)[part]
    if not rows:
        raise ValueError(f"part is {part}, which has no rows of a batch of {batch_size}")
    order = _Order(len(dataset), seed, mirror)
    places = ([order.at(first + row) for row in rows] for first in count(start_nimg, batch_size))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="data")
    return parallel.prefetch(partial(_load, dataset), places, executor=pool, ahead=prefetch)


def _load(dataset: Dataset, places: list[Place]) -> Batch:
    images = np.empty((len(places), dataset.resolution, dataset.resolution, dataset.channels), "u1")
    labels = np.empty((len(places), dataset.label_dim), np.float32)
    for row, (i, mirrored) in enumerate(places):
        try:
            image, labels[row] = dataset[i]
        except DataError:
            raise
        except Exception as error:  # a thread's traceback would not say which record it was
            raise DataError(f"{dataset.where(i)}: {error}") from error
        if mirrored:
            for channel in range(dataset.channels):  # four times as fast as all at once
                images[row, :, :, channel] = image[:, ::-1, channel]
        else:
            images[row] = image
    return images, labels
