"""Pictures in rows and columns, with names above and beside them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]

_FONT_SIZE = 12
_LINE = 16
_GAP = 6


def with_captions(columns: list[str], rows: dict[str, list[Picture]]) -> Picture:
    """Lays out pictures of one size.

    Args:
        columns: what stands above them.
        rows: what stands to their left, or "" -> [H, W, C] of every column; the last may be fewer.

    Returns:
        uint8 [height, width, 3], white where nothing is.
    """
    font = ImageFont.load_default(_FONT_SIZE)
    height, width = next(iter(rows.values()))[0].shape[:2]
    width = max([width, *(int(font.getlength(name)) + 1 for name in columns)]) + _GAP
    height += _GAP
    left = _GAP + max(int(font.getlength(name)) + _GAP if name else 0 for name in rows)
    canvas = Image.new("RGB", (left + len(columns) * width, _LINE + len(rows) * height), "white")
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(columns):
        draw.text((left + column * width, 0), name, "black", font)
    for row, (name, pictures) in enumerate(rows.items()):
        y = _LINE + row * height
        draw.text((_GAP, y), name, "black", font)
        for column, picture in enumerate(pictures):
            canvas.paste(
                Image.fromarray(picture.squeeze(-1) if picture.shape[2] == 1 else picture), (left + column * width, y)
            )
    return np.asarray(canvas)
