"""The kinds of image collections that a data set can be built from, told apart by what is in them."""

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
    """Lists the images and labels of `path`, whatever kind of collection it is.

    Args:
      path: file or folder.
      max_images: list at most this many, spread evenly.

    Raises:
      DataError: nothing is there, no images are, they cannot be read, or labels are malformed or missing.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; --source takes {_ACCEPTED}")
    kind = next((kind for kind in (cifar, mnist, lsun, tfrecords, files) if kind.recognises(path)), None)
    if kind is None:
        raise DataError(f"{path} is of no known kind; --source takes {_ACCEPTED}")
    source = kind.find(path)
    total = min(len(source.entries), max_images or len(source.entries))
    spread = tuple(source.entries[i * len(source.entries) // total] for i in range(total))
    return replace(source, entries=spread)
