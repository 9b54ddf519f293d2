"""Data sets of TFRecords or image files: random access to images, subsets, tf.data."""

from __future__ import annotations

import copy
import hashlib
import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sg3tf.data.errors import DataError
from sg3tf.data.image_store import ImageStore
from sg3tf.data.labels import original_numbers
from sg3tf.data.sampler import ORDERS, Batch, batches, epoch_batches
from sg3tf.data.selection import AllBut, Balanced, Chosen, Index, Selection, Spread
from sg3tf.data.stores import Sample, Store, is_records, open_records
from sg3tf.utils.files import reject_remote, require_readable
from sg3tf.utils.resolution import AnyResolution, image_shape, size_of, to_resolution

if TYPE_CHECKING:
    import tensorflow as tf

_CHUNK = 2**20  # indices hashed at a time


class Dataset:
    """Images and labels at one resolution, as opened by `open_dataset`. Indexing is thread-safe.

    Attributes:
        name: name of the data set, usable as a file name.
        path: its folder or file.
        resolution, channels: size of every image; resolution is the side of a square, or a Size (width, height).
        label_dim: width of a label; 0 if labels are not used.
        classes: the label_dim class names; () if unknown or not used.
        num_images: number of images.
        digest: identifies everything stored at `path` ("sha256:..."), even for a subset.
        cache_digest: key for caches: `digest` and, for a folder of images, the files' modification times.
        remarks: lines about the content of `path`, for the log.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from sg3tf.data.build.builder import build
        >>> from sg3tf.data.conversion import BuildConfig
        >>> from sg3tf.data.dataset import open_dataset
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
        # The digest of image files covers only their sizes, which other images may share: ADR 0037.
        self.cache_digest = store.cache_digest if isinstance(store, ImageStore) else self.digest
        self.remarks = store.remarks
        self._store = store
        self._selections: tuple[Selection, ...] = ()
        self._kept: dict[int, Sample] | None = None
        self._numbers: tuple[int, ...] = ()  # of the classes in labels; () for 0, 1, 2, ...

    @property
    def num_images(self) -> int:
        return len(self._selections[-1]) if self._selections else self._store.num_images

    @property
    def part(self) -> str:
        """Identifier of the selection and order of images within `path` ("sha256:...")."""
        digest = hashlib.sha256()
        for first in range(0, len(self), _CHUNK):
            records = self._select(np.arange(first, min(first + _CHUNK, len(self))))
            digest.update(records.astype("<i8").tobytes())
        return f"sha256:{digest.hexdigest()}"

    def __len__(self) -> int:
        return self.num_images

    def _record(self, i: int) -> int:
        """Return the position of image `i` in the store."""
        if not 0 <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        return self._select(int(i))

    def _select(self, i: Index) -> Index:
        for selection in reversed(self._selections):
            i = selection(i)
        return i

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
        sample = image, self._in_width(label)
        if self._kept is not None:
            for array in sample:
                array.setflags(write=False)
            self._kept[record] = sample  # if two threads read it, both get the same bits
        return sample

    def label(self, i: int) -> np.ndarray:
        """Return the label of image `i`, float32 [label_dim], without decoding the image."""
        record = self._record(i)
        if self._kept is not None and record in self._kept:
            return self._kept[record][1]
        return self._in_width(self._store.read_label(record))

    def _in_width(self, label: np.ndarray) -> np.ndarray:
        if not self._numbers:
            return label[: self.label_dim]
        row = np.zeros(self.label_dim, np.float32)
        row[list(self._numbers)] = label
        return row

    def with_label_dim(self, label_dim: int) -> Dataset:
        """Return this data set with the original numbers of its classes, in labels of `label_dim` numbers.

        Labels of networks of the official code include the class numbers that no image has. The data set is returned
        unchanged if its labels have `label_dim` numbers already, or if its classes are not numbers below it.
        """
        numbers = original_numbers(self.classes, label_dim)
        if label_dim == self.label_dim or not numbers:
            return self
        wider = copy.copy(self)
        wider.label_dim, wider._numbers, wider._kept = label_dim, numbers, None
        return wider

    def split(self, validation: int, order: int = ORDERS[-1]) -> tuple[Dataset, Dataset]:
        """Split into (training, held-out) with `validation` images held out, chosen as by `subsample`.

        Raises:
            DataError: validation is not in 1..num_images - 1.
        """
        if not 0 < validation < len(self):
            raise DataError(
                f"validation is {validation}, it must be in 1..{len(self) - 1}: {self.path} has {len(self)} images"
            )
        held_out = Spread(len(self), validation, random=order > 2)
        return self._part(AllBut(held_out)), self._part(held_out)

    def subsample(self, max_images: int, order: int = ORDERS[-1]) -> Dataset:
        """Return at most `max_images` of the images: a random one from each of as many segments of equal length.

        So they are spread evenly even if data are sorted by class, and are the same in every process.

        Args:
            max_images: 1 or more.
            order: version of the image order, from sampler.ORDERS; versions 1 and 2 use the first image of each
                segment.

        Raises:
            DataError: max_images is less than 1.
        """
        if max_images < 1:
            raise DataError(f"max_images is {max_images}, it must be at least 1")
        return self._part(Spread(len(self), min(max_images, len(self)), random=order > 2))

    def balanced(self) -> Dataset:
        """Return this data set with all classes as frequent as the largest, by repeating images of the others.

        Images without a label count as one class. Takes 17 bytes per image, and 10 s for 10 million images.

        Raises:
            DataError: the labels are not classes, or images have several classes.
        """
        kind = self._store.label.kind
        if kind != "class":
            vectors = "several classes per image" if self._store.classes else "vectors as labels"
            found = "no labels" if kind == "none" else vectors
            raise DataError(
                f"{self.path} has {found}, and only data with one class per image can be balanced; leave --balance out"
            )
        return self._part(Balanced(self._store.classes_of_images()[self._select(np.arange(len(self)))]))

    def of_class(self, name: str) -> Dataset:
        """Return the images of one class, including those with further classes; requires labels in use.

        Args:
            name: class name or number.

        Raises:
            DataError: there is no such class, or it has no image.
        """
        number = self.classes.index(name) if name in self.classes else int(name) if name.isdecimal() else -1
        one_each = self._store.label.kind == "class"
        has_classes = one_each or bool(self.classes)  # several classes per image are a vector with names
        if not 0 <= number < self.label_dim or not has_classes:
            known = f"the classes {', '.join(self.classes[:8])}" if self.classes else f"{self.label_dim} classes"
            raise DataError(f"class={name}: {self.path} has {known if has_classes else 'none'}")
        if one_each:
            is_of_class = self._store.classes_of_images()[self._select(np.arange(len(self)))] == number
        else:
            column = self._numbers[number] if self._numbers else number
            is_of_class = np.array([self.label(i)[column] > 0 for i in range(len(self))])
        if not is_of_class.any():
            raise DataError(f"class={name}: {self.path} has no image of it")
        return self._part(Chosen(np.flatnonzero(is_of_class)))

    def cached(self, max_bytes: int) -> Dataset:
        """Return this data set with a memory cache, which keeps uint8 pixels and labels after they are first read.

        Args:
            max_bytes: limit for the pixels of all images.

        Raises:
            DataError: the pixels of all images exceed the limit.
        """
        size = size_of(self.resolution)
        need = len(self) * size.pixels * self.channels
        if need > max_bytes:
            raise DataError(
                f"{self.path}: {len(self)} images of {size}x{self.channels} take "
                f"{math.ceil(need / 1e7) / 100} GB of memory, the cache is limited to {max_bytes / 1e9:g}; "
                "raise the limit, use fewer images, or train without a cache"
            )
        whole = copy.copy(self)
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

        Each pass over the result is a new epoch, with a new permutation and new mirroring. With `repeat`, every pass is
        the same endless stream that `batches` yields. Equal arguments give equal batches.

        Args:
            batch_size: images per batch.
            seed: seed of order and mirroring, 0 or more; None for the data set's order, without shuffling.
            mirror: flip each image horizontally with probability 1/2; requires a seed.
            repeat: repeat indefinitely, in full batches; requires a seed.
            labels: yield (images, labels) instead of images alone.
            drop_remainder: drop the last batch if it is smaller than the others.
            workers: number of threads that read and decode.
            prefetch: number of batches prepared ahead.

        Returns:
            Dataset of images, uint8 [B, H, W, C], and labels, float32 [B, label_dim]. An unreadable record raises
            tf.errors.OpError with the text of the DataError.

        Raises:
            ValueError: an argument is out of range.
        """
        import tensorflow as tf  # building and verifying data sets does not need it

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
                raise ValueError("repeat is True without a seed, which is required; give seed=0")
            return batches(self, batch_size, seed=seed, mirror=mirror, workers=workers, prefetch=prefetch)

        stream(0)  # check the arguments here rather than within TensorFlow
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

    def _part(self, selection: Selection) -> Dataset:
        part = copy.copy(self)
        part._selections = (*self._selections, selection)
        return part


