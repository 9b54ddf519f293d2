"""8-bit images: conversion, grids, PNG output. Needs only NumPy and Pillow."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sg3tf.utils.files import atomic_write

ByteArray = NDArray[np.uint8]
FloatArray = NDArray[np.float32]


def to_uint8(images: ArrayLike) -> ByteArray:
    """Map [-1, 1] to 0..255, rounded and clipped; uint8 is returned unchanged.

    Raises:
        ValueError: numbers of another type, such as int64, whose range is unknown.
    """
    array = np.asarray(images)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "biuc":
        raise ValueError(f"images of type {array.dtype}: give uint8, or floats in [-1, 1]")
    return np.asarray(np.clip(np.rint((array.astype(np.float32) + 1) * 127.5), 0, 255), np.uint8)


def to_float(pixels: ArrayLike) -> FloatArray:
    """Map 0..255 to [-1, 1], the inverse of `to_uint8`."""
    return np.asarray(pixels, np.float32) / np.float32(127.5) - 1


def grid(images: ArrayLike, columns: int | None = None) -> ByteArray:
    """Tile images row by row.

    Args:
        images: [N, H, W, C], uint8 or float in [-1, 1]; C is 1, 3 or 4.
        columns: images per row; None for as square as possible.

    Returns:
        uint8 [rows * H, columns * W, C]; missing images in the last row are black.

    Raises:
        ValueError: the array is not four-dimensional, has no images, or has integers other than uint8.
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
    """Enlarge images [..., H, W, C] by repeating every pixel scale x scale times."""
    return to_uint8(image).repeat(scale, axis=-3).repeat(scale, axis=-2)


def save_png(path: str | os.PathLike[str], image: ArrayLike, text: Mapping[str, str] | None = None) -> None:
    """Write one image (or a grid) as PNG, atomically.

    Args:
        path: the file; missing folders are created.
        image: [H, W, C], uint8 or float in [-1, 1].
        text: metadata, available as PIL.Image.open(path).text; bytes of file names that are not UTF-8 are escaped.

    Raises:
        ValueError: not a single image, an unsupported number of channels, or integers other than uint8.
    """
    pixels = to_uint8(image)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        remedy = "several are made one by sg3tf.images.grid" if pixels.ndim == 4 else "C is 1, 3 or 4"
        raise ValueError(f"image of shape {pixels.shape}: give one image, [H, W, C]; {remedy}")
    if pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    metadata = PngInfo()
    for key, value in (text or {}).items():
        metadata.add_itxt(key, value.encode("utf-8", "backslashreplace").decode())
    with atomic_write(target) as file:
        Image.fromarray(pixels).save(file, format="PNG", pnginfo=metadata)
