"""Pictures in rows and columns with their names, each pixel a whole number of pixels large. NumPy and Pillow only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from sg3tf.images import to_uint8

_GAP = 10
_FONT_SIZE = 13
_LINE = 18


def enlarged(image: ArrayLike, height: int, width: int) -> NDArray[np.uint8]:
    """The picture [H, W, C] as uint8 RGB, repeated pixel by pixel to at most height x width, or as it is if larger."""
    pixels = to_uint8(image)
    for axis, size in enumerate((height, width)):
        pixels = pixels.repeat(max(1, size // pixels.shape[axis]), axis=axis)
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def sheet(columns: list[str], rows: Mapping[str, Sequence[NDArray[np.uint8] | str]]) -> NDArray[np.uint8]:
    """Lays out pictures.

    Args:
        columns: what stands above them.
        rows: what stands to their left (lines apart by newlines) -> of every column a picture, uint8 [H, W, 3], or
            what to write instead.

    Returns:
        uint8 [H, W, 3], white where nothing is.
    """
    font = ImageFont.load_default(_FONT_SIZE)

    def size(content: NDArray[np.uint8] | str) -> tuple[int, int]:
        """Height and width."""
        if isinstance(content, str):
            lines = content.split("\n")
            return len(lines) * _LINE, _GAP + int(max(font.getlength(line) for line in lines))
        return content.shape[0], content.shape[1]

    height = [max(size(content)[0] for content in (label, *row)) for label, row in rows.items()]
    width = [
        max(size(content)[1] for content in (name, *column))
        for name, column in zip(columns, zip(*rows.values(), strict=True), strict=True)
    ]
    margin = max(size(label)[1] for label in rows)
    top = _GAP + (_LINE if any(columns) else 0)
    left = [_GAP + margin + sum(width[:i]) + i * _GAP for i in range(len(columns))]
    canvas = Image.new("RGB", (left[-1] + width[-1] + _GAP, top + sum(height) + len(height) * _GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for x, name in zip(left, columns, strict=True):
        draw.text((x, _GAP // 2), name, "black", font)
    for row, (label, pictures) in enumerate(rows.items()):
        y = top + sum(height[:row]) + row * _GAP
        draw.multiline_text((_GAP, y), label, "black", font)
        for x, picture in zip(left, pictures, strict=True):
            if isinstance(picture, str):
                draw.multiline_text((x, y), picture, "#777777", font)
            else:
                canvas.paste(Image.fromarray(picture), (x, y))
    return np.asarray(canvas)
