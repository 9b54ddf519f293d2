"""Locks between processes, also on several hosts."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_MOST_ATTEMPTS = 100


@contextmanager
def locked_file(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which is created, and removed at the end.

    The system releases the lock when the process ends. A lock on a folder would not exclude other hosts: NFS passes on
    only those of regular files that are open for writing.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file cannot be created, or the file system has no locks.
    """
    for _ in range(_MOST_ATTEMPTS):
        with _opened(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                is_current = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                is_current = False
            if not is_current:
                continue  # another process has just removed the locked file
            try:
                yield
            finally:
                with suppress(OSError):  # which must not hide an error before it
                    path.unlink(missing_ok=True)
            return
    raise OSError(f"{path} cannot be locked: it is replaced again and again")


def _opened(path: Path) -> IO[str]:
    try:
        return open(path, "a")
    except PermissionError:  # another user's, in a folder of several users; on local disks, this is enough for a lock
        return open(path)
