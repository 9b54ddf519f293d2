"""Random-access files, more of them than a process may have open."""

from __future__ import annotations

import itertools
import os
import resource
import threading
import weakref
from collections import OrderedDict
from pathlib import Path

from sg3tf.data.errors import DataError


class OpenFiles:
    """LRU cache of open files; the least recently used ones are closed when there are too many.

    A reader holds a reference to its OpenFile. If another thread evicts the file during a read, it is closed afterward.
    """

    def __init__(self) -> None:
        self._files: OrderedDict[int, OpenFile] = OrderedDict()
        self._lock = threading.RLock()  # a finalizer may run inside `get` and call `discard`

    def get(self, key: int, path: Path) -> OpenFile:
        """Return the open file of `key`; open `path` if it is closed."""
        with self._lock:
            file = self._files.get(key)
            if file is None:
                file = self._files[key] = OpenFile(path)
                while len(self._files) > max_open_files():
                    self._files.popitem(last=False)
            self._files.move_to_end(key)
            return file

    def discard(self, key: int) -> None:
        """Close the file of `key`."""
        with self._lock:
            self._files.pop(key, None)


class OpenFile:
    """File that is closed when its last reference is dropped."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self.descriptor)
        status = os.fstat(self.descriptor)
        self.size = status.st_size
        self.identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def max_open_files() -> int:
    """Return a quarter of the process's limit on open files (`ulimit -n`)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**30 if limit == resource.RLIM_INFINITY else max(limit // 4, 8)


_keys = itertools.count()


class RandomAccessFile:
    """File with thread-safe reads at any position.

    A process may have more of these than its limit on open files: they are reopened as needed.

    Args:
        path: an existing file.

    Raises:
        OSError: the file cannot be opened.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "letters"
        >>> path.write_text("abcdef")
        6
        >>> RandomAccessFile(path).read(2, 3)
        b'cde'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key = next(_keys)
        weakref.finalize(self, open_files.discard, self._key)
        file = open_files.get(self._key, path)
        self.size, self._identity = file.size, file.identity

    def read(self, position: int, size: int) -> bytes:
        """Return `size` bytes from `position`, or fewer at the end of the file.

        Raises:
            OSError: the file cannot be read.
            DataError: the file was rewritten since it was first opened.
        """
        file = open_files.get(self._key, self.path)
        if file.identity != self._identity:
            raise DataError(f"{self.path} was written anew while it was in use; start again")
        return os.pread(file.descriptor, size, position)


open_files = OpenFiles()
