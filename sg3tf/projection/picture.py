"""Pictures from files, as a generator would make them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read_picture(path: Path, resolution: int, channels: int, crop: bool = False) -> NDArray[np.float32]:
    """The picture in a file, turned as its EXIF says, on white where it is transparent, in 8 bits per channel.

    Args:
        path: any format that Pillow reads: grey, palette, 16 bits, RGBA, CMYK, ...; of an animation the first frame.
        resolution: side of the result.
        channels: 1 (grey), 3, or 4, which keeps transparency as it is.
        crop: take the largest square in the middle of a picture of another size, and resize it (Lanczos).

    Returns:
        float32 [resolution, resolution, channels] in [-1, 1].

    Raises:
        ValueError: no such file, no picture, or one of another size without `crop`.
    """
    try:
        with Image.open(path) as file:
            picture = _converted(ImageOps.exif_transpose(file), channels)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's, for files of all kinds
        raise ValueError(f"target={path}: cannot be read as a picture ({error})") from error
    size = (resolution, resolution)
    if picture.size != size:
        if not crop:
            remedy = "give --crop to take the square in its middle and resize it"
            raise ValueError(f"target={path}: is {_by(picture.size)}, the network makes {_by(size)}; {remedy}")
        picture = _centre(picture).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32).reshape(resolution, resolution, channels) / 127.5 - 1


def _converted(picture: Image.Image, channels: int) -> Image.Image:
    if picture.mode == "F":
        raise SyntaxError("its pixels are floating-point numbers of unknown range")
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would clip instead of scaling
        values = np.asarray(picture, np.float64) / 257
        picture = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    if channels < 4 and picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), rgba)
    return picture.convert(_MODES[channels])


def _centre(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
