"""NVIDIA's FFHQ multi-resolution records: NAME-rNN.tfrecords, NN = log2(resolution).

Each record holds `shape` int64 [3] = (channels, resolution, resolution) and `data`, the raw uint8 pixels in that order.
Labels are in NAME-rxx.labels, a .npy file: class indices [N] or vectors [N, dim]. NVIDIA's layout has no class names
and no label checksum; sg3tf adds them as NAME-classes.json and sha256.json.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from sg3tf.data.errors import DataError
from sg3tf.data.labels import Label, LabelSpec
from sg3tf.data.tfrecord import RecordFile, parse_example, record_writer, serialize_example
from sg3tf.utils.arrays import read_npy, save_npy
from sg3tf.utils.checksums import DIGESTS, verify_checksums
from sg3tf.utils.files import atomic_write
from sg3tf.utils.resolution import Resolution, is_power_of_two, size_of

_LEVEL = re.compile(r"(?P<name>.+)-r(?P<log2>\d\d)\.tfrecords", re.DOTALL)  # a name may contain line ends
MIN_RESOLUTION = 4
_MAX_CLASSES = 100_000  # limit for a data set with fewer images


def find_levels(folder: Path) -> dict[int, Path]:
    """Return {resolution: file} of the NAME-rNN.tfrecords files in `folder`, smallest first.

    Raises:
        DataError: the folder contains levels of several data sets.
    """
    levels: dict[int, Path] = {}
    names: set[str] = set()
    for file in sorted(folder.iterdir()):
        if (match := _LEVEL.fullmatch(file.name)) and not file.name.startswith("._"):  # attributes of macOS
            levels[2 ** int(match["log2"])] = file
            names.add(match["name"])
    if len(names) > 1:
        listed = ", ".join(sorted(names))
        raise DataError(f"{folder} holds several data sets ({listed}); name one of their files")
    return dict(sorted(levels.items()))


class FfhqStore:
    """One resolution of a data set in NVIDIA's layout.

    Args:
        file: its .tfrecords file.

    Raises:
        DataError: the file or its labels are truncated, corrupt or in another format.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with ffhq_writer(folder, "faces", resolution=8) as add:
        ...     add(encode_levels(np.zeros([8, 8, 3], np.uint8)), label=1)
        >>> store = FfhqStore(folder / "faces-r03.tfrecords")
        >>> store.num_images, store.resolution
        (1, 8)
        >>> store.read_label(0)
        array([0., 1.], dtype=float32)
    """

    remarks: tuple[str, ...] = ()

    def __init__(self, file: Path) -> None:
        match = _LEVEL.fullmatch(file.name)
        self.name = match["name"] if match else file.stem
        self.path = file
        self._records = RecordFile(file)
        self.num_images = len(self._records)
        if not self.num_images:
            raise DataError(f"{file} holds no records; copy or build it again")
        self.channels, side = self._first_shape()
        self.resolution: Resolution = side
        if match and side != 2 ** int(match["log2"]):
            raise DataError(
                f"{file} holds {side}x{side} images, but is named -r{match['log2']}; rename or build it again"
            )
        names = _read_classes(file.with_name(f"{self.name}-classes.json"))
        self._labels = self._read_labels(file.with_name(f"{self.name}-rxx.labels"), len(names))
        self.classes = names if len(names) == self.label.dim else ()  # otherwise names of other labels

    def _first_shape(self) -> tuple[int, int]:
        where = self.where(0)
        features = parse_example(self._records.read(0), where)
        shape = list(features.get("shape", ()))
        if "image/encoded" in features:
            raise DataError(f"{self.path} is one file of a data set; give its folder, {self.path.absolute().parent}")
        if len(shape) != 3 or "data" not in features:
            raise DataError(
                f"{where} is not an FFHQ record (its features are {sorted(features)}, it needs "
                "shape and data); make records with sg3tf data build"
            )
        channels, height, width = shape
        if height != width or not is_power_of_two(height) or height < MIN_RESOLUTION:
            raise DataError(
                f"{where}: images are {height}x{width} (height x width), they must be square and "
                "a power of two; build them again with --resolution and --crop=center"
            )
        return channels, height

    def _read_labels(self, file: Path, num_names: int) -> np.ndarray | None:
        self.label = LabelSpec("none", 0)
        if not file.exists():
            return None
        if (file.parent / DIGESTS).is_file() and (problem := verify_checksums(file.parent)):
            remedy = f"copy or build it again, or delete {DIGESTS} if it was changed on purpose"
            raise DataError(f"{file.parent}: {problem}; {remedy}")
        try:
            labels = read_npy(file)
        except (OSError, ValueError) as error:
            raise DataError(f"{file} is not a .npy file: {error}") from error
        if labels.ndim not in (1, 2) or len(labels) != self.num_images:
            raise DataError(
                f"{file} has shape {list(labels.shape)} for {self.num_images} images; "
                f"it must be [{self.num_images}] or [{self.num_images}, dim]"
            )
        if labels.ndim == 2:
            self.label = LabelSpec("vector", labels.shape[1])
            return labels.astype(np.float32)
        if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise DataError(f"{file}: class labels must be integers from 0, not {labels.dtype}")
        if labels.max() >= max(self.num_images, _MAX_CLASSES):
            raise DataError(f"{file}: class {labels.max()} of {self.num_images} images; number the classes from 0")
        self.label = LabelSpec("class", max(int(labels.max()) + 1, num_names))  # the last classes may have no images
        return labels.astype(np.int64)

    def where(self, i: int) -> str:
        """Return the name of image `i` for error messages: file and record."""
        return self._records.where(i)

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image `i`, uint8 [R, R, C], and its label, float32 [label.dim]."""
        features = parse_example(self._records.read(i), self.where(i))
        shape = (self.channels, *size_of(self.resolution))
        if tuple(features.get("shape", ())) != shape or len(features.get("data", ())) != 1:
            raise DataError(
                f"{self.where(i)}: shape is {list(features.get('shape', ()))}, the first record's "
                f"is {list(shape)}; build the file again"
            )
        data = features["data"][0]
        if len(data) != np.prod(shape):
            raise DataError(f"{self.where(i)}: {len(data)} bytes of data for shape {list(shape)}")
        planes = np.frombuffer(data, np.uint8).reshape(shape)
        return np.stack(list(planes), axis=-1), self.read_label(i)  # three times as fast as a transposed copy

    def read_label(self, i: int) -> np.ndarray:
        """Return the label of image `i`, float32 [label.dim]."""
        if self._labels is None:
            return np.zeros(0, np.float32)
        return self.label.row(self.raw_label(i), self.where(i))

    def raw_label(self, i: int) -> Label:
        """Return the original label of image `i`; None if there are no labels."""
        if self._labels is None:
            return None
        row = self._labels[i]
        return int(row) if self.label.kind == "class" else tuple(row.tolist())

    def classes_of_images(self) -> np.ndarray:
        """Return the class of every image, int64 [N]."""
        return np.zeros(0, np.int64) if self._labels is None else self._labels

    @property
    def digest(self) -> str:
        """Cheap identifier of the content: SHA-256 of the records' checksums and of the labels."""
        digest = hashlib.sha256(self._records.checksums().tobytes())
        digest.update(b"" if self._labels is None else self._labels.tobytes())
        return f"sha256:{digest.hexdigest()}"


