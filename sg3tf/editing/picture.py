"""Pictures to project: read from files, or given as arrays."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from sg3tf.image_files import center_crop, read_image
from sg3tf.images import to_float
from sg3tf.utils.resolution import Resolution, image_shape, size_of


def read_picture(path: Path, resolution: Resolution, channels: int, crop: bool = False) -> NDArray[np.float32]:
    """Read the image to project, upright, in sRGB, with transparency on white; notes about it go to stderr.

    Args:
        path: any format and mode that `sg3tf.image_files.read_image` reads.
        resolution: side of the result, or its Size.
        channels: 1 (grayscale), 3 (RGB), or 4, which keeps transparency.
        crop: if the image has another size, crop the largest centered area with this shape and resize it (Lanczos).

    Returns:
        float32 [H, W, channels] in [-1, 1].

    Raises:
        ValueError: the file is not a readable image, or has another size and `crop` is False.
    """
    try:
        image, notes = read_image(path, channels)
    except ValueError as error:
        raise ValueError(f"target={error}") from error
    for note in notes:
        print(f"target={path}: {note}", file=sys.stderr)
    size = size_of(resolution)
    if image.size != size:
        if not crop:
            remedy = "give --crop to crop its center to that shape and resize it"
            raise ValueError(f"target={path}: is {_by(image.size)}, the network makes {_by(size)}; {remedy}")
        image = center_crop(image, size).resize(size, Image.Resampling.LANCZOS)
    return to_float(np.asarray(image)).reshape(image_shape(resolution, channels))


def checked_target(target: ArrayLike, resolution: Resolution, channels: int) -> NDArray[np.float32]:
    """Return an image to project, [H, W, channels] in [-1, 1], as float32.

    Raises:
        ValueError: the array has another shape, or is not of floats.
    """
    image = np.asarray(target)
    if image.dtype.kind in "biu":
        remedy = "give floats in [-1, 1], as sg3tf.images.to_float makes of pixels from 0 to 255"
        raise ValueError(f"target of type {image.dtype}: {remedy}")
    expected = image_shape(resolution, channels)
    if image.shape != expected:
        raise ValueError(f"target of shape {image.shape}: give [{', '.join(map(str, expected))}]")
    return image.astype(np.float32)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
