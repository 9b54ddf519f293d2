"""Files that are read at any position, more of them than a process may open."""

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
    """Descriptors of open files, the least recently used of which are closed where there are too many.

    A reader holds the object that a descriptor belongs to: a file that another thread pushes out while it is read is
    closed after that.
    """

    def __init__(self) -> None:
        self._files: OrderedDict[int, OpenFile] = OrderedDict()
        self._lock = threading.RLock()  # a finalizer may run inside `get` and call `discard`

    def get(self, key: int, path: Path) -> OpenFile:
        """Return the open file of `key`, and open `path` if it is closed."""
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
    """A file that is closed with the last reference to it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self.descriptor)
        status = os.fstat(self.descriptor)
        self.size = status.st_size
        self.identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def max_open_files() -> int:
    """Return a quarter of the files that the process may open (`ulimit -n`)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**30 if limit == resource.RLIM_INFINITY else max(limit // 4, 8)


_keys = itertools.count()


class RandomAccessFile:
    """A file that is read at any position, safe to read from several threads.

    A process may have more of them than it may open files: they are opened again as they are read.

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
        """Return the bytes from `position` on, fewer than `size` at the end of the file.

        Raises:
          OSError: the file cannot be read.
          DataError: it was written anew since it was opened first.
        """
        file = open_files.get(self._key, self.path)
        if file.identity != self._identity:
            raise DataError(f"{self.path} was written anew while it was in use; start again")
        return os.pread(file.descriptor, size, position)


open_files = OpenFiles()
