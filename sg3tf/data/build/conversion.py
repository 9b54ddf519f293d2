"""Conversion of source images into records: crop, resize, encode."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sg3tf.data.errors import DataError
from sg3tf.data.ffhq import MIN_RESOLUTION, encode_levels
from sg3tf.data.labels import Label, LabelSpec
from sg3tf.data.shards import ContentDigest, encode_record

# ---------------------------------------------------------------------------------------------------------------------
# What a data set is to look like, whatever it is made from.
# ---------------------------------------------------------------------------------------------------------------------

CROPS = ("center", "wide", "none")
FILTERS = ("lanczos", "box")
FORMATS = ("shards", "ffhq")


@dataclass(frozen=True)
class BuildConfig:
    """How images become records.

    Attributes:
      resolution: of the result, a power of two from 4.
      crop: "center" keeps the largest centred square; "wide" the largest centred area of `aspect`, with black bars
        above and below; "none" wants square images.
      channels: 1, 3 or 4.
      resize: the filter, "lanczos" or "box".
      aspect: (width, height) of what is kept with crop "wide"; not narrower than a square.
      format: "shards" for the project's own records, "ffhq" for NVIDIA's.
      shards: number of files of the former.
    """

    resolution: int
    crop: str = "center"
    channels: int = 3
    resize: str = "lanczos"
    aspect: tuple[int, int] = (4, 3)
    format: str = "shards"
    shards: int = 8

    def __post_init__(self) -> None:
        if self.resolution < MIN_RESOLUTION or self.resolution & (self.resolution - 1):
            raise DataError(f"--resolution={self.resolution} must be a power of two from 4")
        if self.shards < 1:
            raise DataError(f"--shards={self.shards} must be at least 1")
        width, height = self.aspect
        if not 0 < height <= width:
            raise DataError(f"--aspect={width}:{height} must be width:height, at least as wide as high; try 4:3")


def parse_aspect(text: str) -> tuple[int, int]:
    """Reads "4:3"."""
    width, _, height = text.partition(":")
    if not (width.isdecimal() and height.isdecimal()):
        raise DataError(f"--aspect={text} must be two whole numbers, width:height; try 4:3")
    return int(width), int(height)


# ---------------------------------------------------------------------------------------------------------------------
# Turns any image into square uint8 pixels.
# ---------------------------------------------------------------------------------------------------------------------

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_RESIZE = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}


def open_image(encoded: bytes) -> Image.Image:
    """Opens an image file of any format that Pillow reads.

    Raises:
      DataError: it is none.
    """
    try:
        return Image.open(io.BytesIO(encoded))
    except UnidentifiedImageError as error:
        raise DataError("is not an image that Pillow can read") from error


def to_square(image: Image.Image, recipe: BuildConfig) -> np.ndarray:
    """Turns upright, crops and resizes an image.

    Args:
      image: of any size and mode.
      recipe: what to make; with 1 or 3 channels, transparent parts become white.

    Returns:
      uint8 [R, R, channels].

    Raises:
      DataError: it is not square and the crop is "none", or its pixels cannot be read as colours.
      OSError, ValueError, ...: Pillow's own, for a damaged file.
    """
    image = _to_mode(_eight_bits(ImageOps.exif_transpose(image)), _MODES[recipe.channels])
    width, height = image.size
    if recipe.crop == "none" and width != height:
        raise DataError(f"is {width}x{height}, not square; use --crop=center")
    aspect = recipe.aspect if recipe.crop == "wide" else (1, 1)
    rows = max(1, round(recipe.resolution * aspect[1] / aspect[0]))
    # resize(box=...) would let the filter see what is cut off.
    kept = image.crop(_centered(image.size, aspect)).resize((recipe.resolution, rows), _RESIZE[recipe.resize])
    square = np.zeros((recipe.resolution, recipe.resolution, recipe.channels), np.uint8)
    if recipe.channels == 4:
        square[:, :, 3] = 255  # black bars, not holes
    top = (recipe.resolution - rows) // 2
    square[top : top + rows] = np.asarray(kept).reshape(rows, recipe.resolution, recipe.channels)
    return square


def _centered(size: tuple[int, int], aspect: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest box (left, top, right, bottom) of an aspect inside an image of a size, in whole pixels."""
    width = min(size[0], max(1, size[1] * aspect[0] // aspect[1]))
    height = min(size[1], max(1, size[0] * aspect[1] // aspect[0]))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scales 16-bit greyscale, which Pillow's convert would clip at 255."""
    if image.mode == "F":
        raise DataError("holds floating-point pixels of unknown range; convert it to 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    grey = np.clip(np.array(image).astype(np.int64), 0, 65535)  # mode I, too, comes from 16 bits
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8))


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Converts to `mode`; where that has no transparency, what is transparent becomes white."""
    if image.has_transparency_data and mode != "RGBA":
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


# ---------------------------------------------------------------------------------------------------------------------
# One image of a source becomes records.
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Converted:
    """One image: `payloads` are its records, or else `problem` says what is wrong with it."""

    name: str
    label: Label
    payloads: list[bytes]
    digest: bytes = b""
    problem: str = ""


def convert(
    recipe: BuildConfig, read: Callable[[str], Image.Image], spec: LabelSpec, entry: tuple[str, Label]
) -> Converted:
    """Makes the records of one image; runs in a worker process."""
    name, label = entry
    try:
        image = to_square(read(name), recipe)
    except Exception as error:  # Pillow raises many kinds for damaged files
        return Converted(name, label, [], problem=f"{error}" or type(error).__name__)
    payloads = encode_levels(image) if recipe.format == "ffhq" else [encode_record(image, label)]
    return Converted(name, label, payloads, ContentDigest.of(image, spec.row(label, name)))
