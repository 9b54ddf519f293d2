"""Read and write NumPy array files, with damage detection and precise errors."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

_LARGE, _MAX_RATIO = 2**30, 16  # bytes of arrays, and their ratio to the file above it; zeros shrink to a thousandth


def save_npy(file: BinaryIO, array: NDArray[Any]) -> None:
    """Write an array in .npy format, as np.save does.

    np.save writes ordinary files with C functions, and reports a full disk as "32 requested and 0 written".

    Raises:
        OSError: the file cannot be written; the message gives the reason.
    """
    np.save(cast(BinaryIO, SimpleNamespace(write=file.write)), array, allow_pickle=False)


def read_npy(path: Path, mode: Literal["r", "r+"] | None = None) -> NDArray[Any]:
    """Read the array in a .npy file.

    Args:
        path: the file.
        mode: memory-map it for reading ("r") or for reading and writing ("r+"); None to read it into memory.

    Raises:
        OSError: the file cannot be opened.
        ValueError: wrong kind of file, or damaged; the message does not include its name.
    """
    try:
        return cast("NDArray[Any]", np.load(path, mmap_mode=mode, allow_pickle=False))
    except Exception as error:
        raise _unreadable(error) from error


def read_npz(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read arrays of an .npz file, and verify their checksums.

    Args:
        path: the file.
        names: names of the arrays to read, for large files; None for all, so that any damage is found.

    Raises:
        OSError: the file cannot be opened.
        ValueError: wrong kind of file, damaged, without these arrays, or compressed to far less than their size; the
            message does not include its name.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            _check_size(path, archive.zip)
            if names is not None:
                return {name: archive[name] for name in names}
            _check_archive(path, archive.zip)
            return dict(archive)
    except Exception as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> Exception:
    """Return the error to raise, because zipfile and NumPy raise many types for damaged files."""
    if isinstance(error, OSError) and error.filename is not None:  # the file cannot be opened
        return error
    return ValueError(" ".join(str(error).split()) or type(error).__name__)


def _check_size(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise ValueError if a small file would fill the memory."""
    size = sum(entry.file_size for entry in archive.infolist())
    if size > max(_LARGE, _MAX_RATIO * path.stat().st_size):
        raise ValueError(f"its arrays have {size:,} bytes, too many for a file of this size")


def _check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise ValueError if any bit of the archive has changed, which might hide an optional array."""
    if damaged := archive.testzip():
        raise ValueError(f"{damaged} is damaged")
    with open(path, "rb") as file:
        file.seek(-22, os.SEEK_END)  # zipfile does not compare the file count stored here with the files it finds
        end = file.read()
    if end.startswith(b"PK\5\6") and int.from_bytes(end[10:12], "little") != len(archive.infolist()):
        raise ValueError("its table of contents is damaged")
