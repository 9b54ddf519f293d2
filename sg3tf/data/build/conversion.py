"""Conversion of source images into records: crop, resize, encode."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sg3tf.data.errors import DataError
from sg3tf.data.ffhq import MIN_RESOLUTION, encode_levels
from sg3tf.data.labels import Label, LabelSpec
from sg3tf.data.shards import ContentDigest, encode_record
from sg3tf.image_files import center_crop, decode, pixel_limit

CROPS = ("center", "wide", "pad", "none")
FILTERS = ("lanczos", "box")
FORMATS = ("shards", "ffhq")

#: Note about an image, beside those of sg3tf.image_files.
ENLARGED = "smaller than the resolution, enlarged"


@dataclass(frozen=True)
class BuildConfig:
    """Properties of the data set to build.

    Attributes:
      resolution: width and height of the images, a power of two from 4.
      crop: "center" keeps the largest centered square; "wide" the largest centered area of `aspect`, with black bars
        above and below; "pad" the whole image, with bars that are black, or transparent with 4 channels; "none"
        requires square images.
      channels: 1, 3 or 4.
      resize: resampling filter, "lanczos" or "box".
      aspect: (width, height) of the area kept by crop "wide"; not narrower than a square.
      format: "shards" for sharded PNG records, "ffhq" for NVIDIA's multi-resolution records.
      shards: number of files, for format "shards".
      bits: bits of grayscale of more than 8; None: 12 for values below 4096, else 16.
      max_megapixels: images of more pixels are skipped, before they take memory.
      labels: store the labels that the source has.

    Examples:
      >>> config = BuildConfig(resolution=256, crop="wide", aspect=(16, 9))
      >>> config.channels, config.format
      (3, 'shards')
    """

    resolution: int
    crop: str = "center"
    channels: int = 3
    resize: str = "lanczos"
    aspect: tuple[int, int] = (4, 3)
    format: str = "shards"
    shards: int = 8
    bits: int | None = None
    max_megapixels: float = 178
    labels: bool = True

    def __post_init__(self) -> None:
        if self.resolution < MIN_RESOLUTION or self.resolution & (self.resolution - 1):
            raise DataError(f"--resolution={self.resolution} must be a power of two from 4")
        if self.shards < 1:
            raise DataError(f"--shards={self.shards} must be at least 1")
        if self.bits is not None and not 8 <= self.bits <= 32:
            raise DataError(f"--bits={self.bits} must be from 8 to 32")
        if not 0 < self.max_megapixels < math.inf:
            raise DataError(f"--max_megapixels={self.max_megapixels} must be above 0 and finite; try 178")
        width, height = self.aspect
        if not 0 < height <= width:
            raise DataError(f"--aspect={width}:{height} must be width:height, at least as wide as high; try 4:3")


def parse_aspect(text: str) -> tuple[int, int]:
    """Parse width:height, for example "4:3"."""
    width, _, height = text.partition(":")
    if not (width.isdecimal() and height.isdecimal()):
        raise DataError(f"--aspect={text} must be two whole numbers, width:height; try 4:3")
    return int(width), int(height)


# --- Conversion of one image ------------------------------------------------------------------------------------------

_RESIZE = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}


def to_square(image: Image.Image, config: BuildConfig) -> tuple[np.ndarray, tuple[str, ...]]:
    """Turn upright, convert to sRGB, crop and resize an image.

    Args:
      image: of any size and mode.
      config: what to make; with 1 or 3 channels, transparent parts become white.

    Returns:
      uint8 [R, R, channels], and notes: ENLARGED and those of `sg3tf.image_files.decode`.

    Raises:
      DataError: the image is not square and the crop is "none".
      ValueError: its pixels cannot be read as colors.
      OSError, SyntaxError, ...: the file is damaged (from Pillow).
    """
    image, notes = decode(image, config.channels, config.bits)
    if config.crop == "none" and image.width != image.height:
        raise DataError(f"is {image.width}x{image.height}, not square; use --crop=center")
    resolution, aspect = config.resolution, config.aspect if config.crop == "wide" else (1, 1)
    # Cropped first: with resize(box=...), the filter would see what is cut off.
    kept = image if config.crop == "pad" else center_crop(image, aspect)
    if config.crop == "pad":
        aspect = kept.size
    columns, rows = (max(1, round(resolution * side / max(aspect))) for side in aspect)
    if max(kept.size) < resolution:
        notes += (ENLARGED,)
    resized = np.asarray(kept.resize((columns, rows), _RESIZE[config.resize])).reshape(rows, columns, config.channels)
    square = np.zeros((resolution, resolution, config.channels), np.uint8)
    if config.channels == 4 and config.crop == "wide":
        square[:, :, 3] = 255  # black bars, not transparent ones
    top, left = (resolution - rows) // 2, (resolution - columns) // 2
    square[top : top + rows, left : left + columns] = resized
    return square, notes


@dataclass(frozen=True)
class Converted:
    """One converted image.

    Attributes:
      name, label: as the source lists them.
      payloads: its records; empty if the image cannot be used.
      digest: of its pixels and label, 32 bytes.
      error: why it cannot be used; empty if it can.
      notes: as `to_square` returns them.

    Examples:
      >>> photo = Image.new("RGB", (90, 60), "red")
      >>> converted = convert(BuildConfig(resolution=8), lambda name: photo, LabelSpec("none", 0), ("red.png", None))
      >>> converted.name, len(converted.payloads), converted.error
      ('red.png', 1, '')
    """

    name: str
    label: Label
    payloads: list[bytes]
    digest: bytes = b""
    error: str = ""
    notes: tuple[str, ...] = ()


def convert(
    config: BuildConfig, read: Callable[[str], Image.Image], spec: LabelSpec, entry: tuple[str, Label]
) -> Converted:
    """Make the records of one image; runs in worker processes."""
    name, label = entry
    try:
        with pixel_limit(config.max_megapixels):
            image, notes = to_square(read(name), config)
    except Image.DecompressionBombError:
        return Converted(
            name, label, [], error=f"has more than {config.max_megapixels:g} million pixels; raise --max_megapixels"
        )
    except Exception as error:  # Pillow raises many types for damaged files
        return Converted(name, label, [], error=f"{error}" or type(error).__name__)
    payloads = encode_levels(image) if config.format == "ffhq" else [encode_record(image, label)]
    return Converted(name, label, payloads, ContentDigest.of(image, spec.row(label, name)), notes=notes)
