"""Colors, curves, the outline of a face, and a canvas with light and pose, for portraits.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Color = np.ndarray | Sequence[float]  # red, green, blue from 0 to 255
GRID = 32  # light and backgrounds vary slowly: they are computed on this many points and enlarged
ROUND = np.linspace(0, 2 * np.pi, 72, endpoint=False)  # angles of points around a head


def blend(colors: Sequence[Color], t: float) -> np.ndarray:
    """The color at t in [0, 1] along a list of colors; float64 [3], 0 to 255."""
    table = np.asarray(colors, float)
    grid = np.linspace(0, 1, len(table))
    return np.array([np.interp(t, grid, table[:, c]) for c in range(3)])


def hue_color(hue: float, saturation: float, value: float) -> np.ndarray:
    """HSV, each in [0, 1], to float64 [3], 0 to 255."""
    wave = np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    return 255 * value * (1 - saturation * (1 - np.clip(wave, 0, 1)))


def ellipse(x: float, y: float, rx: float, ry: float, power: float = 2.0) -> np.ndarray:
    """Points [40, 2] of a superellipse: power 2 is an ellipse, more is squarer."""
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    curve = np.abs(np.stack([c, s], 1)) ** (2 / power) * np.sign(np.stack([c, s], 1))
    return curve * (rx, ry) + (x, y)


class Canvas:
    """A canvas for shapes given in units of half the image, center (0, 0), y down, before the pose."""

    def __init__(self, size: int, light: np.ndarray) -> None:
        self.size = size
        self.image = Image.new("RGB", (size, size))
        grid = np.linspace(-1, 1, GRID)
        slope = grid[None, :] * light[0] + grid[:, None] * light[1]
        self._shade = np.clip(slope / 0.7, -1, 1)[:, :, None]
        self.matrix, self.shift = np.eye(2), np.zeros(2)

    def pose(self, angle: float, scale: float, shift: np.ndarray) -> None:
        """Turn by `angle` (radians) and scale around the throat, then shift."""
        c, s = np.cos(angle) * scale, np.sin(angle) * scale
        throat = np.array([0, 0.5])
        self.matrix = np.array([[c, s], [-s, c]])
        self.shift = throat - throat @ self.matrix + shift

    def place(self, points: np.ndarray) -> np.ndarray:
        """Convert points to pixels."""
        return ((points @ self.matrix + self.shift) + 1) * (self.size / 2)

    def fill(
        self,
        points: np.ndarray,
        color: Color,
        opacity: float = 1.0,
        soft: float = 0.0,
        strength: float = 0.2,
    ) -> None:
        """Draw a polygon that is brighter toward the light by `strength`; `soft` blurs its edge (in units)."""
        corners = self.place(points)
        margin = 3 * soft * self.size / 2 + 2
        low = np.floor(np.maximum(corners.min(0) - margin, 0) / 4) * 4
        high = np.ceil(np.minimum(corners.max(0) + margin, self.size) / 4) * 4
        if (high <= low).any():  # outside the picture
            return
        width, height = (int(x) for x in high - low)
        coarse = 4 if soft else 1  # a blurred mask needs no fine pixels
        mask = Image.new("L", (width // coarse, height // coarse))
        outline = ((corners - low) / coarse).ravel().tolist()
        ImageDraw.Draw(mask).polygon(outline, fill=round(255 * opacity))
        if soft:
            mask = mask.filter(ImageFilter.GaussianBlur(soft * self.size / 2 / coarse))
            mask = mask.resize((width, height), Image.Resampling.BILINEAR)
        shades = np.clip(np.asarray(color) * (1 + strength * self._shade), 0, 255)
        region = tuple((np.concatenate([low, high]) * (GRID / self.size)).tolist())
        sheet = Image.fromarray(shades.astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR, box=region)
        self.image.paste(sheet, (int(low[0]), int(low[1])), mask)

    def flat(self, points: np.ndarray, color: Color) -> None:
        """Draw a small polygon of one color."""
        paint = tuple(int(x) for x in color)
        ImageDraw.Draw(self.image).polygon(self.place(points).ravel().tolist(), fill=paint)

    def line(self, points: np.ndarray, width: float, color: Color) -> None:
        """Draw a line with round joints, `width` in units."""
        paint = tuple(int(x) for x in color)
        corners = self.place(points)
        pixels = width * self.size / 2
        draw = ImageDraw.Draw(self.image)
        draw.line(corners.ravel().tolist(), fill=paint, width=max(1, round(pixels)), joint="curve")
        for x, y in corners[[0, -1]]:
            r = pixels / 2
            draw.ellipse((x - r, y - r, x + r, y + r), fill=paint)


@dataclass
class Face:
    """Proportions of a face, to which everything else is fitted; lengths are in half images."""

    width: float
    height: float
    taper: float
    skin: np.ndarray
    turn: np.ndarray  # where the features are, relative to the head's middle: looking aside
    hair: np.ndarray
    length: float  # of the hair: 0 short, 1 over the shoulders
    volume: float  # of the hair: how much it widens the head, relative
    curls: np.ndarray  # the same, [72], around the head

    def outline(self, grow: np.ndarray | float = 0.0) -> np.ndarray:
        """Points [72, 2] from the right ear over the chin; `grow`, relative, widens it."""
        narrow = 1 - self.taper * np.maximum(np.sin(ROUND), 0) ** 2
        x = np.sign(np.cos(ROUND)) * np.abs(np.cos(ROUND)) ** 0.88 * narrow
        shape = np.stack([self.width * x, self.height * np.sin(ROUND)], 1)
        return shape * (1 + np.broadcast_to(grow, ROUND.shape)[:, None])
