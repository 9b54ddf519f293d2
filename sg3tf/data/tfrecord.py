"""TFRecord files and the tf.train.Example messages in them, without TensorFlow."""

from __future__ import annotations

import os
import struct
import weakref
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


class RecordFile:
    """The records of one TFRecord file; `read` is safe to call from several threads.

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
        """Return the name of record `i` for error messages."""
        return f"{self.path}: record {i}"

    def read(self, i: int) -> bytes:
        """Return the payload of record `i`; raises DataError if its checksum is wrong."""
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
    """Yield a function that appends a record; `path` appears only when the block succeeds."""
    with atomic_write(path) as file:

        def write(payload: bytes) -> None:
            length = _LENGTH.pack(len(payload))
            file.write(length + _CRC.pack(masked_crc(length)))
            file.write(payload + _CRC.pack(masked_crc(payload)))

        yield write
