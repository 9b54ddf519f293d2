"""Paths, and atomic writes of files and folders."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import glob
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from sg3tf.utils.json_text import from_json

# Schemes of storage that is not a file system. A Path drops the second slash.
_REMOTE = re.compile(
    r"(gs|s3[an]?|hdfs|viewfs|https?|ftps?|sftp|file|abfss?|wasbs?|adl|az|oss|dbfs|hf):/", re.IGNORECASE
)


def cache_folder() -> Path | None:
    """Return $XDG_CACHE_HOME/sg3tf, or that folder under ~/.cache; None without a home folder."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sg3tf"
    except RuntimeError:  # neither HOME nor a passwd entry, as in some containers
        return None


def local_path(text: str) -> Path:
    """Return `text` as a path, with ~ expanded.

    Raises:
        ValueError: it names storage that is not a file system, such as gs://bucket/faces.
    """
    reject_remote(text)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no such user, or no home
        raise ValueError(f"{text}: {error}") from error


def reject_remote(path: str | os.PathLike[str]) -> None:
    """Raise ValueError if `path` names a bucket or a server; it would become a local folder such as gs: otherwise."""
    if _REMOTE.match(str(path)):
        raise ValueError(
            f"{path}: give a local path, such as that of a mounted bucket; only file systems are supported"
        )


def require_readable(path: Path) -> None:
    """Raise PermissionError if `path` is a file or folder that this user cannot read."""
    needed = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    if path.exists() and not os.access(path, needed):
        raise PermissionError(errno.EACCES, "this user may not read it", str(path))