def _read_classes(file: Path) -> tuple[str, ...]:
    """Return the class names; () if the file is missing or damaged."""
    try:
        return tuple(map(str, json.loads(file.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError):
        return ()


def write_classes(folder: Path, name: str, classes: Sequence[str]) -> None:
    """Write the class names of the data set `name`."""
    (folder / f"{name}-classes.json").write_text(json.dumps(classes, indent=2) + "\n", encoding="utf-8")


def encode_levels(image: np.ndarray) -> list[bytes]:
    """Return the record payloads of uint8 [R, R, C] at levels 4, 8, ... R; each averages 2x2 pixels of the next."""
    payloads = []
    pixels: np.ndarray = image.astype(np.float32)
    while True:
        planes = np.rint(pixels).astype(np.uint8).transpose(2, 0, 1)
        shape = [int(size) for size in planes.shape]
        payloads.append(serialize_example({"shape": shape, "data": planes.tobytes()}))
        if pixels.shape[0] == MIN_RESOLUTION:
            return payloads[::-1]
        top, bottom = pixels[0::2], pixels[1::2]
        pixels = (top[:, 0::2] + top[:, 1::2] + bottom[:, 0::2] + bottom[:, 1::2]) / 4


@contextmanager
def ffhq_writer(folder: Path, name: str, resolution: int) -> Iterator[Callable[..., None]]:
    """Yield a function add(payloads, label=None) that appends one image, encoded by `encode_levels`.

    Args:
        folder: an existing folder; the files appear in it when the block succeeds.
        name: NAME in the file names.
        resolution: power of two; the levels are 4, 8, ... resolution.
    """
    labels: list[Label] = []
    with ExitStack() as stack:
        writers = [
            stack.enter_context(record_writer(folder / f"{name}-r{log2:02d}.tfrecords"))
            for log2 in range(MIN_RESOLUTION.bit_length() - 1, resolution.bit_length())
        ]

        def add(payloads: list[bytes], label: Label = None) -> None:
            for write, payload in zip(writers, payloads, strict=True):
                write(payload)
            labels.append(label)

        yield add
    if any(label is not None for label in labels):
        vectors = isinstance(labels[0], tuple)
        with atomic_write(folder / f"{name}-rxx.labels") as file:
            save_npy(file, np.array(labels, np.float32 if vectors else np.int64))
