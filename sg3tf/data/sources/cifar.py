"""The 50,000 training images of CIFAR-10's Python version, from cifar-10-python.tar.gz or the folder in it."""

from __future__ import annotations

import io
import tarfile
import zlib
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sg3tf.data.errors import DataError
from sg3tf.data.labels import LabelSpec
from sg3tf.data.sources.source import Source
from sg3tf.utils import safe_pickle

_FOLDER = "cifar-10-batches-py"
_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_META = "batches.meta"
_SHAPE = (3, 32, 32)
_MAX_BYTES = 2**26  # of a batch, which has 31 MB; the tar file is compressed


def recognizes(path: Path) -> bool:
    """Return True for the tar file, the folder in it, or that folder's parent."""
    if path.is_file():
        return not path.name.endswith(".tfrecords") and tarfile.is_tarfile(path) and _begins_like_cifar(path)
    return (_folder(path) / _BATCHES[0]).is_file()


def _begins_like_cifar(path: Path) -> bool:
    """Check only the first files of a tar file: listing all of them takes as long as reading it."""
    try:
        with tarfile.open(path) as archive:
            return any(Path(member.name).name in (*_BATCHES, _META) for member in islice(archive, 20))
    except (OSError, EOFError, zlib.error, tarfile.TarError):  # damaged: `find` reports the problem
        return "cifar" in path.name


def find(path: Path) -> Source:
    """List the images, batch by batch.

    Raises:
        DataError: a batch is missing, or is not from CIFAR-10.
    """
    classes = tuple(_list(path, _META, "label_names", str))
    entries = []
    for batch in _BATCHES:
        labels = _list(path, batch, "labels", int)
        if len(labels) != len(_pixels(path, batch)):
            raise DataError(f"{path}: {batch} has {len(labels)} labels for {len(_pixels(path, batch))} images")
        entries += [(f"{batch}/{i}", label) for i, label in enumerate(labels)]
    return Source(path, tuple(entries), LabelSpec("class", len(classes)), partial(_read, path), classes)


def _read(path: Path, name: str) -> Image.Image:
    batch, _, index = name.partition("/")
    return Image.fromarray(_pixels(path, batch)[int(index)].reshape(_SHAPE).transpose(1, 2, 0))


def _pixels(path: Path, batch: str) -> np.ndarray:
    """Return the pixels of a batch, uint8 [N, 3072]."""
    stored = _entry(path, batch, "data")
    pixels = stored.value if isinstance(stored, safe_pickle.PickledArray) else np.empty(0)
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (np.prod(_SHAPE),):
        raise DataError(f"{path}: the data of {batch} are not uint8 [N, 3072]; fetch cifar-10-python.tar.gz again")
    return pixels


def _list(path: Path, name: str, key: str, kind: type) -> list[Any]:
    values = _entry(path, name, key)
    if kind is str and isinstance(values, list):
        values = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values]
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise DataError(f"{path}: the {key} of {name} are not a list of {kind.__name__}; fetch it again")
    return values


def _entry(path: Path, name: str, key: str) -> Any:
    batch = _load(path, name)
    # Files written again by Python 3 have the keys as bytes.
    if isinstance(batch, dict) and (found := batch.get(key, batch.get(key.encode()))) is not None:
        return found
    raise DataError(f"{path}: {name} has no {key}; it must be CIFAR-10's Python version")


@lru_cache(maxsize=len(_BATCHES) + 1)
def _load(path: Path, name: str) -> Any:
    content = _bytes(path, name)
    try:
        return safe_pickle.load(io.BytesIO(content), safe_pickle.ALLOWED, set_state=safe_pickle.set_state)
    except safe_pickle.PickleError as error:
        reason = " ".join(str(error).split())  # names in the file may contain line breaks
        raise DataError(f"{path}: {name} is not a batch of CIFAR-10's Python version: {reason}") from error


def _bytes(path: Path, name: str) -> bytes:
    try:
        return _members(path)[name] if path.is_file() else (_folder(path) / name).read_bytes()
    except (OSError, KeyError) as error:
        raise DataError(f"{path} lacks {_FOLDER}/{name}; fetch cifar-10-python.tar.gz again") from error


@lru_cache(maxsize=1)
def _members(path: Path) -> dict[str, bytes]:
    """Return the files in the tar file, which is compressed as a whole and so must be read sequentially."""
    try:
        with tarfile.open(path) as archive:
            found = {}
            for member in archive:
                name = Path(member.name).name
                if not member.isreg() or name not in (*_BATCHES, _META):
                    continue
                if member.size > _MAX_BYTES:
                    raise DataError(f"{path}: {name} has {member.size:,} bytes, more than a batch of CIFAR-10")
                if file := archive.extractfile(member):
                    found[name] = file.read()
            while archive.fileobj and archive.fileobj.read(1 << 20):
                pass  # read to the end, where the checksum is verified
            return found
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{path} is not a readable tar file: {error}; fetch it again") from error


def _folder(path: Path) -> Path:
    return path / _FOLDER if (path / _FOLDER).is_dir() else path