def open_dataset(
    path: str | Path,
    *,
    resolution: AnyResolution | None = None,
    use_labels: bool = False,
    max_images: int | None = None,
    order: int = ORDERS[-1],
) -> Dataset:
    """Open records in NVIDIA's FFHQ layout or the project's own, or a folder or zip file of images.

    The kind of data set is recognized by its content.

    Args:
        path: folder with NAME-rNN.tfrecords files, or one such file, or folder with manifest.json, or image files.
        resolution: one of the resolutions in `path`, such as 256, "512x256" or (512, 256); None for the largest.
            Required for image files, which are cropped and resized while they are read, as `sg3tf data build` does by
            default.
        use_labels: return labels with the images, classes as one-hot vectors. If False, labels of image files that are
            malformed are a remark rather than an error.
        max_images, order: use at most this many images, spread over the data set; see `Dataset.subsample`.

    Raises:
        DataError: `path` or the resolution does not exist, labels are requested but missing, or a file is truncated or
            corrupt.
        ValueError: the resolution is malformed.
    """
    store = open_store(path, resolution, use_labels)
    if use_labels and not store.label.dim:
        raise DataError(f"{path} has no labels; build it with labels or leave --cond out")
    dataset = Dataset(store, use_labels=use_labels)
    return dataset if max_images is None else dataset.subsample(max_images, order)


def open_store(path: str | os.PathLike[str], resolution: AnyResolution | None = None, use_labels: bool = True) -> Store:
    """Open records or image files at one resolution (None: the largest); raises DataError like `open_dataset`.

    Unless `use_labels`, malformed labels of image files are a remark rather than an error.
    """
    if not os.fspath(path):
        raise DataError("the name of the data set is empty; give a folder or zip file of images, or records")
    path = Path(path)
    reject_remote(path)
    require_readable(path)
    if path.exists() and not is_records(path):
        return ImageStore(path, None if resolution is None else to_resolution(resolution), use_labels)
    return open_records(path, resolution)
