"""Output of img2dataset: folders of NNNNN.tfrecord, NNNNN.tar or NNNNN.parquet files with images; no labels.

Each TFRecord is a tf.train.Example with the image file in the feature `jpg`, `png` or `webp` and its name in `key`.
Parquet files have columns with these names, and tar files (the WebDataset format) contain files with these suffixes.
Parquet files without such a column are metadata for the TFRecords or tar files in the same folder.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from sg3tf.data.errors import DataError
from sg3tf.data.labels import LabelSpec
from sg3tf.data.sources.files import count_images
from sg3tf.data.sources.source import Source
from sg3tf.data.tfrecord import RecordFile, parse_example
from sg3tf.image_files import open_image
from sg3tf.utils.extras import require

IMAGE_COLUMNS = ("jpg", "png", "webp")
_ENDINGS = (*IMAGE_COLUMNS, "jpeg")
_ABOUT_IMAGES = ("txt", "json")  # captions and their metadata


def recognizes(path: Path) -> bool:
    """Return True for a folder of these files."""
    return path.is_dir() and bool(_files(path))


def _files(path: Path) -> list[Path]:
    """Return a folder's TFRecords; if there are none, its tar files; if there are none, its Parquet files.

    If there are subfolders, Parquet files are metadata for the images in them. If there are more pictures than such
    files, in the folder or below it, those accompany the pictures: metadata.parquet, or a backup such as 2023.tar.
    """
    found = sorted(path.glob("[!.]*.tfrecord"))
    if not found:
        found = sorted(file for file in path.glob("*.tar") if file.stem.isdecimal())
    if not found and not any(entry.is_dir() for entry in path.iterdir()):
        found = sorted(path.glob("[!.]*.parquet"))
    return [] if found and count_images(path, len(found) + 1) > len(found) else found


def find(path: Path) -> Source:
    """List the images, file by file, except for failed downloads.

    Raises:
        MissingExtraError: pyarrow is needed and not installed.
        DataError: a file is damaged, or there are no images.
    """
    entries, failed, others = [], 0, []
    for file in _files(path):
        rows = _open(file)
        found = rows.with_images()
        entries += [(f"{file.name}/{i}", None) for i in found]
        failed += len(rows) - len(found)
        if isinstance(rows, _Tar):
            others += [f"{file.name}/{name}" for name in rows.others]
    if not entries:
        rule = "; a file such as {} is none: what follows the first dot must be jpg, png or webp"
        raise DataError(f"{path} holds no images{rule.format(others[0]) if others else ''}")
    remarks = [f"downloads that failed, left out: {failed}"] if failed else []
    if others:
        remarks.append(f"other files left out: {len(others)}, e.g. {others[0]}")
    return Source(path, tuple(entries), LabelSpec("none", 0), partial(_read, path), remarks=tuple(remarks))


def _read(path: Path, name: str) -> Image.Image:
    file, _, row = name.rpartition("/")
    content = _open(path / file).image(int(row))
    if content is None:
        raise ValueError(f"has no image in {', '.join(IMAGE_COLUMNS)}")
    return open_image(io.BytesIO(content))


class _Records:
    """Images of a TFRecord file."""

    def __init__(self, file: Path) -> None:
        self._records = RecordFile(file)

    def __len__(self) -> int:
        return len(self._records)

    def with_images(self) -> range:
        return range(len(self))

    def image(self, i: int) -> bytes | None:
        features = parse_example(self._records.read(i), self._records.where(i))
        return next((bytes(features[name][0]) for name in IMAGE_COLUMNS if features.get(name)), None)


class _Tar:
    """Images of a tar file.

    Attributes:
        others: names of the other files, without the captions and their metadata.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._places: list[tuple[int, int]] = []
        self.others: list[str] = []
        try:
            with tarfile.open(file, "r:") as archive:
                for member in archive:
                    self._add(member)
                end = archive.offset
        except (OSError, tarfile.TarError) as error:
            raise DataError(f"{file} is not a readable tar file: {error}") from error
        if not _only_zeros_from(file, end):
            raise DataError(
                f"{file} is damaged, cut off or several tar files in one: from byte {end} on it should hold zeros, at "
                f"least {tarfile.BLOCKSIZE}; copy it again, or unpack it with tar --ignore-zeros and give the pictures"
            )

    def _add(self, member: tarfile.TarInfo) -> None:
        """List a file by what follows the first dot of its name, as WebDataset does: a.seg.png is a mask of a.jpg."""
        name = PurePosixPath(member.name).name
        ending = name.partition(".")[2].lower()
        if member.isreg() and ending in _ENDINGS:
            self._places.append((member.offset_data, member.size))
        elif not member.isdir() and ending not in _ABOUT_IMAGES and not name.startswith("._"):  # macOS's attributes
            self.others.append(member.name)

    def __len__(self) -> int:
        return len(self._places)

    def with_images(self) -> range:
        return range(len(self))

    def image(self, i: int) -> bytes:
        start, size = self._places[i]
        with open(self._file, "rb") as file:
            file.seek(start)
            return file.read(size)


def _only_zeros_from(file: Path, start: int) -> bool:
    """Return True if a file has zeros from byte `start` on, and at least one block of them, as tar files end."""
    size = 0
    with open(file, "rb") as content:
        content.seek(start)
        while block := content.read(1 << 20):
            if block.count(0) < len(block):
                return False
            size += len(block)
    return size >= tarfile.BLOCKSIZE


class _Parquet:
    """Images of a Parquet file, with one row group in memory at a time."""

    def __init__(self, file: Path) -> None:
        parquet = require("pyarrow.parquet", extra="parquet", purpose=f"{file}: reading a Parquet file")
        try:
            self._file = parquet.ParquetFile(file)
            names = self._file.schema_arrow.names
            self._column = next((name for name in IMAGE_COLUMNS if name in names), None)
            self._status = self._file.read(["status"])["status"].to_pylist() if "status" in names else None
        except (OSError, ValueError) as error:  # pyarrow raises both
            raise DataError(f"{file} is not a readable Parquet file: {error}") from error
        groups = range(self._file.num_row_groups)
        self._starts = np.cumsum([0] + [self._file.metadata.row_group(group).num_rows for group in groups])
        self._group = lru_cache(maxsize=1)(self._read_group)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def with_images(self) -> Sequence[int]:
        if self._column is None:
            return ()
        return [i for i in range(len(self)) if self._status is None or self._status[i] == "success"]

    def _read_group(self, group: int) -> Any:
        return self._file.read_row_group(group, [self._column])[self._column]

    def image(self, i: int) -> bytes | None:
        group = int(np.searchsorted(self._starts, i, side="right")) - 1
        content: bytes | None = self._group(group)[i - int(self._starts[group])].as_py()
        return content


@lru_cache(maxsize=2)
def _open(file: Path) -> _Records | _Tar | _Parquet:
    kinds: dict[str, type[_Records | _Tar | _Parquet]] = {".tfrecord": _Records, ".tar": _Tar, ".parquet": _Parquet}
    return kinds[file.suffix](file)
