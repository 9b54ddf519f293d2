"""Kinds of image collections that a data set can be built from, recognized by their content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sg3tf.data.build.sources import cifar, files, lsun, mnist, tfrecords
from sg3tf.data.build.sources.source import Source
from sg3tf.data.errors import DataError

__all__ = ["Source", "find_source"]

_ACCEPTED = (
    "a folder or zip file of images, cifar-10-python.tar.gz, a folder with MNIST's train-images-idx3-ubyte.gz and "
    "train-labels-idx1-ubyte.gz, an LMDB folder (data.mdb) or a data set of TFRecords"
)


def find_source(path: Path, max_images: int | None = None) -> Source:
    """List the images and labels of a collection of any known kind.

    Args:
      path: file or folder.
      max_images: list at most this many, evenly spaced.

    Raises:
      DataError: `path` does not exist, is of no known kind, or is damaged; or labels are malformed or missing.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; --source takes {_ACCEPTED}")
    kind = next((kind for kind in (cifar, mnist, lsun, tfrecords, files) if kind.recognizes(path)), None)
    if kind is None:
        raise DataError(f"{path} is of no known kind; --source takes {_ACCEPTED}")
    source = kind.find(path)
    if max_images is None or max_images >= len(source.entries):
        return source
    evenly_spaced = [i * len(source.entries) // max_images for i in range(max_images)]
    return replace(source, entries=tuple(source.entries[i] for i in evenly_spaced))
