"""Sharded TFRecords of PNG, JPEG or WebP images with a manifest, the layout that `sg3tf data build` writes.

A folder contains manifest.json, NAME-00000-of-00008.tfrecords, records.index (see `sg3tf.data.record_index`) and, with
labels, labels.npy. Each record contains `image/encoded` (PNG, JPEG or WebP), `image/height`, `image/width`,
`image/channels` and, with labels, `image/class/label` int64 or `image/label/vector` float [dim].
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from sg3tf.data.encoding import decode_image, encode_png
from sg3tf.data.errors import DataError
from sg3tf.data.labels import NO_CLASS, Label, LabelSpec
from sg3tf.data.record_index import INDEX, RecordIndex, write_index
from sg3tf.data.tfrecord import RecordFile, parse_example, serialize_example
from sg3tf.utils.arrays import read_npy, save_npy
from sg3tf.utils.checksums import digest_file
from sg3tf.utils.files import atomic_write
from sg3tf.utils.label_scale import LabelScale
from sg3tf.utils.progress import with_progress
from sg3tf.utils.resolution import image_shape, to_resolution

MANIFEST = "manifest.json"
LABELS = "labels.npy"
_FORMAT = "sg3tf-images-1"
_KEPT_FROM = 100_000  # records; scanning this many headers takes half a second


class ShardStore:
    """A data set in the project's own layout.

    Args:
        folder: folder with manifest.json.

    Raises:
        DataError: the manifest or a shard is missing, truncated, corrupt or in another format.

    Examples:
        >>> import tempfile
        >>> from sg3tf.data.build.builder import build
        >>> from sg3tf.data.conversion import BuildConfig
        >>> from sg3tf.images import save_png
        >>> folder = Path(tempfile.mkdtemp())
        >>> save_png(folder / "images" / "0.png", np.zeros([8, 8, 3], np.uint8))
        >>> report = build(folder / "images", folder / "dataset", BuildConfig(resolution=8))
        >>> store = ShardStore(folder / "dataset")
        >>> store.num_images, store.resolution
        (1, 8)
        >>> image, label = store.read(0)
        >>> image.shape, label.shape
        ((8, 8, 3), (0,))
    """

    remarks: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.manifest = _read_manifest(folder / MANIFEST)
        try:
            self.name: str = self.manifest["name"]
            self.resolution = to_resolution(self.manifest["resolution"])
            self.channels: int = self.manifest["channels"]
            self.num_images: int = self.manifest["num_images"]
            self.digest: str = self.manifest["digest"]
            label = self.manifest["label"]
            self.label = LabelSpec(label["kind"], label["dim"], label.get("optional", False))
            self.classes = tuple(label["classes"])
            self.label_scale = LabelScale.from_json(label)
            shards = [(shard["file"], shard["num_images"]) for shard in self.manifest["shards"]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / MANIFEST} lacks {error}; build the data set again") from error
        except ValueError as error:
            raise DataError(f"{folder / MANIFEST}: {error}; build the data set again") from error
        self._starts = np.cumsum([0] + [count for _, count in shards])
        if self._starts[-1] != self.num_images:
            raise DataError(
                f"{folder / MANIFEST} counts {self.num_images} images, the shards hold "
                f"{self._starts[-1]}; build the data set again"
            )
        self._shards = self._open_shards(shards)
        self._labels = self._open_labels() if self.label.dim else None

    def _open_labels(self) -> np.ndarray | None:
        """Open labels.npy, so that labels can be read without records; None if it is missing or was changed."""
        try:
            if self.has_damaged_labels():
                return None
            labels = read_npy(self.path / LABELS, "r")
        except (OSError, ValueError):
            return None
        return labels if (labels.shape, labels.dtype) == _labels_form(self.num_images, self.label) else None

    def has_damaged_labels(self) -> bool:
        """Return True if labels.npy does not match its digest in the manifest; older manifests have no digest."""
        expected = self.manifest["label"].get("sha256")
        return expected is not None and (self.path / LABELS).is_file() and digest_file(self.path / LABELS) != expected

    def _open_shards(self, shards: list[tuple[str, int]]) -> list[RecordFile]:
        """Open the shards with the index. If it does not match, scan record headers; save a long scan as the index."""
        try:
            index = RecordIndex(self.path / INDEX, self.num_images)
        except DataError:  # missing, or for another data set: scan the records instead
            index = None
        opened, num_scanned = [], 0
        for (file, count), first in zip(shards, self._starts.tolist(), strict=False):
            starts = index.shard(first, count) if index else None
            shard = RecordFile(self.path / file, starts)
            if len(shard) != count:
                raise DataError(
                    f"{shard.path} holds {len(shard)} records, the manifest lists {count}; copy or build the data set "
                    "again"
                )
            num_scanned += 0 if shard.is_indexed else count
            opened.append(shard)
        if num_scanned >= _KEPT_FROM:
            with suppress(OSError):  # the folder may be read-only
                write_index(self.path, np.concatenate([shard.sizes() for shard in opened]))
        return opened

    def _locate(self, i: int) -> tuple[RecordFile, int]:
        shard = int(np.searchsorted(self._starts, i, side="right")) - 1
        return self._shards[shard], i - int(self._starts[shard])

    def _features(self, i: int) -> dict[str, Any]:
        shard, record = self._locate(i)
        return parse_example(shard.read(record), shard.where(record))

    def where(self, i: int) -> str:
        """Return the name of image `i` for error messages: file and record."""
        shard, record = self._locate(i)
        return shard.where(record)

    def read(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return image `i`, uint8 [H, W, C], and its label, float32 [label.dim]."""
        features = self._features(i)
        sizes = [list(features.get(f"image/{x}", ())) for x in ("height", "width", "channels")]
        expected = [[side] for side in image_shape(self.resolution, self.channels)]
        encoded = features.get("image/encoded", ())
        if sizes != expected or len(encoded) != 1:
            raise DataError(
                f"{self.where(i)}: height, width, channels are {sizes}, the manifest has "
                f"{expected}; build the data set again"
            )
        image = self._decode(encoded[0], i)
        return image, self.label.row(self._label_in(features), self.where(i))

    def _decode(self, encoded: bytes, i: int) -> np.ndarray:
        try:
            pixels = decode_image(encoded, self.channels)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{self.where(i)}: image does not decode: {error}") from error
        shape = image_shape(self.resolution, self.channels)
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise DataError(
                f"{self.where(i)}: image decodes to {pixels.dtype} {list(pixels.shape)}, it "
                f"should be uint8 {list(shape)}; build the data set again"
            )
        return pixels

    def read_label(self, i: int) -> np.ndarray:
        """Return the label of image `i`, float32 [label.dim], without decoding the image."""
        return self.label.row(self.raw_label(i), self.where(i))

    def raw_label(self, i: int) -> Label:
        """Return the original label of image `i`; None if it is missing."""
        if self._labels is None:
            return self._label_in(self._features(i))
        label = self._labels[i]
        if self.label.kind == "class":
            return None if label == NO_CLASS else int(label)
        return None if np.isnan(label).all() else tuple(label.tolist())

    def classes_of_images(self) -> np.ndarray:
        """Return the class of every image, int64 [N]; NO_CLASS for images without a label."""
        if self._labels is not None:
            return np.asarray(self._labels)
        rows = with_progress(map(self.read_label, range(self.num_images)), self.num_images)
        return np.array([row.argmax() if row.any() else NO_CLASS for row in rows], np.int64)

    def _label_in(self, features: dict[str, Any]) -> Label:
        if self.label.kind == "class":
            return next(iter(features.get("image/class/label", ())), None)
        return tuple(features.get("image/label/vector", ())) or None if self.label.kind == "vector" else None