def require_writable(folder: Path) -> None:
    """Make a folder unless it exists, and raise OSError if files cannot be written there."""
    reject_remote(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()  # unlike os.access, tries it; nothing is left


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary sibling of `path` for writing; on success it is flushed to disk and renamed to `path`."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        yield file


MAX_NAME_BYTES = 255  # limit of all common file systems
_KEPT_BYTES, _MAX_SUFFIX_BYTES = 184, 32  # leave room for a digest, .partial- and the result of `process_token`


def process_token() -> str:
    """Return the process ID with random digits, for temporary names.

    On a volume shared by several containers, the ID alone would not be unique.
    """
    return f"{os.getpid()}-{secrets.token_hex(4)}"


def hidden_name(name: str, ending: str) -> str:
    """Return .NAME plus `ending`, for a temporary file or folder next to `name`.

    The end of a long name is replaced by digits of its digest, to stay within the file system's limit.
    """
    encoded = os.fsencode(name)
    if len(encoded) > _KEPT_BYTES:
        name = f"{encoded[:_KEPT_BYTES].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:8]}"
    return f".{name}{ending}"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary sibling with the same suffix; the file written there is renamed to `path`.

    Devices and pipes, such as /dev/null, are written to directly.
    """
    reject_remote(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    _remove_unfinished(path.parent)
    suffix = path.suffix if len(os.fsencode(path.suffix)) < _MAX_SUFFIX_BYTES else ""
    temporary = path.with_name(hidden_name(path.name.removesuffix(suffix), f".partial-{process_token()}{suffix}"))
    try:
        with errors_name_path(path, temporary):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        with suppress(OSError):  # a second error must not hide the first
            temporary.unlink(missing_ok=True)


UNFINISHED_AFTER_S = 3600
ABANDONED_AFTER_S = 24 * 3600  # even if a process has this ID: IDs of killed containers are reused in others


@functools.cache  # once per process and folder
def _remove_unfinished(folder: Path) -> None:
    """Remove files that killed processes left under temporary names.

    A running process may be on another machine, with an unknown ID. It writes more often than once an hour.
    """
    for file in folder.glob(".*.partial-*"):
        process = re.search(r"\.partial-(\d{1,9})(-[0-9a-f]{8})?(\.[^.]*)?$", file.name)
        with suppress(OSError):  # another process may remove it, too
            if process and file.is_file():
                age = time.time() - file.stat().st_mtime
                if age > ABANDONED_AFTER_S or (age > UNFINISHED_AFTER_S and not _is_running(int(process[1]))):
                    file.unlink()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # belongs to another user
        pass
    return True


def append_line(path: Path, line: str) -> None:
    """Append a line to a file; if it cannot be written completely, the file is left unchanged.

    Raises:
        OSError: the file cannot be written.
    """
    reject_remote(path)
    with errors_name_path(path, path), open(path, "ab", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size  # tell() fails for pipes
        rest = memoryview(f"{line}\n".encode())
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            with suppress(OSError):  # a second error must not hide the first
                file.truncate(end)
            raise


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a .jsonl file, except for a line still being written; return [] if the file does not exist.

    Raises:
        ValueError: a line is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break
        try:
            found.append(from_json(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: damaged ({error}); remove the line") from error
    return found


@contextmanager
def atomic_directory(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty sibling folder that is renamed to `path` if the block succeeds.

    Args:
        path: the folder to create; missing parents are created, too.
        replace: replace an existing folder at the end, instead of raising an error.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
    """
    reject_remote(path)
    recover_replaced(path)
    if not replace:
        _refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    family = hidden_name(path.name, ".partial-")
    temporary = path.with_name(f"{family}{process_token()}")
    with errors_name_path(path, temporary), temporary_folder(temporary, f"{glob.escape(family)}*"):
        yield temporary
        sync_folder(temporary)
        if replace and path.exists():
            _replace_folder(temporary, path)
        else:
            _refuse_existing(path)  # another process may have created it since the first check
            os.rename(temporary, path)
        sync(path.parent)


_SCRATCH = "sg3tf-scratch-"  # of names of temporary folders


@contextmanager
def temporary_folder(folder: Path, family: str, mode: int = 0o777) -> Iterator[None]:
    """Create a folder that is removed when the block ends, unless it has been renamed.

    Folders that killed processes left next to it are removed, too. Each folder is locked while in use, and the kernel
    releases the lock when its process ends. If the file system has no locks, they are not removed.

    Args:
        folder: folder to create, with a unique name.
        family: pattern that matches the names of all such folders.
        mode: permissions of the folder, before the umask.
    """
    for other in folder.parent.glob(family):
        if other.is_symlink():  # any user can make one in the system's temporary folder, to a folder in use
            continue
        with suppress(OSError), locked(other, wait=False):
            shutil.rmtree(other, ignore_errors=True)
    with ExitStack() as stack:
        while True:
            folder.mkdir(mode)
            with suppress(OSError):
                stack.enter_context(locked(folder))
            if folder.exists():  # another process may have removed it before it was locked
                break
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield an empty, private folder in the system's temporary folder or in `parent`.

    It is removed when the block ends; leftovers of killed processes are removed, too.
    """
    folder = (parent or Path(tempfile.gettempdir())) / f"{_SCRATCH}{secrets.token_hex(8)}"
    with temporary_folder(folder, f"{_SCRATCH}*", mode=0o700):
        yield folder


@contextmanager
def locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on a folder within a `with` block.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is False.
        OSError: the file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)  # a pipe of this name would wait for a writer
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _replace_folder(new: Path, path: Path) -> None:
    """Replace the folder `path` with `new`; the old one is removed, or restored after an error."""
    if _exchange(new, path):
        shutil.rmtree(new, ignore_errors=True)
        return
    old = path.with_name(hidden_name(path.name, f".old-{process_token()}"))
    os.rename(path, old)
    try:
        os.rename(new, path)
    finally:
        recover_replaced(path)
    shutil.rmtree(old, ignore_errors=True)


RENAME_EXCHANGE = 2  # from linux/fs.h
AT_FDCWD = -100


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders atomically, so that neither is ever missing.

    Returns:
        False if the call is not available: on systems other than Linux, and on some file systems, such as NFS.
    """
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def recover_replaced(path: Path) -> None:
    """Restore the folder `path` if a process was killed while replacing it, on a file system without exchange."""
    if not path.exists():
        for old in path.parent.glob(f"{glob.escape(hidden_name(path.name, '.old-'))}*"):
            with suppress(FileNotFoundError):  # another worker has just done it
                os.rename(old, path)
            return


_NOT_SUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


@contextmanager
def errors_name_path(path: Path, temporary: Path) -> Iterator[None]:
    """Name `path` in errors: errors of open files have no name, and users do not know the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = str(error.filename or path).replace(str(temporary), str(path))
        raise


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to disk, so that a power failure leaves no name without its content.

    Folders are not flushed on file systems that cannot do it, such as folders that VirtualBox shares.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _NOT_SUPPORTED and path.is_dir():
            return
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
    if path.is_symlink():
        raise FileExistsError(f"{path} is a link to {os.readlink(path)}, which does not exist; make or remove it")


# --- Paths for TensorFlow ---------------------------------------------------------------------------------------------

_PATTERN = re.compile(r"[*?\[\]\\]")
_OTHER_PLACES = ("/tmp", "/var/tmp")  # for links, if the name of the temporary folder is a pattern, too


@contextmanager
def literal_folder(folder: Path) -> Iterator[Path]:
    """Yield a path to `folder` for TensorFlow functions that treat file names as patterns.

    tf.train.Checkpoint.read, tf.train.load_checkpoint and tf.saved_model.load search for files that match their
    argument. They cannot find what was written to `runs[a]`, and would read another folder that `runs*` matches. For
    such names, this is a symbolic link in a temporary folder, which exists until the block ends.

    Raises:
        OSError: the link cannot be created.
    """
    if not _PATTERN.search(str(folder)):
        yield folder
        return
    places = [place for place in (tempfile.gettempdir(), *_OTHER_PLACES) if not _PATTERN.search(place)]
    place = next((place for place in places if os.access(place, os.W_OK)), None)
    if place is None:
        raise OSError(
            f"{folder}: TensorFlow takes this name for a pattern; rename it, or set TMPDIR to a folder of a name "
            "without any of *?[]\\, for a link to it"
        )
    with scratch_folder(Path(place)) as scratch:
        link = scratch / "folder"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link
