"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trainer.data.errors import DataError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens `path` for writing under a temporary name; it gets its own name after fsync."""
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields an empty sibling folder that is renamed to `path` if the block succeeds.

    Raises:
      DataError: `path` exists already; it is never overwritten.
    """
    _refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    temporary.mkdir()
    try:
        yield temporary
        _refuse_existing(path)  # somebody may have made it meanwhile
        os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise DataError(f"{path} exists already; remove it or choose another destination")
