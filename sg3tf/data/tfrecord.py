"""TFRecord files and the tf.train.Example messages in them, without TensorFlow."""

from __future__ import annotations

import itertools
import os
import resource
import struct
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import message

from sg3tf.data.errors import DataError
from sg3tf.utils.extras import require
from sg3tf.utils.files import atomic_write
from sg3tf.utils.protobuf import message_classes

google_crc32c = require("google_crc32c", extra="train", purpose="reading TFRecord files")

# --- tf.train.Example -------------------------------------------------------------------------------------------------

# Of tensorflow/core/example: importing TensorFlow's own classes would take seconds in every worker process.
_Example = message_classes(
    "sg3tf",
    """
    message BytesList {
      repeated bytes value = 1;
    }
    message FloatList {
      repeated float value = 1;
    }
    message Int64List {
      repeated int64 value = 1;
    }
    message Feature {
      oneof kind {
        BytesList bytes_list = 1;
        FloatList float_list = 2;
        Int64List int64_list = 3;
      }
    }
    message Features {
      map<string, Feature> feature = 1;
    }
    message Example {
      Features features = 1;
    }
    """,
)["Example"]


def parse_example(payload: bytes, where: str) -> dict[str, Sequence[Any]]:
    """Return {feature name: its bytes, floats or ints}; `where` names the record in errors."""
    try:
        features = _Example.FromString(payload).features.feature
    except message.DecodeError as error:
        raise DataError(f"{where} is not a tf.train.Example: {error}") from error
    parsed: dict[str, Sequence[Any]] = {}
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        parsed[name] = getattr(feature, kind).value if kind else ()
    return parsed


def serialize_example(features: Mapping[str, bytes | Sequence[int] | Sequence[float]]) -> bytes:
    """Serialize {feature name: bytes, or a list of int or of float}; equal input gives equal bytes."""
    example = _Example()
    for name, value in features.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif all(isinstance(number, int) for number in value):
            feature.int64_list.value.extend(value)
        else:
            feature.float_list.value.extend(value)
    return bytes(example.SerializeToString(deterministic=True))


# --- TFRecord files ---------------------------------------------------------------------------------------------------

# A record is: length uint64, masked crc32c of the length uint32, payload, masked crc32c of the payload uint32; all
# little-endian.
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEADER = struct.Struct("<QI")
_REMEDY = "copy or build the file again"


def masked_crc(data: bytes) -> int:
    """Return the TFRecord checksum of `data`: crc32c, rotated right by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


class _OpenFiles:
    """Descriptors of open files, the least recently used of which are closed where there are too many.

    A reader holds the object that a descriptor belongs to: a file that another thread pushes out while it is read is
    closed after that.
    """

    def __init__(self) -> None:
        self._files: OrderedDict[int, _OpenFile] = OrderedDict()
        self._lock = threading.RLock()  # a finalizer may run inside `get` and call `discard`

    def get(self, key: int, path: Path) -> _OpenFile:
        """Return the open file of `key`, and open `path` if it is closed."""
        with self._lock:
            file = self._files.get(key)
            if file is None:
                file = self._files[key] = _OpenFile(path)
                while len(self._files) > _max_open_files():
                    self._files.popitem(last=False)
            self._files.move_to_end(key)
            return file

    def discard(self, key: int) -> None:
        """Close the file of `key`."""
        with self._lock:
            self._files.pop(key, None)


class _OpenFile:
    """A file that is closed with the last reference to it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self.descriptor)
        status = os.fstat(self.descriptor)
        self.size = status.st_size
        self.identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _max_open_files() -> int:
    """Return a quarter of the files that the process may open (`ulimit -n`)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**30 if limit == resource.RLIM_INFINITY else max(limit // 4, 8)


_open_files = _OpenFiles()
_keys = itertools.count()


class RecordFile:
    """The records of one TFRecord file; `read` is safe to call from several threads.

    A process may have more of them than it may open files: they are opened again as they are read.

    Args:
      path: an existing TFRecord file (not compressed).

    Raises:
      DataError: the file is missing, or a header shows that it is truncated or corrupt.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key = next(_keys)
        weakref.finalize(self, _open_files.discard, self._key)
        self._identity = self._open().identity
        self._offsets, self._lengths, self.checksums = self._index()

    def _open(self) -> _OpenFile:
        try:
            return _open_files.get(self._key, self.path)
        except OSError as error:
            raise DataError(f"{self.path} cannot be opened: {error.strerror}") from error

    def _index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Payload offsets int64 [N], lengths int64 [N] and stored checksums uint32 [N]."""
        file = self._open()
        descriptor, size = file.descriptor, file.size
        entries: list[tuple[int, int]] = []
        checksums = bytearray()
        position = 0
        while position < size:
            header = os.pread(descriptor, _HEADER.size, position)
            where = self.where(len(entries))
            if len(header) < _HEADER.size:
                raise DataError(f"{where} is truncated inside its header; {_REMEDY}")
            length, crc = _HEADER.unpack(header)
            if masked_crc(header[: _LENGTH.size]) != crc:
                raise DataError(f"{where} is not a TFRecord (wrong length checksum); {_REMEDY}")
            start, position = position + _HEADER.size, position + _HEADER.size + length + _CRC.size
            if position > size:
                raise DataError(
                    f"{where} is truncated: it should end at byte {position}, the file at {size}; {_REMEDY}"
                )
            entries.append((start, length))
            checksums += os.pread(descriptor, _CRC.size, position - _CRC.size)
        table = np.array(entries, np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1], np.frombuffer(bytes(checksums), "<u4")

    def __len__(self) -> int:
        return len(self._offsets)

    def where(self, i: int) -> str:
        """Return the name of record `i` for error messages."""
        return f"{self.path}: record {i}"

    def read(self, i: int) -> bytes:
        """Return the payload of record `i`; raises DataError if its checksum is wrong."""
        file = self._open()
        if file.identity != self._identity:
            raise DataError(f"{self.path} was written anew while it was in use; start again")
        try:
            payload = os.pread(file.descriptor, int(self._lengths[i]), int(self._offsets[i]))
        except OSError as error:
            raise DataError(f"{self.where(i)} cannot be read: {error.strerror}") from error
        found, stored = masked_crc(payload), int(self.checksums[i])
        if found != stored:
            raise DataError(f"{self.where(i)} is corrupt (checksum {found:08x}, should be {stored:08x}); " + _REMEDY)
        return payload


@contextmanager
def record_writer(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Yield a function that appends a record; `path` appears only when the block succeeds."""
    with atomic_write(path) as file:

        def write(payload: bytes) -> None:
            length = _LENGTH.pack(len(payload))
            file.write(length + _CRC.pack(masked_crc(length)))
            file.write(payload + _CRC.pack(masked_crc(payload)))

        yield write
