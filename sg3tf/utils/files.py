"""Atomic writes of files and directories, and their SHA-256 digests."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens `path` for writing under a temporary name; it gets its own name when it is on the disk."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        yield file


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling of the same suffix, to write a file to that then gets the name `path`."""
    temporary = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yields an empty sibling folder that is renamed to `path` if the block succeeds.

    Args:
        path: the folder to be.
        replace: let it take the place of one that exists, at the end.

    Raises:
        FileExistsError: `path` exists already, and is not to be replaced.
    """
    if not replace:
        _refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process of the same number
    temporary.mkdir()
    try:
        yield temporary
        sync_folder(temporary)
        if replace and path.exists():
            os.rename(path, old)
        _refuse_existing(path)  # somebody may have made it meanwhile
        os.rename(temporary, path)
        sync(path.parent)
    finally:
        if old.exists() and not path.exists():  # stopped between the two renames
            os.rename(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def sync(path: Path) -> None:
    """Puts a file, or the names in a folder, on the disk: a power cut must not leave a name without its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Puts a folder with all that is in it on the disk."""
    for inside in (*path.rglob("*"), path):
        sync(inside)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise FileExistsError(f"{path} exists already; remove it or choose another destination")


def digest_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


DIGESTS = "sha256.json"


def write_checksums(folder: Path) -> None:
    """Writes the digests of all files in `folder`."""
    digests = {file.name: digest_file(file) for file in sorted(folder.iterdir())}
    (folder / DIGESTS).write_text(json.dumps(digests, indent=2) + "\n")


def verify_checksums(folder: Path) -> str | None:
    """What is wrong with a sealed folder; None if nothing is."""
    try:
        digests = dict(json.loads((folder / DIGESTS).read_text()))
    except (OSError, ValueError, TypeError) as error:
        return f"{DIGESTS} cannot be read: {error}"
    for name, expected in digests.items():
        try:
            found = digest_file(folder / name)
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if found != expected:
            return f"{name} is damaged: its content has changed since it was written"
    return None
