"""Index of a data set: the byte offset of each record, so that opening the data set reads no records.

The file starts with a line that names its format, padded to 16 bytes. N + 1 little-endian uint64 numbers follow: the
offsets of the N records in all shards, one shard after the other, and the total number of bytes. Entries are read on
demand, so the index takes no memory. Reading a record checks its offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sg3tf.data.errors import DataError
from sg3tf.data.open_files import RandomAccessFile
from sg3tf.utils.files import atomic_write

INDEX = "records.index"
_FORMAT = b"sg3tf-index-1\n".ljust(16)
_ENTRY = np.dtype("<u8")


class RecordIndex:
    """Offsets of the records of all shards, read from a file.

    Args:
        file: file written by `write_index`.
        num_records: number of records in all shards.

    Raises:
        DataError: the file is missing, or is not an index of this many records.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_index(folder, [20, 30, 40])
        >>> index = RecordIndex(folder / INDEX, num_records=3)
        >>> index.shard(first=1, count=2).span(1)
        (30, 70)
    """

    def __init__(self, file: Path, num_records: int) -> None:
        try:
            self._file = RandomAccessFile(file)
            begin = self._file.read(0, len(_FORMAT))
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error.strerror}") from error
        if begin != _FORMAT or self._file.size != len(_FORMAT) + _ENTRY.itemsize * (num_records + 1):
            raise DataError(f"{file} is not an index of {num_records} records; delete it")

    def positions(self, first: int, count: int) -> np.ndarray:
        """Return the offsets of `count` records, uint64 [count]; raises DataError if they cannot be read."""
        start, size = len(_FORMAT) + _ENTRY.itemsize * first, _ENTRY.itemsize * count
        try:
            content = self._file.read(start, size)
        except OSError as error:
            raise DataError(f"{self._file.path} cannot be read: {error.strerror}") from error
        if len(content) < size:
            raise DataError(f"{self._file.path} is truncated; delete it: it is optional")
        return np.frombuffer(content, _ENTRY)

    def shard(self, first: int, count: int) -> ShardStarts:
        """Return the record offsets of a shard in its file; `first` is the index of its first record."""
        return ShardStarts(self, first, count)


class ShardStarts:
    """Offsets of the records of one shard in its file.

    Args:
        index: index of all shards.
        first, count: the shard's range of records in the data set.

    Attributes:
        size: size of the file in bytes, according to the index.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_index(folder, [20, 30, 40])
        >>> ShardStarts(RecordIndex(folder / INDEX, num_records=3), first=0, count=1).size
        20
    """

    def __init__(self, index: RecordIndex, first: int, count: int) -> None:
        self._index, self._first, self._count = index, first, count
        self._begin = int(index.positions(first, 1)[0])
        self.size = int(index.positions(first + count, 1)[0]) - self._begin

    def __len__(self) -> int:
        return self._count + 1

    def span(self, i: int) -> tuple[int, int]:
        """Return the offsets of records i and i + 1."""
        start, end = self._index.positions(self._first + i, 2).tolist()
        return start - self._begin, end - self._begin

    def sizes(self) -> np.ndarray:
        """Return the size in bytes of every record, including its framing, int64 [N]."""
        return np.diff(self._index.positions(self._first, len(self)).astype(np.int64))


def write_index(folder: Path, sizes: Sequence[int] | np.ndarray) -> None:
    """Write the index of a data set into its folder.

    Args:
        folder: folder of the shards.
        sizes: bytes of every record, including its framing, in the order of the data set.
    """
    with atomic_write(folder / INDEX) as file:
        file.write(_FORMAT)
        file.write(bytes(_ENTRY.itemsize))
        file.write(np.cumsum(sizes, dtype=_ENTRY).tobytes())
