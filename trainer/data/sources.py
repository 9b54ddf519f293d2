"""Lists and reads the images of a folder or zip file, and finds their labels."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from trainer.data.errors import DataError
from trainer.data.labels import Label, LabelSpec, spec_of

LABELS_FILE = "dataset.json"


@dataclass(frozen=True)
class Source:
    """Images in name order, with their labels.

    Attributes:
      path: the folder or zip file.
      entries: (name relative to path, label) of every image.
      label: what the labels are.
      classes: sub-folders' names if they are the classes, else empty.
    """

    path: Path
    entries: tuple[tuple[str, Label], ...]
    label: LabelSpec
    classes: tuple[str, ...]


def find_images(path: Path) -> Source:
    """Lists the images below `path`; labels come from dataset.json, else from sub-folders.

    Raises:
      DataError: nothing is there, no images are, or the labels are malformed or incomplete.
    """
    files = _list_files(path)
    extensions = {x for x, name in Image.registered_extensions().items() if name in Image.OPEN}
    names = [name for name in files if PurePosixPath(name).suffix.lower() in extensions]
    if not names:
        raise DataError(f"{path} holds no images; --source takes a folder or zip file of images")
    top = PurePosixPath(os.path.commonpath([PurePosixPath(name).parent for name in names] or "."))
    for folder in (top, *top.parents):
        if str(folder / LABELS_FILE) in files:
            labels = _labels_from_json(path, folder, names)
            return Source(path, tuple(zip(names, labels, strict=True)), spec_of(labels, str(path)), ())
    return _classes_from_folders(path, top, names)


def read_file(path: Path, name: str) -> bytes:
    """Returns the bytes of a file in a folder or zip file."""
    return _open_zip(path).read(name) if path.is_file() else (path / name).read_bytes()


@lru_cache(maxsize=1)
def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable zip file: {error}") from error


def _list_files(path: Path) -> list[str]:
    if path.is_file():
        names = [info.filename for info in _open_zip(path).infolist() if not info.is_dir()]
    elif path.is_dir():
        names = [
            (Path(folder) / file).relative_to(path).as_posix() for folder, _, files in os.walk(path) for file in files
        ]
    else:
        raise DataError(f"{path} does not exist; --source takes a folder or zip file of images")
    hidden = (".", "__MACOSX")
    return sorted(name for name in names if not any(x.startswith(hidden) for x in name.split("/")))


def _labels_from_json(path: Path, folder: PurePosixPath, names: list[str]) -> list[Label]:
    """Reads {"labels": [[name relative to the JSON file, label], ...]}; null means none."""
    where = f"{path}: {folder / LABELS_FILE}"
    try:
        rows = json.loads(read_file(path, str(folder / LABELS_FILE)))["labels"]
        table = {str(folder / name): _parse_label(label) for name, label in rows or ()}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{where} must be {{"labels": [[file, class index or list of numbers], ...]}}: {error}'
        ) from error
    missing = [name for name in names if name not in table]
    if table and missing:
        raise DataError(f"{where} lacks {len(missing)} of {len(names)} images, e.g. {missing[0]}")
    return [table.get(name) for name in names]


def _parse_label(label: Any) -> Label:
    if isinstance(label, list):
        return tuple(float(number) for number in label)
    if label is not None and (isinstance(label, bool) or not isinstance(label, int)):
        raise TypeError(f"label {label!r}")
    return label


def _classes_from_folders(path: Path, top: PurePosixPath, names: list[str]) -> Source:
    """Takes the folders right below `top`, which all images share, as classes."""
    parts = [PurePosixPath(name).relative_to(top).parts for name in names]
    if any(len(one) < 2 for one in parts):
        return Source(path, tuple((name, None) for name in names), LabelSpec("none", 0), ())
    classes = sorted({one[0] for one in parts})
    labels = [classes.index(one[0]) for one in parts]
    return Source(path, tuple(zip(names, labels, strict=True)), LabelSpec("class", len(classes)), tuple(classes))
