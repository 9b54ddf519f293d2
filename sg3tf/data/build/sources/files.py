"""Folders and zip files of images; labels from dataset.json or from subfolders."""

from __future__ import annotations

import io
import json
import os
import zipfile
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from sg3tf.data.build.sources.source import Source
from sg3tf.data.errors import DataError
from sg3tf.data.labels import Label, LabelSpec, spec_of
from sg3tf.images import open_image

LABELS_FILE = "dataset.json"
Entries = tuple[tuple[str, Label], ...]


def recognizes(path: Path) -> bool:
    """Return True for a folder or zip file."""
    return path.is_dir() or zipfile.is_zipfile(path)


def find(path: Path) -> Source:
    """List the images below `path`; labels come from dataset.json, else from subfolders.

    Raises:
      DataError: there are no images, or the labels are malformed or incomplete.
    """
    files = _list_files(path)
    extensions = {x for x, name in Image.registered_extensions().items() if name in Image.OPEN}
    names = [name for name in files if PurePosixPath(name).suffix.lower() in extensions]
    if not names:
        raise DataError(f"{path} holds no images; --source takes a folder or zip file of images")
    top = PurePosixPath(os.path.commonpath([PurePosixPath(name).parent for name in names]))
    read = partial(_read_image, path)
    for folder in (top, *top.parents):
        if str(folder / LABELS_FILE) in files:
            entries = _labels_from_json(path, folder, names)
            return Source(path, entries, spec_of(entries, f"{path}: {folder / LABELS_FILE}"), read)
    entries, classes = _classes_from_folders(top, names)
    return Source(path, entries, LabelSpec("class" if classes else "none", len(classes)), read, classes)


def _read_image(path: Path, name: str) -> Image.Image:
    return open_image(io.BytesIO(_read_file(path, name)))


def _read_file(path: Path, name: str) -> bytes:
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
    else:
        names = [
            (Path(folder) / file).relative_to(path).as_posix() for folder, _, files in os.walk(path) for file in files
        ]
    hidden = (".", "__MACOSX")
    return sorted(name for name in names if not any(x.startswith(hidden) for x in name.split("/")))


def _labels_from_json(path: Path, folder: PurePosixPath, names: list[str]) -> Entries:
    """Read {"labels": [[name relative to the JSON file, label], ...]}; null: no labels."""
    where = f"{path}: {folder / LABELS_FILE}"
    try:
        rows = json.loads(_read_file(path, str(folder / LABELS_FILE)))["labels"]
        table = {str(folder / name): _parse_label(label) for name, label in rows or ()}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{where} must be {{"labels": [[file, class index or list of numbers], ...]}}: {error}'
        ) from error
    missing = [name for name in names if name not in table]
    if table and missing:
        raise DataError(f"{where} lacks {len(missing)} of {len(names)} images, e.g. {missing[0]}")
    return tuple((name, table.get(name)) for name in names)


def _parse_label(label: Any) -> Label:
    if isinstance(label, list):
        return tuple(float(number) for number in label)
    if label is not None and (isinstance(label, bool) or not isinstance(label, int)):
        raise TypeError(f"label {label!r}")
    return label


def _classes_from_folders(top: PurePosixPath, names: list[str]) -> tuple[Entries, tuple[str, ...]]:
    """Use the folders directly below `top`, the deepest folder that all images share, as classes."""
    parts = [PurePosixPath(name).relative_to(top).parts for name in names]
    if any(len(inner) < 2 for inner in parts):
        return tuple((name, None) for name in names), ()
    classes = {name: index for index, name in enumerate(sorted({inner[0] for inner in parts}))}
    return tuple((name, classes[inner[0]]) for name, inner in zip(names, parts, strict=True)), tuple(classes)
