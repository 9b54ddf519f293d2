"""Files of NumPy arrays: errors that say what is wrong, and damage that is found."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray


def save_npy(file: BinaryIO, array: NDArray[Any]) -> None:
    """Write an array in the form of .npy, as np.save does.

    np.save hands an ordinary file to C functions, and reports a full disk as "32 requested and 0 written".

    Raises:
        OSError: it cannot be written, for the reason that it names.
    """
    np.save(cast(BinaryIO, SimpleNamespace(write=file.write)), array, allow_pickle=False)


def read_npy(path: Path, mode: Literal["r", "r+"] | None = None) -> NDArray[Any]:
    """Read the array in a .npy file.

    Args:
        path: the file.
        mode: map it into memory where it is used, for reading ("r") or also for writing ("r+"); None: read it whole.

    Raises:
        OSError: it cannot be opened.
        ValueError: another kind of file, or a damaged one; the message lacks its name.
    """
    try:
        return cast("NDArray[Any]", np.load(path, mmap_mode=mode, allow_pickle=False))
    except Exception as error:
        raise _unreadable(error) from error


def read_npz(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read arrays of an .npz file, and compare the checksums of what is read.

    Args:
        path: the file.
        names: of the arrays to read, of a large file; None: all, so that damage is found wherever it is.

    Raises:
        OSError: it cannot be opened.
        ValueError: another kind of file, a damaged one, or one without these arrays; the message lacks its name.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if names is not None:
                return {name: archive[name] for name in names}
            _check_archive(path, archive.zip)
            return dict(archive)
    except Exception as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> Exception:
    """Return the error to raise, as damaged files make zipfile and NumPy raise errors of many types."""
    if isinstance(error, OSError) and error.filename is not None:  # it cannot be opened
        return error
    return ValueError(" ".join(str(error).split()) or type(error).__name__)


def _check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise ValueError if a bit of the archive has changed, by which an array may be missed that is not required."""
    if damaged := archive.testzip():
        raise ValueError(f"{damaged} is damaged")
    with open(path, "rb") as file:
        file.seek(-22, os.SEEK_END)  # zipfile does not compare the number of files in this with those that it finds
        end = file.read()
    if end.startswith(b"PK\5\6") and int.from_bytes(end[10:12], "little") != len(archive.infolist()):
        raise ValueError("its table of contents is damaged")
