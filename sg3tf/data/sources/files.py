"""Folders and zip files of images, with labels from dataset.json or subfolders."""

from __future__ import annotations

import io
import json
import lzma
import os
import posixpath
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from sg3tf.data.errors import ChangedError, DataError, disk_error
from sg3tf.data.labels import MISSING_LABELS_REMEDY, Label, LabelSpec, RawLabel, infer_label_spec, number_labels
from sg3tf.data.sources.source import Source
from sg3tf.image_files import NOT_DECODED, is_image, open_image

LABELS_FILE = "dataset.json"
_BYTES_PER_PIXEL = 8  # four channels of 16 bits
_LEAST_LIMIT = 2**26  # of a file's size in bytes

# Folders that are splits of a data set, not classes.
_PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}

#: Folders of operating systems and network storage, in lower case: thumbnails, deleted files, recovered fragments.
_SYSTEM_FOLDERS = {"@eadir", "@recycle", "#recycle", "$recycle.bin", "system volume information", "lost+found"}
_ATTRIBUTES_FOLDER = "__MACOSX"  # macOS stores file attributes there
_UTF8_FLAG = 0x800
_ENCRYPTED_FLAG = 0x1


def recognizes(path: Path) -> bool:
    """Return True for a folder or zip file."""
    return path.is_dir() or zipfile.is_zipfile(path)


def find(path: Path, labels: bool = True, missing_labels: bool = False, numbers: bool = False) -> Source:
    """List the images below `path`, with labels from dataset.json or, if there is none, from subfolders.

    Args:
        path: folder or zip file.
        labels: list labels, too.
        missing_labels: keep images without a label.
        numbers: treat integer labels as numbers rather than classes.

    Raises:
        DataError: there are no images, or the labels are malformed or incomplete.
    """
    version = zip_version(path)
    files, remarks = _files_in(path)
    images, more = _images_among(path, files)
    remarks += more
    read = partial(_read_image, path, version)
    unlabeled = tuple((name, None) for name in images)
    if not labels:
        return Source(path, unlabeled, LabelSpec("none", 0), read, remarks=remarks)
    top = PurePosixPath(os.path.commonpath([PurePosixPath(name).parent for name in images]))
    used = next((folder / LABELS_FILE for folder in (top, *top.parents) if str(folder / LABELS_FILE) in files), None)
    unread = next((name for name in files if name != str(used) and _lists_labels(path, name)), None)
    if used:
        if unread:
            remarks += (f"labels in {unread} are not read, those in {used} are",)
        rows, more = _labels_from_json(path, used.parent, images, missing_labels, numbers)
        entries, classes, remark = number_labels(rows, f"{path}: {used}", missing_labels)
        spec = infer_label_spec(entries, f"{path}: {used}", missing_labels)
        return Source(path, entries, spec, read, classes, (), remarks + more + remark)
    if unread:
        beside = next(name for name in images if PurePosixPath(unread).parent not in PurePosixPath(name).parents)
        raise DataError(
            f"{path}: the labels in {unread} are not read, as {beside} is not below its folder; put one {LABELS_FILE} "
            f"for all images into {path / top}, or use sg3tf data build with --nolabels"
        )
    entries, classes, unused, remark = _classes_from_folders(top, images, missing_labels)
    spec = LabelSpec("class" if classes else "none", len(classes), missing_labels)
    if missing_labels and unused:  # restore image order, as without classes
        label_of = dict(entries)
        entries, unused = tuple((name, label_of.get(name)) for name in images), ()
    return Source(path, entries, spec, read, classes, unused, remarks + remark)


# --- Files ------------------------------------------------------------------------------------------------------------


def _read_image(path: Path, version: tuple[int, ...] | None, name: str) -> Image.Image:
    require_version(path, version)
    return open_image(io.BytesIO(read_file(path, name)))


