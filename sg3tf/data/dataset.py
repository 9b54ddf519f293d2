"""Data sets of either TFRecord layout: images by random access, subsets, tf.data."""

from __future__ import annotations

import copy
import hashlib
import itertools
import shlex
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sg3tf.data.errors import DataError
from sg3tf.data.ffhq import FfhqStore, find_levels
from sg3tf.data.labels import LabelSpec
from sg3tf.data.sampler import Batch, batches, epoch_batches
from sg3tf.data.shards import MANIFEST, ShardStore, is_shard_set
from sg3tf.utils.files import refuse_remote
from sg3tf.utils.resolution import Resolution, Size, image_shape, is_power_of_two, size_of

if TYPE_CHECKING:
    import tensorflow as tf

Sample = tuple[np.ndarray, np.ndarray]


class Store(Protocol):
    """All images of one resolution, in either TFRecord layout."""

    name: str
    path: Path
    resolution: Resolution
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
    """Images and labels of one resolution; safe to index from several threads. Opened by `open_dataset`.

    Attributes:
      name: name of the data set, usable as a file name.
      path: its folder or file.
      resolution, channels: size of every image; resolution is the side of a square, or a Size (width, height).
      label_dim: width of a label; 0 if labels are not used.
      classes: names of the classes, label_dim of them; () if they are unknown or not used.
      num_images: number of images.
      digest: identifies everything stored at `path` ("sha256:..."), also if this is a subset.

    Examples:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from sg3tf.data import open_dataset
      >>> from sg3tf.data.build import BuildConfig, build
      >>> from sg3tf.images import save_png
      >>> folder = Path(tempfile.mkdtemp())
      >>> for i in range(10):
      ...     save_png(folder / "images" / f"{i}.png", np.full([8, 8, 3], 25 * i, np.uint8))
      >>> report = build(folder / "images", folder / "dataset", BuildConfig(resolution=8))
      >>> dataset = open_dataset(folder / "dataset")
      >>> image, label = dataset[3]
      >>> image.shape, int(image[0, 0, 0]), label.shape
      ((8, 8, 3), 75, (0,))
      >>> for images, labels in dataset.to_tf_data(batch_size=4, mirror=True):
      ...     print(images.dtype.name, images.shape)
      uint8 (4, 8, 8, 3)
      uint8 (4, 8, 8, 3)
      uint8 (2, 8, 8, 3)
    """

    def __init__(self, store: Store, *, use_labels: bool) -> None:
        self.name = store.name
        self.path = store.path
        self.resolution = store.resolution
        self.channels = store.channels
        self.label_dim = store.label.dim if use_labels else 0
        self.classes = store.classes if use_labels else ()
        self.digest = store.digest
        self._store = store
        self._records = np.arange(store.num_images)
        self._kept: dict[int, Sample] | None = None

    @property
    def num_images(self) -> int:
        return len(self._records)

    @property
    def part(self) -> str:
        """Identifier of the selection and order of the images within `path` ("sha256:...")."""
        return f"sha256:{hashlib.sha256(self._records.astype('<i8').tobytes()).hexdigest()}"

    def __len__(self) -> int:
        return len(self._records)

    def _record(self, i: int) -> int:
        """Return the position of image `i` in the store."""
        if not 0 <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        return int(self._records[i])

    def where(self, i: int) -> str:
        """Return the name of image `i` for error messages: file and record."""
        return self._store.where(self._record(i))

    def __getitem__(self, i: int) -> Sample:
        """Return image `i`, uint8 [H, W, C], and its label, float32 [label_dim].

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
            self._kept[record] = sample  # two threads may both read it: the same bits
        return sample

    def label(self, i: int) -> np.ndarray:
        """Return the label of image `i`, float32 [label_dim], without decoding the image."""
        record = self._record(i)
        if self._kept is not None and record in self._kept:
            return self._kept[record][1]
        return self._store.read_label(record)[: self.label_dim]

    def split(self, validation: int) -> tuple[Dataset, Dataset]:
        """Split into (training, held-out) with `validation` evenly spaced images held out.

        Raises:
          DataError: validation is not in 1..num_images - 1.
        """
        if not 0 < validation < len(self):
            raise DataError(
                f"validation is {validation}, it must be in 1..{len(self) - 1}: {self.path} has {len(self)} images"
            )
        held_out = _evenly_spaced(len(self), validation)
        return self._part(np.delete(self._records, held_out)), self._part(self._records[held_out])

    def subsample(self, max_images: int) -> Dataset:
        """Return at most `max_images` of the images, evenly spaced, so that all classes are represented."""
        return self._part(self._records[_evenly_spaced(len(self), min(max_images, len(self)))])

    def cached(self, max_bytes: int) -> Dataset:
        """Return this data set with a memory cache: uint8 pixels and labels are kept once they have been read.

        Args:
          max_bytes: limit for the pixels of all images.

        Raises:
          DataError: the pixels of all images exceed it.
        """
        size = size_of(self.resolution)
        need = len(self) * size.pixels * self.channels
        if need > max_bytes:
            raise DataError(
                f"{self.path}: {len(self)} images of {size}x{self.channels} take "
                f"{need / 2**30:.2f} GiB of memory, the cache is limited to {max_bytes / 2**30:.2f}; "
                "raise the limit, use fewer images, or train without a cache"
            )
        whole = self._part(self._records)
        whole._kept = {}
        return whole

    def to_tf_data(
        self,
        batch_size: int,
        *,
        seed: int | None = 0,
        mirror: bool = False,
        repeat: bool = False,
        labels: bool = True,
        drop_remainder: bool = False,
        workers: int = 3,
        prefetch: int = 4,
    ) -> tf.data.Dataset:
        """Return the images in batches as a tf.data.Dataset, for example for `keras.Model.fit`.

        Each pass over the result is another epoch: a new permutation, and new mirroring. With `repeat`, it is the
        endless stream that `batches` yields, the same in every pass. Equal arguments give equal batches.

        Args:
          batch_size: images of a batch.
          seed: key of order and mirroring, 0 or more; None: the order of the data set, not shuffled.
          mirror: flip each image left to right with probability 1/2; needs a seed.
          repeat: continue without end, in full batches; needs a seed.
          labels: yield (images, labels) instead of images alone.
          drop_remainder: leave out a last batch that is smaller than the others.
          workers: number of threads that read and decode.
          prefetch: number of batches that are prepared while one is consumed.

        Returns:
          Dataset of images, uint8 [B, H, W, C], and labels, float32 [B, label_dim]. A record that cannot be read is a
          tf.errors.OpError that contains the text of the DataError.

        Raises:
          ValueError: an argument is out of range.
        """
        import tensorflow as tf  # data sets are built and verified without it

        def stream(epoch: int) -> Iterator[Batch]:
            if not repeat:
                return epoch_batches(
                    self,
                    batch_size,
                    epoch=epoch,
                    seed=seed,
                    mirror=mirror,
                    drop_remainder=drop_remainder,
                    workers=workers,
                    prefetch=prefetch,
                )
            if seed is None:
                raise ValueError("repeat is True without a seed, which it needs; give seed=0")
            return batches(self, batch_size, seed=seed, mirror=mirror, workers=workers, prefetch=prefetch)

        stream(0)  # raises errors in the arguments here rather than from within TensorFlow
        epochs = itertools.count()
        rows = batch_size if repeat or drop_remainder else None
        spec = (
            tf.TensorSpec([rows, *image_shape(self.resolution, self.channels)], tf.uint8),
            tf.TensorSpec([rows, self.label_dim], tf.float32),
        )
        result = tf.data.Dataset.from_generator(lambda: stream(next(epochs)), output_signature=spec)
        if repeat:
            num_batches = tf.data.INFINITE_CARDINALITY
        else:
            num_batches = len(self) // batch_size if drop_remainder else -(-len(self) // batch_size)
        result = result.apply(tf.data.experimental.assert_cardinality(num_batches))
        return result if labels else result.map(lambda images, _: images)

    def _part(self, records: np.ndarray) -> Dataset:
        part = copy.copy(self)
        part._records = records
        return part


def _evenly_spaced(num_images: int, count: int) -> np.ndarray:
    """Return `count` of the indices 0..num_images - 1, evenly spaced."""
    return np.arange(count) * num_images // count


def open_dataset(
    path: str | Path,
    *,
    resolution: Resolution | None = None,
    use_labels: bool = False,
    max_images: int | None = None,
) -> Dataset:
    """Open a data set in NVIDIA's FFHQ layout or the project's own, which is recognized by its files.

    Args:
      path: folder with NAME-rNN.tfrecords files, or one such file, or folder with manifest.json.
      resolution: resolution to read, of those that `path` holds; None: the largest.
      use_labels: return labels with the images, classes as one-hot vectors.
      max_images: use at most this many, evenly spaced over the data set.

    Raises:
      DataError: `path` or the resolution does not exist, the labels to use are missing, or a file is truncated or
        corrupt.
    """
    if max_images is not None and max_images < 1:
        raise DataError(f"max_images is {max_images}, it must be at least 1")
    store = open_store(Path(path), resolution)
    if use_labels and not store.label.dim:
        raise DataError(f"{path} has no labels; build it with labels or leave --cond out")
    dataset = Dataset(store, use_labels=use_labels)
    return dataset.subsample(max_images) if max_images else dataset


def open_store(path: Path, resolution: Resolution | None = None) -> Store:
    """Open one resolution of a data set, None: the largest; raises DataError like `open_dataset`."""
    refuse_remote(path)
    if path.is_file():
        if zipfile.is_zipfile(path):
            raise DataError(f"{path} is a zip file; make a data set from it: {_build_command(path)}")
        store: Store = FfhqStore(path)
        _check_resolution(path, resolution, [store.resolution])
        return store
    if not path.is_dir():
        raise DataError(f"{path} does not exist")
    if is_shard_set(path):
        store = ShardStore(path)
        _check_resolution(path, resolution, [store.resolution])
        return store
    levels = find_levels(path)
    if not levels:
        raise DataError(
            f"{path} holds neither NAME-rNN.tfrecords files nor {MANIFEST} of a data set; make one from images: "
            + _build_command(path)
        )
    _check_resolution(path, resolution, list(levels))
    return FfhqStore(levels[max(levels) if resolution is None else size_of(resolution).width])


def _build_command(path: Path) -> str:
    return f"sg3tf data build {shlex.quote(f'--source={path}')} --resolution=256 --outdir=FOLDER"


def _check_resolution(path: Path, wanted: Resolution | None, available: Sequence[Resolution]) -> None:
    if wanted is None or wanted in available:
        return
    exists = isinstance(wanted, Size) or is_power_of_two(wanted)
    reason = "does not exist" if exists else "is not a power of two"
    listed = ", ".join(str(resolution) for resolution in available)
    raise DataError(f"{path}: resolution {wanted} {reason}; available: {listed}; sg3tf data build can make others")
