"""LMDB folders as distributed by LSUN: each value is an encoded image, in key order; no labels."""

from __future__ import annotations

import io
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from PIL import Image

from sg3tf.data.errors import DataError
from sg3tf.data.labels import LabelSpec
from sg3tf.data.sources.source import Source
from sg3tf.image_files import open_image
from sg3tf.utils.extras import require

_ENCODING = "latin-1"  # keys are bytes, names are text


def recognizes(path: Path) -> bool:
    """Return True for an LMDB folder."""
    return (path / "data.mdb").is_file()


def find(path: Path) -> Source:
    """List the keys.

    Raises:
        MissingExtraError: lmdb is not installed.
        DataError: the database is damaged or empty.
    """
    try:
        with _open(path).begin() as transaction:
            keys = transaction.cursor().iternext(keys=True, values=False)
            entries = tuple((bytes(key).decode(_ENCODING), None) for key in keys)
    except _lmdb(path).Error as error:
        raise DataError(f"{path} is not a readable LMDB folder: {error}; copy it again") from error
    if not entries:
        raise DataError(f"{path} holds no images")
    return Source(path, entries, LabelSpec("none", 0), partial(_read, path))


def _read(path: Path, name: str) -> Image.Image:
    with _open(path).begin() as transaction:
        return open_image(io.BytesIO(transaction.get(name.encode(_ENCODING))))


def _lmdb(path: Path) -> Any:
    return require("lmdb", extra="lmdb", purpose=f"{path}: reading an LMDB folder")


@lru_cache(maxsize=1)
def _open(path: Path) -> Any:
    database = _lmdb(path).open(str(path), readonly=True, lock=False, readahead=False, max_spare_txns=1)
    there, needed = (path / "data.mdb").stat().st_size, (database.info()["last_pgno"] + 1) * database.stat()["psize"]
    if there < needed:  # to read beyond the end of a mapped file would kill the process
        raise DataError(f"{path / 'data.mdb'} has {there:,} of {needed:,} bytes; copy it again")
    return database