def read_file(path: Path, name: str, size: int = -1) -> bytes:
    """Return the content of a file below a folder or in a zip file, or its first `size` bytes.

    Raises:
        OSError: the file cannot be read.
        ValueError: a zip entry is damaged, or uses an unsupported compression.
    """
    if path.is_file():
        archive, entries = _entries(path)
        try:
            _check_size(entries[name].file_size, size)
            with archive.open(entries[name]) as member:
                return member.read(size)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
            raise ValueError(f"cannot be read in the zip file: {error}") from error
    with open(path / name, "rb") as file:
        _check_size(os.fstat(file.fileno()).st_size, size)
        return file.read(size)


def _check_size(available: int, wanted: int) -> None:
    """Check that a file is not larger than the pixels of the largest image that Pillow may open.

    Entries of a zip file of a few megabytes can expand to more than the memory.

    Raises:
        ValueError: the file is larger.
    """
    most = max(_LEAST_LIMIT, _BYTES_PER_PIXEL * 2 * (Image.MAX_IMAGE_PIXELS or 0))  # Pillow raises at twice as many
    if wanted < 0 and available > most:
        raise ValueError(f"has {available:,} bytes, more than the {most:,} of the largest image that may be opened")


def stamp(path: Path, name: str) -> tuple[int, int, int]:
    """Return the size, checksum and modification time of a file, to detect changes cheaply.

    For a zip entry, the checksum is the stored one and the time is 0. Otherwise, the checksum is 0 and the time is in
    nanoseconds.

    Raises:
        OSError: the file does not exist.
    """
    if path.is_file():
        entry = _entries(path)[1][name]
        return entry.file_size, entry.CRC, 0
    status = (path / name).stat()
    return status.st_size, 0, status.st_mtime_ns


def zip_version(path: Path) -> tuple[int, ...] | None:
    """Return numbers that change when a zip file is rewritten; None for a folder."""
    if not path.is_file():
        return None
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def require_version(path: Path, version: tuple[int, ...] | None) -> None:
    """Raise ChangedError if a zip file has another `zip_version` than when its images were listed."""
    if zip_version(path) != version:
        raise ChangedError(f"{path} was removed or written anew while it was in use; start again")


def _entries(path: Path) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Return an open zip file and its files by normalized name, sorted: a/b.png for ./a/b.png and a\\b.png."""
    return _opened(path, zip_version(path))


@lru_cache(maxsize=8)
def _opened(path: Path, version: tuple[int, ...] | None) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Open a zip file, and reopen it if its `version` changes."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable zip file: {error}") from error
    files = [info for info in archive.infolist() if not info.is_dir()]
    if any(info.flag_bits & _ENCRYPTED_FLAG for info in files):
        raise DataError(f"{path} is encrypted: unpack it with its password and give the folder")
    named = {_normalized(info): info for info in files}
    return archive, dict(sorted(named.items()))


def _normalized(info: zipfile.ZipInfo) -> str:
    return posixpath.normpath(_decoded(info).replace("\\", "/")).lstrip("/")


def _decoded(info: zipfile.ZipInfo) -> str:
    """Return the name of an entry; some programs, such as macOS's Finder, write UTF-8 without the flag for it."""
    if info.flag_bits & _UTF8_FLAG:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _files_in(path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of all files in a folder or zip file, sorted, and remarks about those that are lost."""
    if path.is_file():
        archive, entries = _entries(path)
        names = Counter(_normalized(info) for info in archive.infolist() if not info.is_dir())
        if not (lost := names.total() - len(names)):
            return [*entries], ()
        name = next(name for name, count in names.items() if count > 1)
        remark = f"entries of the zip file that share a name with a later one, which is used: {lost}, e.g. {name}"
        return [*entries], (remark,)
    unlisted: list[str] = []
    found = sorted(_files_below(path, unlisted))
    if not unlisted:
        return found, ()
    return found, (f"folders that may not be listed, left out: {len(unlisted)}, e.g. {unlisted[0]}",)


def _files_below(
    root: Path, unlisted: list[str], folder: Path | None = None, above: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield the names of all files, relative to `root`; links are followed, except in cycles.

    Hidden folders that may not be listed are left out and appended to `unlisted`.
    """
    folder = folder or root
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        if isinstance(error, PermissionError) and folder != root and _is_hidden(folder.name):
            unlisted.append(folder.relative_to(root).as_posix())
            return
        raise DataError(f"{folder} cannot be listed: {error.strerror}") from error
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and path.is_dir()):
            yield from _files_below(root, unlisted, path, (*above, real))
        elif entry.is_file(follow_symlinks=False) or entry.is_symlink():  # rather than a pipe or a device
            yield path.relative_to(root).as_posix()


