"""Pictures to project."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
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


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
