"""Opens a data set of either form; image i by random access."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np

from sg3tf.data.errors import DataError
from sg3tf.data.ffhq import FfhqStore, find_levels
from sg3tf.data.labels import LabelSpec
from sg3tf.data.shards import MANIFEST, ShardStore

Sample = tuple[np.ndarray, np.ndarray]


class Store(Protocol):
    """What the two forms have in common: every image of one resolution."""

    name: str
    path: Path
    resolution: int
    channels: int
    num_images: int
    label: LabelSpec
    classes: tuple[str, ...]

    @property
    def digest(self) -> str: ...
    def where(self, i: int) -> str: ...
    def read(self, i: int) -> Sample: ...
    def read_label(self, i: int) -> np.ndarray: ...


class Dataset:
    """Images and labels of one resolution; safe to index from many threads.

    Attributes:
      name: the data set's name, fit for a file name.
      path: its folder or file.
      resolution, channels: of every image.
      label_dim: width of a label; 0 if labels are not used.
      num_images: how many there are.
      digest: names the content of all that is at `path` ("sha256:..."), whatever part of it this is.
    """

    def __init__(self, store: Store, *, use_labels: bool) -> None:
        self.name = store.name
        self.path = store.path
        self.resolution = store.resolution
        self.channels = store.channels
        self.label_dim = store.label.dim if use_labels else 0
        self.digest = store.digest
        self._store = store
        self._records = np.arange(store.num_images)
        self._kept: dict[int, Sample] | None = None

    @property
    def num_images(self) -> int:
        return len(self._records)

    @property
    def part(self) -> str:
        """Names which of the images at `path` these are, and in which order ("sha256:...")."""
        return f"sha256:{hashlib.sha256(self._records.astype('<i8').tobytes()).hexdigest()}"

    def __len__(self) -> int:
        return len(self._records)

    def _record(self, i: int) -> int:
        """Where image `i` is in the store."""
        if not 0 <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        return int(self._records[i])

    def where(self, i: int) -> str:
        """How error messages name image `i`: file and record."""
        return self._store.where(self._record(i))

    def __getitem__(self, i: int) -> Sample:
        """Returns image `i`, uint8 [R, R, C], and its label, float32 [label_dim].

        Raises:
          DataError: the record is corrupt; the message names it.
        """
        record = self._record(i)
        if self._kept is not None and record in self._kept:
            return self._kept[record]
        image, label = self._store.read(record)
        sample = image, label[: self.label_dim]
        if self._kept is not None:
            for array in sample:
                array.setflags(write=False)
            self._kept[record] = sample  # read twice by two threads at once: the same bits
        return sample

    def label(self, i: int) -> np.ndarray:
        """Returns the label of image `i`, float32 [label_dim], without decoding the image."""
        record = self._record(i)
        if self._kept is not None and record in self._kept:
            return self._kept[record][1]
        return self._store.read_label(record)[: self.label_dim]

    def split(self, validation: int) -> tuple[Dataset, Dataset]:
        """Splits off `validation` images, spread evenly: (training, held-out), disjoint and together everything.

        Raises:
          DataError: validation is not in 1..num_images - 1.
        """
        if not 0 < validation < len(self):
            raise DataError(
                f"validation is {validation}, it must be in 1..{len(self) - 1}: {self.path} has {len(self)} images"
            )
        held_out = _spread(len(self), validation)
        return self._part(np.delete(self._records, held_out)), self._part(self._records[held_out])

    def thinned(self, max_images: int) -> Dataset:
        """Returns at most `max_images` of the images, spread evenly, so that all classes are among them."""
        return self._part(self._records[_spread(len(self), min(max_images, len(self)))])

    def cached(self, max_bytes: int) -> Dataset:
        """Returns this data set, but what has been read once stays in memory: uint8 pixels and labels.

        Args:
          max_bytes: what the pixels of all images may take.

        Raises:
          DataError: they take more.
        """
        need = len(self) * self.resolution**2 * self.channels
        if need > max_bytes:
            raise DataError(
                f"{self.path}: {len(self)} images of {self.resolution}x{self.resolution}x{self.channels} take "
                f"{need / 2**30:.2f} GiB of memory, the cache may have {max_bytes / 2**30:.2f}; "
                "allow it more, use fewer images, or do without"
            )
        whole = self._part(self._records)
        whole._kept = {}
        return whole

    def _part(self, records: np.ndarray) -> Dataset:
        part = copy.copy(self)
        part._records = records
        return part


def _spread(num_images: int, count: int) -> np.ndarray:
    """`count` of the indices 0..num_images - 1, evenly spread."""
    return np.arange(count) * num_images // count


def open_dataset(
    path: str | Path,
    *,
    resolution: int | None = None,
    use_labels: bool = False,
    max_images: int | None = None,
) -> Dataset:
    """Opens NVIDIA's FFHQ records or the project's own, whichever `path` holds.

    Args:
      path: folder with NAME-rNN.tfrecords files, or one such file, or folder with manifest.json.
      resolution: which one is wanted; None: the largest.
      use_labels: whether the labels are wanted, classes as one-hot.
      max_images: use at most this many, spread evenly over the data set.

    Raises:
      DataError: nothing is there, the resolution is not, labels are wanted and missing, or a file
        is truncated or corrupt.
    """
    if max_images is not None and max_images < 1:
        raise DataError(f"max_images is {max_images}, it must be at least 1")
    store = open_store(Path(path), resolution)
    if use_labels and not store.label.dim:
        raise DataError(f"{path} has no labels; build it with labels or leave --cond out")
    dataset = Dataset(store, use_labels=use_labels)
    return dataset.thinned(max_images) if max_images else dataset


def open_store(path: Path, resolution: int | None = None) -> Store:
    """Opens one resolution of a data set, None: the largest. Raises DataError as open_dataset."""
    if path.is_file():
        store: Store = FfhqStore(path)
        _check_resolution(path, resolution, [store.resolution])
        return store
    if not path.is_dir():
        raise DataError(f"{path} does not exist")
    if (path / MANIFEST).is_file():
        store = ShardStore(path)
        _check_resolution(path, resolution, [store.resolution])
        return store
    levels = find_levels(path)
    if not levels:
        raise DataError(
            f"{path} holds neither NAME-rNN.tfrecords files nor {MANIFEST}; make a data set from "
            "images with python -m sg3tf.data.build"
        )
    _check_resolution(path, resolution, list(levels))
    return FfhqStore(levels[resolution or max(levels)])


def _check_resolution(path: Path, wanted: int | None, available: list[int]) -> None:
    if wanted is None or wanted in available:
        return
    reason = "is not there" if wanted > 0 and not wanted & (wanted - 1) else "is no power of two"
    listed = ", ".join(str(resolution) for resolution in available)
    raise DataError(
        f"{path}: resolution {wanted} {reason}; available: {listed}; python -m sg3tf.data.build makes others"
    )
