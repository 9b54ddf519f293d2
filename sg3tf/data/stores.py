"""Open records in either TFRecord layout, recognized by their files; and the interface of all image stores."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from sg3tf.data.errors import DataError
from sg3tf.data.ffhq import FfhqStore, find_levels
from sg3tf.data.labels import Label, LabelSpec
from sg3tf.data.shards import ShardStore, is_shard_set
from sg3tf.data.tfrecord import begins_like_records
from sg3tf.utils.files import reject_remote
from sg3tf.utils.resolution import AnyResolution, Resolution, Size, is_power_of_two, size_of, to_resolution

Sample = tuple[np.ndarray, np.ndarray]

_ACCEPTED = "--data takes a folder or zip file of images, or records"
_GZIP = b"\x1f\x8b"


class Store(Protocol):
    """All images of one resolution."""

    name: str
    path: Path
    resolution: Resolution
    channels: int
    num_images: int
    label: LabelSpec
    classes: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def digest(self) -> str: ...
    def where(self, i: int) -> str: ...
    def read(self, i: int) -> Sample: ...
    def read_label(self, i: int) -> np.ndarray: ...
    def raw_label(self, i: int) -> Label:
        """Return the original label of image `i`; None if it is missing."""

    def classes_of_images(self) -> np.ndarray:
        """Return the class of every image, int64 [N], NO_CLASS without a label; only for labels of kind "class"."""


def is_records(path: Path) -> bool:
    """Return True if `path` contains records, judging by its files."""
    if path.is_file():
        return path.suffix == ".tfrecords" or not zipfile.is_zipfile(path)
    return path.is_dir() and (is_shard_set(path) or bool(find_levels(path)))


def open_records(path: Path, resolution: AnyResolution | None = None) -> Store:
    """Open one resolution of records (None: the largest); raises DataError like `sg3tf.data.dataset.open_dataset`."""
    reject_remote(path)
    resolution = None if resolution is None else to_resolution(resolution)
    if path.is_file():
        _require_records(path)
        store: Store = FfhqStore(path)
        _check_resolution(path, resolution, [store.resolution])
        return store
    if not path.is_dir():
        raise DataError(f"{path} does not exist; {_ACCEPTED}")
    if is_shard_set(path):
        store = ShardStore(path)
        _check_resolution(path, resolution, [store.resolution])
        return store
    levels = find_levels(path)
    _check_resolution(path, resolution, list(levels))
    return FfhqStore(levels[max(levels) if resolution is None else size_of(resolution).width])


def _require_records(file: Path) -> None:
    """Raise DataError for a file of another kind; a damaged .tfrecords file is left to its reader, which says more."""
    if begins_like_records(file):
        return
    with open(file, "rb") as content:
        if content.read(len(_GZIP)) == _GZIP:
            raise DataError(f"{file} is compressed with gzip; unpack it and give the folder or file in it")
    if file.suffix != ".tfrecords":
        raise DataError(f"{file} is neither a .tfrecords file nor a whole zip file; {_ACCEPTED}")


def _check_resolution(path: Path, wanted: Resolution | None, available: Sequence[Resolution]) -> None:
    if wanted is None or wanted in available:
        return
    exists = isinstance(wanted, Size) or is_power_of_two(wanted)
    reason = "does not exist" if exists else "is not a power of two"
    listed = ", ".join(str(resolution) for resolution in available)
    raise DataError(f"{path}: resolution {wanted} {reason}; available: {listed}; sg3tf data build can make others")
