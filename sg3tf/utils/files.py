"""Paths, atomic writes of files and folders, and SHA-256 digests."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

# Schemes of storage that is not a file system. A Path has lost the second slash.
_REMOTE = re.compile(
    r"(gs|s3[an]?|hdfs|viewfs|https?|ftps?|sftp|file|abfss?|wasbs?|adl|az|oss|dbfs|hf):/", re.IGNORECASE
)


def local_path(text: str) -> Path:
    """Return `text` as a path, with ~ expanded.

    Raises:
        ValueError: it names storage that is not a file system, such as gs://bucket/faces.
    """
    refuse_remote(text)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no such user, or no home
        raise ValueError(f"{text}: {error}") from error


def refuse_remote(path: str | os.PathLike[str]) -> None:
    """Raise ValueError if `path` is that of a bucket or a server, which would become a local folder named gs: or so."""
    if _REMOTE.match(str(path)):
        raise ValueError(
            f"{path}: give a local path, such as that of a mounted bucket; only file systems are supported"
        )


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary sibling of `path` for writing; on success it is flushed to disk and renamed to `path`."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        yield file


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield the name of a temporary sibling with the same suffix; the file written there is renamed to `path`.

    A device or a pipe, such as /dev/null, is written to as it is.
    """
    refuse_remote(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    temporary = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
    try:
        with naming_errors(path, temporary):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        with suppress(OSError):  # another one must not hide the first
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty sibling folder that is renamed to `path` if the block succeeds.

    Args:
        path: the folder to make; missing parents are made too.
        replace: replace an existing folder, at the end, instead of refusing.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
    """
    refuse_remote(path)
    if not replace:
        _refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process with the same ID
    try:
        with naming_errors(path, temporary):
            temporary.mkdir()
            yield temporary
            sync_folder(temporary)
            if replace and path.exists():
                os.rename(path, old)
            _refuse_existing(path)  # another process may have made it since the first check
            os.rename(temporary, path)
            sync(path.parent)
    finally:
        if old.exists() and not path.exists():  # interrupted between the two renames
            os.rename(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def naming_errors(path: Path, temporary: Path) -> Iterator[None]:
    """Name `path` in errors: those of open files name none, and users do not know the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(error.filename or path).replace(str(temporary), str(path))
        raise


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk, so that a power cut leaves no name without its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder and everything in it to disk."""
    for inside in (*path.rglob("*"), path):
        sync(inside)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise FileExistsError(f"{path} exists already; remove it or choose another destination")


# --- Paths for TensorFlow ---------------------------------------------------------------------------------------------

_PATTERN = re.compile(r"[*?\[\]\\]")


@contextmanager
def literal_folder(folder: Path) -> Iterator[Path]:
    """Yield a name of `folder` for functions of TensorFlow that take file names for patterns.

    tf.train.Checkpoint.read, tf.train.load_checkpoint and tf.saved_model.load look for files that match their argument,
    so that they cannot find what was written to `runs[a]`, and would read another folder that `runs*` matches. For such
    a name, this is a symbolic link in a folder for temporary files, which is there until the block ends.
    """
    if not _PATTERN.search(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        link = Path(temporary) / "folder"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


# --- Digests ----------------------------------------------------------------------------------------------------------

DIGESTS = "sha256.json"


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Write the digests of all files in `folder` into sha256.json beside them."""
    digests = {file.name: digest_file(file) for file in sorted(folder.iterdir())}
    (folder / DIGESTS).write_text(json.dumps(digests, indent=2) + "\n")


def verify_checksums(folder: Path) -> str | None:
    """Compare the files in `folder` with its sha256.json; return the first problem found, or None."""
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
