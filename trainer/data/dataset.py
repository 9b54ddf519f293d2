"""Opens a data set of either form; image i by random access."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from trainer.data.errors import DataError
from trainer.data.ffhq import FfhqStore, find_levels
from trainer.data.labels import LabelSpec
from trainer.data.shards import MANIFEST, ShardStore


class Store(Protocol):
    """What the two forms have in common: every image of one resolution."""

    name: str
    path: Path
    resolution: int
    channels: int
    num_images: int
    label: LabelSpec

    @property
    def digest(self) -> str: ...
    def where(self, i: int) -> str: ...
    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]: ...
    def read_label(self, i: int) -> np.ndarray: ...


class Dataset:
    """Images and labels of one resolution; safe to index from many threads.

    Attributes:
      name: the data set's name, fit for a file name.
      path: its folder or file.
      resolution, channels: of every image.
      label_dim: width of a label; 0 if labels are not used.
      num_images: how many there are.
      digest: names the content ("sha256:..."), before max_images.
    """

    def __init__(self, store: Store, *, use_labels: bool, max_images: int | None) -> None:
        self.name = store.name
        self.path = store.path
        self.resolution = store.resolution
        self.channels = store.channels
        self.label_dim = store.label.dim if use_labels else 0
        self.digest = store.digest
        self.num_images = min(store.num_images, max_images or store.num_images)
        self._store = store

    def __len__(self) -> int:
        return self.num_images

    def _record(self, i: int) -> int:
        """Where image `i` is in the store; max_images keeps an even spread, so all classes."""
        if not 0 <= i < self.num_images:
            raise IndexError(f"image {i} of {self.num_images}")
        return i * self._store.num_images // self.num_images

    def where(self, i: int) -> str:
        """How error messages name image `i`: file and record."""
        return self._store.where(self._record(i))

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns image `i`, uint8 [R, R, C], and its label, float32 [label_dim].

        Raises:
          DataError: the record is corrupt; the message names it.
        """
        image, label = self._store.read(self._record(i))
        return image, label[: self.label_dim]

    def label(self, i: int) -> np.ndarray:
        """Returns the label of image `i`, float32 [label_dim], without decoding the image."""
        return self._store.read_label(self._record(i))[: self.label_dim]


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
    return Dataset(store, use_labels=use_labels, max_images=max_images)


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
            "images with python -m trainer.data.build"
        )
    _check_resolution(path, resolution, list(levels))
    return FfhqStore(levels[resolution or max(levels)])


def _check_resolution(path: Path, wanted: int | None, available: list[int]) -> None:
    if wanted is None or wanted in available:
        return
    reason = "is not there" if wanted > 0 and not wanted & (wanted - 1) else "is no power of two"
    listed = ", ".join(str(resolution) for resolution in available)
    raise DataError(f"{path}: resolution {wanted} {reason}; available: {listed}")
