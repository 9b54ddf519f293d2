"""8-bit images: reading files of any kind, grids, writing PNG. Needs NumPy and Pillow only."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from sg3tf.utils.files import atomic_write

ByteArray = NDArray[np.uint8]


def to_uint8(images: ArrayLike) -> ByteArray:
    """Map [-1, 1] to 0..255, rounded to nearest and clipped; uint8 passes unchanged."""
    array = np.asarray(images)
    if array.dtype == np.uint8:
        return array
    return np.asarray(np.clip(np.rint((array.astype(np.float32) + 1) * 127.5), 0, 255), np.uint8)


def grid(images: ArrayLike, columns: int | None = None) -> ByteArray:
    """Tile images row by row.

    Args:
        images: [N, H, W, C], uint8 or float in [-1, 1]; C is 1, 3 or 4.
        columns: images per row; None: as square as N allows.

    Returns:
        uint8 [rows * H, columns * W, C]; missing images of the last row are black.

    Raises:
        ValueError: the array is not four-dimensional or holds no image.
    """
    tiles = to_uint8(images)
    if tiles.ndim != 4 or not len(tiles):
        raise ValueError(f"images of shape {tiles.shape}: give at least one, [N, H, W, C]")
    count, height, width, channels = tiles.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    canvas = np.zeros([rows * columns, height, width, channels], np.uint8)
    canvas[:count] = tiles
    canvas = canvas.reshape(rows, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    return canvas.reshape(rows * height, columns * width, channels)


def enlarge(image: ArrayLike, scale: int) -> ByteArray:
    """Return images [..., H, W, C] with every pixel repeated as a square of scale x scale."""
    return to_uint8(image).repeat(scale, axis=-3).repeat(scale, axis=-2)


def save_png(path: str | os.PathLike[str], image: ArrayLike, text: Mapping[str, str] | None = None) -> None:
    """Write one image (or a grid) as PNG, atomically.

    Args:
        path: the file; missing folders are made.
        image: [H, W, C], uint8 or float in [-1, 1].
        text: metadata, which PIL.Image.open(path).text returns.
    """
    pixels = to_uint8(image)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    metadata = PngInfo()
    for key, value in (text or {}).items():
        metadata.add_itxt(key, value)
    with atomic_write(target) as file:
        Image.fromarray(pixels).save(file, format="PNG", pnginfo=metadata)


# --- Reading ----------------------------------------------------------------------------------------------------------

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def open_image(source: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Open an image file of any format that Pillow reads; of an animation, the first frame.

    Raises:
        ValueError: the file is not an image.
        OSError: the file cannot be read.
    """
    try:
        return Image.open(source)
    except UnidentifiedImageError as error:
        raise ValueError("is not an image that Pillow can read") from error


def to_channels(image: Image.Image, channels: int) -> Image.Image:
    """Turn an image of any mode upright and give it 8 bits per channel.

    16-bit values are scaled, EXIF orientation is applied, and transparent parts become white unless `channels` is 4.

    Args:
        image: grayscale, palette, 16 bits, RGB, RGBA, CMYK, ...
        channels: 1 (grayscale), 3 (RGB) or 4 (RGBA).

    Raises:
        ValueError: the pixels are floating-point numbers.
        OSError, SyntaxError: the file is damaged (from Pillow, which decodes it here).
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("holds floating-point pixels of unknown range; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits, also in 32-bit mode I; Pillow's convert would clip at 255
        values = np.clip(np.asarray(image, np.int64), 0, 65535)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if channels < 4 and image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert(_MODES[channels])


def center_crop(image: Image.Image, aspect: tuple[int, int] = (1, 1)) -> Image.Image:
    """Cut out the largest centered area of an aspect ratio, (width, height); by default a square."""
    width = min(image.width, max(1, image.height * aspect[0] // aspect[1]))
    height = min(image.height, max(1, image.width * aspect[1] // aspect[0]))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def read_image(path: str | os.PathLike[str], channels: int) -> Image.Image:
    """Read an image file as `to_channels` returns it.

    Raises:
        ValueError: the file is missing, damaged, or not an image that can be converted; the message begins with `path`.
    """
    try:
        with open_image(path) as image:
            return to_channels(image, channels)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: Pillow's
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error
