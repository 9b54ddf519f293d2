"""Another style for the portraits of portraits.py, for transfer learning: the same people under neon light."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter
from portrait_canvas import blend

STYLES = ("plain", "neon")

# From dark to bright.
_NIGHT = ((12, 10, 40), (46, 26, 110), (150, 40, 130), (240, 110, 90), (255, 214, 140), (255, 250, 220))
_PALETTE = np.stack([blend(_NIGHT, t) for t in np.linspace(0, 1, 256) ** 1.2])
_GLOW = np.array([120.0, 255.0, 240.0])


def neon(image: Image.Image) -> Image.Image:
    """Map brightness to the colors of a night, and draw a glowing line around everything large."""
    colors = _PALETTE[np.asarray(image.convert("L"))]
    line = _outlines(image)[:, :, None]
    return Image.fromarray((colors + (_GLOW - colors) * line).astype(np.uint8))


def _outlines(image: Image.Image) -> np.ndarray:
    """Lines about a 32nd of the image wide, float64 [H, W], from 0 to 1."""
    # A median filter removes eyes and mouth, which would disappear under their outlines.
    shapes = image.resize((32, 32), Image.Resampling.BOX).filter(ImageFilter.MedianFilter(5))
    smooth = np.asarray(shapes.resize(image.size, Image.Resampling.BICUBIC), float)
    down, right = np.gradient(smooth, 128 / image.height, 128 / image.width, axis=(0, 1))
    return np.clip(np.sqrt((down**2 + right**2).sum(axis=2)) / 14 - 0.3, 0, 1)
