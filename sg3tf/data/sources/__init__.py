"""Image collections from which data sets can be built, recognized by their content.

Each kind is a module with `recognizes(path) -> bool` and `find(path) -> Source`; `files.find` takes more arguments.
"""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from sg3tf.data.errors import DataError
from sg3tf.data.labels import LabelSpec, standardize
from sg3tf.data.selection import Spread
from sg3tf.data.sources import cifar, files, img2dataset, lsun, mnist, tfrecords
from sg3tf.data.sources.source import Source
from sg3tf.utils.files import reject_remote, require_readable

__all__ = ["Source", "find_source", "is_image_files"]

_ACCEPTED = (
    "a folder or zip file of images, cifar-10-python.tar.gz, a folder with MNIST's train-images-idx3-ubyte.gz and "
    "train-labels-idx1-ubyte.gz, an LMDB folder (data.mdb), img2dataset's TFRecord, tar or Parquet files, or a "
    "data set of TFRecords"
)


def is_image_files(path: Path) -> bool:
    """Return True for a folder or zip file of images, False for the other kinds."""
    return _kind(path) is files


def _kind(path: Path) -> ModuleType | None:
    return next((kind for kind in (cifar, mnist, lsun, img2dataset, tfrecords, files) if kind.recognizes(path)), None)


def find_source(
    path: Path,
    max_images: int | None = None,
    labels: bool = True,
    missing_labels: bool = False,
    standardized: bool = False,
) -> Source:
    """List the images and labels of a collection of any known kind.

    Args:
        path: file or folder.
        max_images: list at most this many images, spread over the source.
        labels: list labels, too.
        missing_labels: keep images without a label, in a folder or zip file of images.
        standardized: treat labels as numbers, and standardize them to mean 0 and standard deviation 1.

    Raises:
        DataError: `path` does not exist, is of an unknown kind, or is damaged; or labels are malformed or missing.
    """
    reject_remote(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; --source takes {_ACCEPTED}")
    require_readable(path)
    kind = _kind(path)
    if kind is None and path.is_file() and tarfile.is_tarfile(path):
        raise DataError(f"{path} is a tar file of another kind than CIFAR-10: unpack it and give the folder")
    if kind is None:
        raise DataError(f"{path} is of an unknown kind; --source takes {_ACCEPTED}")
    source = files.find(path, labels, missing_labels, standardized) if kind is files else kind.find(path)
    if not labels and source.label.dim:
        unlabeled = tuple((name, None) for name, _ in source.entries)
        source = replace(source, entries=unlabeled, label=LabelSpec("none", 0), classes=(), scale=None)
    if max_images is not None and max_images < len(source.entries):
        chosen = map(Spread(len(source.entries), max_images), range(max_images))
        left = len(source.entries) - max_images
        source = replace(source, entries=tuple(source.entries[i] for i in chosen), num_not_chosen=left)
    if standardized:
        if source.classes:
            raise DataError(f"{path}: --standardize is for labels that are numbers, these are classes; leave it out")
        if source.scale:
            raise DataError(f"{path}: the labels are standardized already; leave --standardize out")
        entries, scale = standardize(source.entries, str(path))
        source = replace(source, entries=entries, scale=scale)
    return source
