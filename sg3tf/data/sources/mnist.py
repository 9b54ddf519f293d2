"""MNIST and data sets in its format: idx files train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or .gz.

The 28x28 digits are padded with two black pixels on each side to 32x32, a power of two, without resampling.
"""

from __future__ import annotations

import gzip
import math
import zlib
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from sg3tf.data.errors import DataError
from sg3tf.data.labels import infer_label_spec, number_labels
from sg3tf.data.sources.source import Source

_IMAGES, _LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
_BORDER = 2
_MAX_BYTES = 2**30  # twice the largest known, EMNIST; a compressed file may hold any number


def recognizes(path: Path) -> bool:
    """Return True for a folder with these files."""
    return path.is_dir() and _file(path, _IMAGES).is_file()


def find(path: Path) -> Source:
    """List the images in order.

    Raises:
        DataError: a file is missing or damaged, or the numbers of labels and images differ.
    """
    images, labels = _load(_file(path, _IMAGES), 3), _load(_file(path, _LABELS), 1)
    if len(images) != len(labels):
        raise DataError(f"{path}: {_LABELS} has {len(labels)} labels for {len(images)} images; fetch it again")
    rows = [(str(i), int(label)) for i, label in enumerate(labels)]
    entries, classes, remarks = number_labels(rows, str(path))  # EMNIST's letters count from 1
    spec = infer_label_spec(entries, str(path))
    return Source(path, entries, spec, partial(_read, path), classes, remarks=remarks)


def _read(path: Path, name: str) -> Image.Image:
    return Image.fromarray(np.pad(_load(_file(path, _IMAGES), 3)[int(name)], _BORDER))


def _file(path: Path, name: str) -> Path:
    """Return the path of the file, with or without .gz."""
    packed = path / f"{name}.gz"
    return packed if packed.exists() else path / name


@lru_cache(maxsize=2)
def _load(file: Path, ndim: int) -> np.ndarray:
    """Read an idx file: 0, 0, 8 (uint8), number of dimensions, each dimension as big-endian uint32, the bytes."""
    start = 4 + 4 * ndim
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            head = stream.read(start)
            shape = [int.from_bytes(head[at : at + 4], "big") for at in range(4, start, 4)]
            size = math.prod(shape)
            is_idx = len(head) == start and head[:4] == bytes([0, 0, 8, ndim])
            if is_idx and size > _MAX_BYTES:
                raise DataError(f"{file} holds {size:,} bytes by its header; at most {_MAX_BYTES:,} are read")
            content = stream.read(size + 1) if is_idx else b""  # the end, too, where the checksum is verified
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be read: {error}; fetch it again") from error
    if not is_idx or len(content) != size:
        raise DataError(f"{file} is not a whole idx file of bytes with {ndim} dimensions; fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)
