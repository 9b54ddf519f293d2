"""Turns any image into square uint8 pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from trainer.data.errors import DataError
from trainer.data.recipe import Recipe

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


def to_square(image: Image.Image, recipe: Recipe) -> np.ndarray:
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
