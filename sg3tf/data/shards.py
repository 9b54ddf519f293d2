"""Sharded TFRecords of PNG images with a manifest: the layout that `sg3tf data build` writes.

A folder holds manifest.json and NAME-00000-of-00008.tfrecords. Each record holds `image/encoded` (PNG or JPEG),
`image/height`, `image/width`, `image/channels` and, with labels, `image/class/label` int64 or `image/label/vector`
float [dim].
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sg3tf.data.errors import DataError
from sg3tf.data.labels import Label, LabelSpec
from sg3tf.data.tfrecord import RecordFile, parse_example, serialize_example
from sg3tf.utils.resolution import image_shape, to_resolution

# --- PNG files made for fast reading ----------------------------------------------------------------------------------

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 3: 2, 4: 6}
_UP = 2


def encode_png(image: np.ndarray) -> bytes:
    """Return a PNG file of uint8 [H, W, C], C = 1, 3 or 4; equal pixels and zlib give equal bytes.

    Every row is predicted from the one above and only runs are compressed: for photographs the file is about as
    large as with a filter chosen for every row, and is written ten times and read up to twice as fast (docs/data.md).
    """
    height, width, channels = image.shape
    rows = image.reshape(height, width * channels)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    deflate = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    pixels = deflate.compress(filtered.tobytes()) + deflate.flush()
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


# --- Records and manifest ---------------------------------------------------------------------------------------------

MANIFEST = "manifest.json"
_FORMAT = "sg3tf-images-1"


class ShardStore:
    """A data set in the project's own layout.

    Args:
      folder: folder with manifest.json.

    Raises:
      DataError: the manifest or a shard is missing, truncated, corrupt or in another format.

    Examples:
      >>> import tempfile
      >>> from sg3tf.data.build import BuildConfig, build
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

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.manifest = _read_manifest(folder / MANIFEST)
        try:
            self.name: str = self.manifest["name"]
            self.resolution = to_resolution(self.manifest["resolution"])
            self.channels: int = self.manifest["channels"]
            self.num_images: int = self.manifest["num_images"]
            self.digest: str = self.manifest["digest"]
            self.label = LabelSpec(self.manifest["label"]["kind"], self.manifest["label"]["dim"])
            self.classes = tuple(self.manifest["label"]["classes"])
            shards = [(shard["file"], shard["num_images"]) for shard in self.manifest["shards"]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / MANIFEST} lacks {error}; build the data set again") from error
        except ValueError as error:
            raise DataError(f"{folder / MANIFEST}: {error}; build the data set again") from error
        self._shards = [_open_shard(folder / file, count) for file, count in shards]
        self._starts = np.cumsum([0] + [len(shard) for shard in self._shards])
        if self._starts[-1] != self.num_images:
            raise DataError(
                f"{folder / MANIFEST} counts {self.num_images} images, the shards hold "
                f"{self._starts[-1]}; build the data set again"
            )

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
        return image, self._row(features, i)

    def _decode(self, encoded: bytes, i: int) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
                pixels = np.array(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{self.where(i)}: image does not decode: {error}") from error
        pixels = pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels
        shape = image_shape(self.resolution, self.channels)
        if pixels.shape != shape or pixels.dtype != np.uint8:
            raise DataError(
                f"{self.where(i)}: image decodes to {pixels.dtype} {list(pixels.shape)}, it "
                f"should be uint8 {list(shape)}; build the data set again"
            )
        return pixels

    def read_label(self, i: int) -> np.ndarray:
        """Return the label of image `i`, float32 [label.dim], without decoding the image."""
        return self._row(self._features(i), i)

    def _row(self, features: dict[str, Any], i: int) -> np.ndarray:
        label: Label = None
        if self.label.kind == "class":
            label = next(iter(features.get("image/class/label", ())), None)
        elif self.label.kind == "vector":
            label = tuple(features.get("image/label/vector", ())) or None
        return self.label.row(label, self.where(i))


def is_shard_set(folder: Path) -> bool:
    """Tell a data set in this layout from a folder with a manifest.json of another purpose, such as a web page's."""
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


def _open_shard(file: Path, num_images: int) -> RecordFile:
    shard = RecordFile(file)
    if len(shard) != num_images:
        raise DataError(
            f"{file} holds {len(shard)} records, the manifest lists {num_images}; copy or build the data set again"
        )
    return shard


def encode_record(image: np.ndarray, label: Label = None) -> bytes:
    """Return the record payload of uint8 [H, W, C], C = 1, 3 or 4."""
    height, width, channels = (int(size) for size in image.shape)
    features: dict[str, Any] = {
        "image/encoded": encode_png(image),
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
    """SHA-256 over images and labels in order, independent of their encoding and shards.

    Examples:
      >>> digest = ContentDigest()
      >>> digest.add(ContentDigest.of(np.zeros([8, 8, 3], np.uint8), np.zeros(0, np.float32)))
      >>> str(digest)
      'sha256:8ce60904...'
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, image_digest: bytes) -> None:
        """Add an image by the digest that `of` returns."""
        self._digest.update(image_digest)

    @staticmethod
    def of(image: np.ndarray, label_row: np.ndarray) -> bytes:
        """Return the digest, 32 bytes, of one image, uint8 [H, W, C], and its label, float32 [dim]."""
        return hashlib.sha256(image.tobytes() + label_row.astype("<f4").tobytes()).digest()

    def __str__(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


def write_manifest(folder: Path, entries: dict[str, Any]) -> None:
    """Write `entries` into manifest.json: name, resolution, channels, num_images, label, digest, shards, ..."""
    text = json.dumps({"format": _FORMAT, **entries}, indent=2) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
