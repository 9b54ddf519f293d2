"""Turns any image file into square uint8 pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from trainer.data.errors import DataError
from trainer.data.shards import MODES

RESIZE_FILTER = "lanczos"
CROPS = ("center", "none")


def load_square(encoded: bytes, resolution: int, crop: str, channels: int) -> np.ndarray:
    """Decodes, turns upright, crops and resizes an image file.

    Args:
      encoded: the file's bytes; any format, size and mode that Pillow reads.
      resolution: R, pixels.
      crop: "center" keeps the largest centred square, "none" wants square images.
      channels: 1 grey, 3 RGB, 4 RGBA; with 1 or 3, transparent parts become white.

    Returns:
      uint8 [R, R, channels].

    Raises:
      DataError: it is not square and crop is "none", or its pixels cannot be read as colours.
      OSError, ValueError, ...: Pillow's own, for a damaged file.
    """
    with _open(encoded) as opened:
        image = _to_mode(_eight_bits(ImageOps.exif_transpose(opened)), MODES[channels])
    width, height = image.size
    if crop == "none" and width != height:
        raise DataError(f"is {width}x{height}, not square; use --crop=center")
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    image = image.resize(
        (resolution, resolution),
        Image.Resampling.LANCZOS,
        box=(left, top, left + side, top + side),
    )
    return np.array(image).reshape(resolution, resolution, channels)


def _open(encoded: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded))
    except UnidentifiedImageError as error:
        raise DataError("is not an image that Pillow can read") from error


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
