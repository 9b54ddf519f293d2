"""TFRecord files and their tf.train.Example messages, without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from google.protobuf import message

from sg3tf.data.errors import DataError
from sg3tf.data.open_files import RandomAccessFile
from sg3tf.utils.extras import require
from sg3tf.utils.files import atomic_write
from sg3tf.utils.protobuf import message_classes

google_crc32c = require("google_crc32c", extra="train", purpose="reading TFRecord files")

# --- tf.train.Example -------------------------------------------------------------------------------------------------

# From tensorflow/core/example: importing TensorFlow's own classes would take seconds in every worker process.
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
    """Serialize {feature name: bytes, or a list of int or float}; equal input gives equal bytes."""
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
FRAME = _HEADER.size + _CRC.size  # bytes of a record in addition to its payload
_REMEDY = "copy or build the file again"


def masked_crc(data: bytes) -> int:
    """Return the TFRecord checksum of `data`: crc32c, rotated right by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def begins_like_records(path: Path) -> bool:
    """Return True if a file begins with the length of a record and its checksum; raises OSError if it is unreadable."""
    with open(path, "rb") as file:
        header = file.read(_HEADER.size)
    return len(header) == _HEADER.size and masked_crc(header[: _LENGTH.size]) == _HEADER.unpack(header)[1]


class Starts(Protocol):
    """Offsets of all record headers of a file, and its size: N + 1 numbers."""

    size: int

    def __len__(self) -> int: ...
    def span(self, i: int) -> tuple[int, int]:
        """Return the positions of records i and i + 1."""

    def sizes(self) -> np.ndarray:
        """Return the bytes of every record with its frame, int64 [N]."""


class _Scanned:
    """Starts found by reading every record's header.

    Attributes:
        size: size of the file in bytes.
        checksums: stored checksums of the payloads, uint32 [N].
    """

    def __init__(self, positions: list[int], checksums: bytes) -> None:
        self._positions = np.array(positions, np.int64)
        self.size = positions[-1]
        self.checksums = np.frombuffer(checksums, "<u4")

    def __len__(self) -> int:
        return len(self._positions)

    def span(self, i: int) -> tuple[int, int]:
        return int(self._positions[i]), int(self._positions[i + 1])

    def sizes(self) -> np.ndarray:
        return np.diff(self._positions)


class RecordFile:
    """The records of one TFRecord file; `read` is safe to call from several threads.

    Args:
        path: an existing TFRecord file (not compressed).
        starts: record offsets from an index. Without it, or if the file size does not match the index, every header is
            read, which takes 6 seconds per million records.

    Attributes:
        is_indexed: True if the index was used.

    Raises:
        DataError: the file is missing, or a header shows that it is truncated or corrupt.
    """

    def __init__(self, path: Path, starts: Starts | None = None) -> None:
        self.path = path
        try:
            self._file = RandomAccessFile(path)
        except OSError as error:
            raise DataError(f"{path} cannot be opened: {error.strerror}") from error
        self.is_indexed = starts is not None and starts.size == self._file.size
        self._starts: Starts = starts if starts is not None and self.is_indexed else self._scan()

    def _scan(self) -> _Scanned:
        positions = [0]
        checksums = bytearray()
        size = self._file.size
        while (position := positions[-1]) < size:
            where = self.where(len(positions) - 1)
            header = self._pread(position, _HEADER.size, where)
            if len(header) < _HEADER.size:
                raise DataError(f"{where} is truncated inside its header; {_REMEDY}")
            length, crc = _HEADER.unpack(header)
            if masked_crc(header[: _LENGTH.size]) != crc:
                raise DataError(f"{where} is not a TFRecord (wrong length checksum); {_REMEDY}")
            end = position + FRAME + length
            if end > size:
                raise DataError(f"{where} is truncated: it should end at byte {end}, the file at {size}; {_REMEDY}")
            checksums += self._pread(end - _CRC.size, _CRC.size, where)
            positions.append(end)
        return _Scanned(positions, bytes(checksums))

    def _pread(self, position: int, size: int, where: str) -> bytes:
        try:
            return self._file.read(position, size)
        except OSError as error:
            raise DataError(f"{where} cannot be read: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self._starts) - 1

    def sizes(self) -> np.ndarray:
        """Return the bytes of every record with its frame, int64 [N]."""
        return self._starts.sizes()

    def checksums(self) -> np.ndarray:
        """Return the stored checksums of all records, uint32 [N]."""
        starts = self._starts if isinstance(self._starts, _Scanned) else self._scan()
        return starts.checksums

    def where(self, i: int) -> str:
        """Return the name of record `i` for error messages."""
        return f"{self.path}: record {i}"

    def read(self, i: int) -> bytes:
        """Return the payload of record `i`; raises DataError if one of its checksums is wrong."""
        start, end = self._starts.span(i)
        where = self.where(i)
        if not 0 <= start <= end - FRAME <= self._file.size - FRAME:
            raise DataError(f"{where} cannot be at bytes {start} to {end}, where the index has it; {_REMEDY}")
        content = self._pread(start, end - start, where)
        length, crc = _HEADER.unpack_from(content.ljust(_HEADER.size, b"\0"))
        if masked_crc(content[: _LENGTH.size]) != crc or length != len(content) - FRAME:
            raise DataError(f"{where} is corrupt, or does not begin at byte {start}, where the index has it; {_REMEDY}")
        payload = content[_HEADER.size : -_CRC.size]
        found, (stored,) = masked_crc(payload), _CRC.unpack(content[-_CRC.size :])
        if found != stored:
            raise DataError(f"{where} is corrupt (checksum {found:08x}, should be {stored:08x}); {_REMEDY}")
        return payload


@contextmanager
def record_writer(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Yield a function that appends a record; `path` appears only if the block succeeds."""
    with atomic_write(path) as file:

        def write(payload: bytes) -> None:
            length = _LENGTH.pack(len(payload))
            file.write(length + _CRC.pack(masked_crc(length)))
            file.write(payload + _CRC.pack(masked_crc(payload)))

        yield write