def _is_hidden(part: str) -> bool:
    """Return True for the name of a hidden file or folder, and for folders that systems add."""
    return part.startswith(".") or part.lower() in _SYSTEM_FOLDERS


def _images_among(path: Path, files: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the images among `files`, and remarks about the others.

    Images are recognized by their suffix, or by their first bytes if it is another or missing. Hidden images are left
    out, unless all are hidden; so are those in folders that systems add.
    """
    endings = _endings()
    images: list[str] = []
    by_content: list[str] = []
    hidden: list[str] = []
    others: list[str] = []
    lost: list[str] = []
    for name in files:
        parts = name.split("/")
        if parts[-1].startswith("._") or parts[-1] in (LABELS_FILE, ".DS_Store") or _ATTRIBUTES_FOLDER in parts:
            continue
        has_ending = PurePosixPath(name).suffix.lower() in endings
        if has_ending or _begins_like_an_image(path, name):
            is_hidden = any(map(_is_hidden, parts))
            (hidden if is_hidden else images).append(name)
            if not has_ending and not is_hidden:
                by_content.append(name)
        else:
            (lost if (path / name).is_symlink() and not (path / name).exists() else others).append(name)
    if not images:
        images, hidden = hidden, []
    if not images:
        raise DataError(f"{path} holds no images; give a folder or zip file of images, or TFRecords")
    remarks = []
    if by_content:
        remarks.append(f"recognized as images by content alone: {len(by_content)}, e.g. {by_content[0]}")
    if hidden:
        remarks.append(f"hidden images left out: {len(hidden)}, e.g. {hidden[0]}")
    if lost:
        remarks.append(f"broken links: {len(lost)}, e.g. {lost[0]}")
    if others:
        remarks.append(f"other files left out: {len(others)}, e.g. {others[0]}")
    return images, tuple(remarks)


def count_images(folder: Path, most: int) -> int:
    """Return the number of images below a folder, hidden ones left out; counting stops at `most`.

    Folders that are links, or cannot be listed, are left out, too.
    """
    endings = _endings()
    images = (
        file
        for file in _visible_files(folder)
        if file.suffix.lower() in endings or _begins_like_an_image(file.parent, file.name)
    )
    return sum(1 for _ in islice(images, most))


def _visible_files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_hidden(name) and name != _ATTRIBUTES_FOLDER]
        files = (Path(parent, name) for name in names if not name.startswith("."))
        yield from (file for file in files if file.is_file())


def _endings() -> set[str]:
    """Return the endings of picture files that Pillow reads."""
    readable = Image.registered_extensions().items()
    return {ending for ending, name in readable if name in Image.OPEN and name not in NOT_DECODED}


def _begins_like_an_image(path: Path, name: str) -> bool:
    try:
        return is_image(read_file(path, name, 16))
    except (OSError, ValueError) as error:  # unreadable or damaged
        if failure := disk_error(error):
            reason = failure.strerror
            raise DataError(f"{path}: {name} cannot be read ({reason}); check the disk or the mounted share") from error
        return False


# --- Labels -----------------------------------------------------------------------------------------------------------


def _lists_labels(path: Path, name: str) -> bool:
    """Return True for the name of a labels file; False if it has none, or comes from another program or system."""
    parts = name.split("/")
    if parts[-1] != LABELS_FILE or _ATTRIBUTES_FOLDER in parts or any(map(_is_hidden, parts)):
        return False
    try:
        content = json.loads(read_file(path, name))
    except (OSError, ValueError, RecursionError):  # unreadable or damaged
        return True
    rows = content.get("labels") if isinstance(content, dict) else None
    return isinstance(rows, list) and bool(rows) and isinstance(rows[0], list) and len(rows[0]) == 2


def _labels_from_json(
    path: Path, folder: PurePosixPath, images: list[str], missing_labels: bool, numbers: bool
) -> tuple[list[tuple[str, RawLabel]], tuple[str, ...]]:
    """Read {"labels": [[name relative to the JSON file, label], ...]}; null means no labels.

    Returns:
        (image, label) pairs in the order of `images`, and remarks.
    """
    where = f"{path}: {folder / LABELS_FILE}"
    table: dict[str, RawLabel] = {}
    try:
        rows = json.loads(read_file(path, str(folder / LABELS_FILE)))["labels"] or []
        for name, given in rows:
            if given == []:
                raise DataError(f"{where} gives {name} an empty list; give labels, or null with --missing_labels")
            key, label = _key(folder / name), _parse_label(float(given) if numbers and type(given) is int else given)
            if table.setdefault(key, label) != label:
                raise DataError(f"{where} lists {name} with the labels {table[key]!r} and {label!r}; keep one of them")
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f'{where} must be {{"labels": [[file, class, class name or list of numbers], ...]}}: {error}'
        ) from error
    keys = {_key(name): name for name in images}
    unlabeled = [name for key, name in keys.items() if key not in table]
    if table and unlabeled and not missing_labels:
        raise DataError(
            f"{where} lacks {len(unlabeled)} of {len(images)} images, e.g. {unlabeled[0]}; {MISSING_LABELS_REMEDY}"
        )
    remarks = []
    if absent := [key for key in table if key not in keys]:
        remarks.append(f"{LABELS_FILE} lists {len(absent)} files that are not there, e.g. {absent[0]}")
    given_labels = [given for _, given in rows if given is not None]
    if given_labels and not numbers and all(isinstance(given, float) and given.is_integer() for given in given_labels):
        remarks.append(f"labels such as {given_labels[0]} are read as one number each; for classes, write them as 3")
    return [(name, table.get(_key(name))) for name in images], tuple(remarks)


def _key(name: str | PurePosixPath) -> str:
    """Return the normalized form for comparing names: composed accents, forward slashes, no "./"."""
    return unicodedata.normalize("NFC", posixpath.normpath(str(name).replace("\\", "/")))


def _parse_label(label: Any) -> RawLabel:
    if isinstance(label, list) and label and all(isinstance(name, str) for name in label):
        return tuple(label)
    if isinstance(label, (list, float)):
        return tuple(float(number) for number in (label if isinstance(label, list) else [label]))
    if label is not None and (isinstance(label, bool) or not isinstance(label, (int, str))):
        raise TypeError(f"label {label!r}")
    return label


def _classes_from_folders(
    top: PurePosixPath, images: list[str], missing_labels: bool
) -> tuple[tuple[tuple[str, Label], ...], tuple[str, ...], tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Use the folders directly below `top`, the deepest folder that contains all images, as classes.

    They are no classes if half of the images or more lie beside them, unless labels may be missing.

    Returns:
        Entries, classes, images without a class, and remarks.
    """
    inner = {name: PurePosixPath(name).relative_to(top).parts for name in images}
    parts = _first_folders(inner.values())
    remarks: tuple[str, ...] = ()
    if parts and {part.lower() for part in parts} <= _PARTS:
        remarks = (f"taken as parts of the data set, not as classes: {', '.join(sorted(parts))}",)
        inner = {name: path[1:] if len(path) > 1 else path for name, path in inner.items()}
    classes = sorted({_key(folder) for folder in _first_folders(inner.values())})
    beside = [name for name, path in inner.items() if len(path) < 2]
    if len(classes) < 2 or (2 * len(beside) >= len(images) and not missing_labels):
        if classes and beside:
            remarks += (f"no classes: {len(beside)} images lie beside the folders, e.g. {beside[0]}",)
        return tuple((name, None) for name in images), (), (), remarks
    number = {name: i for i, name in enumerate(classes)}
    entries = [(name, number[_key(path[0])]) for name, path in inner.items() if len(path) > 1]
    reason = "lies beside the class folders; --nolabels uses it, without classes"
    return tuple(entries), tuple(classes), tuple((name, reason) for name in beside), remarks


def _first_folders(paths: Iterable[tuple[str, ...]]) -> set[str]:
    return {path[0] for path in paths if len(path) > 1}
