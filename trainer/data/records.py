"""TFRecord files by random access, without TensorFlow.

A record is: length uint64, masked crc32c of the length uint32, payload, masked crc32c of the
payload uint32; everything little-endian.
"""

from __future__ import annotations

import os
import struct
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import google_crc32c
import numpy as np

from sg3tf.atomic import whole_file
from trainer.data.errors import DataError

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEADER = struct.Struct("<QI")
_REMEDY = "copy or build the file again"


def masked_crc(data: bytes) -> int:
    """The TFRecord checksum of `data`: crc32c, rotated right by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


class RecordFile:
    """The records of one TFRecord file; `read` is safe to call from many threads.

    Args:
      path: an existing TFRecord file (not compressed).

    Raises:
      DataError: the file is missing, or a header shows that it is truncated or corrupt.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise DataError(f"{path} cannot be opened: {error.strerror}") from error
        self.close = weakref.finalize(self, os.close, self._fd)
        self._offsets, self._lengths, self.checksums = self._index()

    def _index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Payload offsets int64 [N], lengths int64 [N] and stored checksums uint32 [N]."""
        size = os.fstat(self._fd).st_size
        entries: list[tuple[int, int]] = []
        checksums = bytearray()
        position = 0
        while position < size:
            header = os.pread(self._fd, _HEADER.size, position)
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
            checksums += os.pread(self._fd, _CRC.size, position - _CRC.size)
        table = np.array(entries, np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1], np.frombuffer(bytes(checksums), "<u4")

    def __len__(self) -> int:
        return len(self._offsets)

    def where(self, i: int) -> str:
        """How error messages name record `i`."""
        return f"{self.path}: record {i}"

    def read(self, i: int) -> bytes:
        """Returns the payload of record `i`, its checksum verified (else DataError)."""
        try:
            payload = os.pread(self._fd, int(self._lengths[i]), int(self._offsets[i]))
        except OSError as error:
            raise DataError(f"{self.where(i)} cannot be read: {error.strerror}") from error
        found, stored = masked_crc(payload), int(self.checksums[i])
        if found != stored:
            raise DataError(f"{self.where(i)} is corrupt (checksum {found:08x}, should be {stored:08x}); " + _REMEDY)
        return payload


@contextmanager
def record_writer(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Gives a function that appends a record; `path` appears only when the block succeeds."""
    with whole_file(path) as file:

        def write(payload: bytes) -> None:
            length = _LENGTH.pack(len(payload))
            file.write(length + _CRC.pack(masked_crc(length)))
            file.write(payload + _CRC.pack(masked_crc(payload)))

        yield write