def label_scale(folder: Path) -> LabelScale | None:
    """Return the label scale of a data set written by `sg3tf data build --standardize`; None for any other."""
    try:
        return LabelScale.from_json(_read_manifest(folder / MANIFEST).get("label"))
    except DataError:
        return None


def is_shard_set(folder: Path) -> bool:
    """Return True for a data set in this layout, False for unrelated uses of manifest.json, such as a web page's."""
    if not (folder / MANIFEST).is_file():
        return False
    return b"sg3tf-images-" in (folder / MANIFEST).read_bytes()[:200] or any(folder.glob("*.tfrecords"))


def _read_manifest(file: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != _FORMAT:
        raise DataError(f"{file}: format is {found!r}, this version reads {_FORMAT!r}")
    return dict(manifest)


def encode_record(image: np.ndarray, label: Label = None, encoded: bytes | None = None) -> bytes:
    """Return the record payload for uint8 [H, W, C], C = 1, 3 or 4; `encoded` is its image file (None: make a PNG)."""
    height, width, channels = (int(size) for size in image.shape)
    features: dict[str, Any] = {
        "image/encoded": encode_png(image) if encoded is None else encoded,
        "image/height": [height],
        "image/width": [width],
        "image/channels": [channels],
    }
    if isinstance(label, int):
        features["image/class/label"] = [label]
    elif label is not None:
        features["image/label/vector"] = [float(x) for x in label]
    return serialize_example(features)


class ContentDigest:
    """SHA-256 over images and labels in order, independent of encoding and sharding.

    Examples:
        >>> digest = ContentDigest()
        >>> digest.add(ContentDigest.of(np.zeros([8, 8, 3], np.uint8), np.zeros(0, np.float32)))
        >>> str(digest)
        'sha256:8ce60904...'
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, image_digest: bytes) -> None:
        """Add an image by its digest from `of`."""
        self._digest.update(image_digest)

    @staticmethod
    def of(image: np.ndarray, label_row: np.ndarray) -> bytes:
        """Return the digest, 32 bytes, of one image, uint8 [H, W, C], and its label, float32 [dim]."""
        return hashlib.sha256(image.tobytes() + label_row.astype("<f4").tobytes()).digest()

    def __str__(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


def _labels_form(num_images: int, spec: LabelSpec) -> tuple[tuple[int, ...], np.dtype]:
    """Return the shape and dtype of the array of all labels."""
    if spec.kind == "class":
        return (num_images,), np.dtype("<i8")
    return (num_images, spec.dim), np.dtype("<f4")


def write_labels(folder: Path, labels: Sequence[Label], spec: LabelSpec) -> None:
    """Write the labels of all images to labels.npy: classes int64 [N], or vectors float32 [N, dim].

    A missing label is NO_CLASS or NaN.
    """
    shape, dtype = _labels_form(len(labels), spec)
    missing = NO_CLASS if spec.kind == "class" else (np.nan,) * spec.dim
    array = np.array([missing if label is None else label for label in labels], dtype).reshape(shape)
    with atomic_write(folder / LABELS) as file:
        save_npy(file, array)


def write_manifest(folder: Path, entries: dict[str, Any]) -> None:
    """Write `entries` to manifest.json: name, resolution, channels, num_images, label, digest, shards, ..."""
    text = json.dumps({"format": _FORMAT, **entries}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
