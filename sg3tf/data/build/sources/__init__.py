"""Kinds of image collections that a data set can be built from, recognized by their content."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

from sg3tf.data.build.sources import cifar, files, lsun, mnist, tfrecords
from sg3tf.data.build.sources.source import Source
from sg3tf.data.errors import DataError
from sg3tf.data.labels import LabelSpec
from sg3tf.utils.files import refuse_remote

__all__ = ["Source", "find_source"]

_ACCEPTED = (
    "a folder or zip file of images, cifar-10-python.tar.gz, a folder with MNIST's train-images-idx3-ubyte.gz and "
    "train-labels-idx1-ubyte.gz, an LMDB folder (data.mdb) or a data set of TFRecords"
)


def find_source(path: Path, max_images: int | None = None, labels: bool = True) -> Source:
    """List the images and labels of a collection of any known kind.

    Args:
      path: file or folder.
      max_images: list at most this many, evenly spaced.
      labels: list the labels too.

    Raises:
      DataError: `path` does not exist, is of no known kind, or is damaged; or labels are malformed or missing.
    """
    refuse_remote(path)
    if not path.exists():
        raise DataError(f"{path} does not exist; --source takes {_ACCEPTED}")
    kind = next((kind for kind in (cifar, mnist, lsun, tfrecords, files) if kind.recognizes(path)), None)
    if kind is None and path.is_file() and tarfile.is_tarfile(path):
        raise DataError(f"{path} is a tar file of another kind than CIFAR-10: unpack it and give the folder")
    if kind is None:
        raise DataError(f"{path} is of no known kind; --source takes {_ACCEPTED}")
    source = kind.find(path) if labels or kind is not files else files.find(path, labels=False)
    if not labels and source.label.dim:
        entries = tuple((name, None) for name, _ in source.entries)
        source = replace(source, entries=entries, label=LabelSpec("none", 0), classes=())
    if max_images is None or max_images >= len(source.entries):
        return source
    evenly_spaced = [i * len(source.entries) // max_images for i in range(max_images)]
    return replace(source, entries=tuple(source.entries[i] for i in evenly_spaced))
