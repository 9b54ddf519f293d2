"""Image sizes: one number for squares, width x height for others. Pure Python.

The side of a square is a power of two. The sides of other images are 3 to 20 times the same power of two, so that a
network can halve both until a small grid of at least 3 pixels remains (docs/adr/0041).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

MAX_SIDE = 1280
MAX_SQUARE = 1024
#: Limits of the sides of the smallest grid of an image that is not square; a square's is 4 x 4.
_MIN_FIRST, _MAX_FIRST = 3, 20
_FIRST_SQUARE = 4


class Size(NamedTuple):
    """Width and height in pixels.

    Examples:
        >>> size = Size(64, 32)
        >>> str(size), size.longer, size.shorter, size.pixels
        ('64x32', 64, 32, 2048)
    """

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def longer(self) -> int:
        return max(self)

    @property
    def shorter(self) -> int:
        return min(self)

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def halved(self, times: int) -> Size:
        """Return the size after halving both sides `times` times."""
        return Size(self.width >> times, self.height >> times)


#: Side of a square, or the size of another image.
Resolution: TypeAlias = int | Size
#: Argument of `to_resolution`: 64, "64x32" or (64, 32).
AnyResolution: TypeAlias = int | str | Sequence[int]


def to_resolution(value: AnyResolution) -> Resolution:
    """Return a resolution in its canonical form: an int for squares, a Size for others.

    Args:
        value: 64, "64", "64x32", or (64, 32), width first.

    Raises:
        ValueError: malformed value.

    Examples:
        >>> to_resolution("64x64"), to_resolution("64x32"), to_resolution([64, 32])
        (64, Size(width=64, height=32), Size(width=64, height=32))
    """
    try:
        sides = _sides(value)
    except (TypeError, ValueError):
        sides = []
    if len(sides) not in (1, 2):
        raise ValueError(f"resolution={value!r}: give the side of a square, or width x height, such as 256 or 512x256")
    return sides[0] if sides[0] == sides[-1] else Size(*sides)


def _sides(value: AnyResolution) -> list[int]:
    if isinstance(value, str):
        return [int(side) for side in value.lower().split("x")]
    sides = [*value] if isinstance(value, Iterable) else [value]
    if any(isinstance(side, bool) for side in sides):
        raise TypeError
    return [operator.index(side) for side in sides]  # also those of NumPy


def size_of(resolution: Resolution) -> Size:
    """Return the width and height of a resolution."""
    return resolution if isinstance(resolution, Size) else Size(resolution, resolution)


def image_shape(resolution: Resolution, channels: int) -> tuple[int, int, int]:
    """Return the shape (height, width, channels) of an image."""
    width, height = size_of(resolution)
    return height, width, channels


def longer_side(resolution: Resolution) -> int:
    """Return the number of pixels of the longer side."""
    return size_of(resolution).longer


def is_power_of_two(value: int) -> bool:
    """Return True for 1, 2, 4, ..."""
    return value > 0 and not value & (value - 1)


def num_halvings(resolution: Resolution) -> int:
    """Return how often both sides can be halved: to 4 x 4 for a square, otherwise to at least 3 pixels.

    Examples:
        >>> num_halvings(256), num_halvings(Size(64, 32)), num_halvings(Size(1024, 576))
        (6, 3, 6)
    """
    size = size_of(resolution)
    least = _FIRST_SQUARE if size.width == size.height else _MIN_FIRST
    times = 0
    while size.width % 2 == size.height % 2 == 0 and size.shorter // 2 >= least:
        size, times = size.halved(1), times + 1
    return times


def pyramid(resolution: Resolution) -> list[Size]:
    """Return the sizes from the smallest grid, doubling up to the image.

    Examples:
        >>> [str(size) for size in pyramid(Size(48, 32))]
        ['6x4', '12x8', '24x16', '48x32']
    """
    times = num_halvings(resolution)
    return [size_of(resolution).halved(times - level) for level in range(times + 1)]


def resolution_remedy(resolution: Resolution, smallest: int) -> str | None:
    """Return the remedy for an error message about a resolution; None if a network can have it.

    Args:
        resolution: the resolution to check.
        smallest: minimum side.

    Examples:
        >>> resolution_remedy(Size(1280, 720), smallest=16)
        'both sides must be 3 to 20 times the same power of two, from 16 to 1280; near it are 1280x704, 1152x640'
    """
    size = size_of(resolution)
    if size.width == size.height:
        fits = is_power_of_two(size.width) and smallest <= size.width <= MAX_SQUARE
        return None if fits else f"must be a power of two from {smallest} to {MAX_SQUARE}"
    if _fits(size, smallest):
        return None
    near = _nearest(size, smallest)
    rule = f"both sides must be {_MIN_FIRST} to {_MAX_FIRST} times the same power of two, from {smallest} to {MAX_SIDE}"
    return f"{rule}; near it are {', '.join(map(str, near))}"


def _fits(size: Size, smallest: int) -> bool:
    first = size.halved(num_halvings(size))
    return smallest <= size.shorter and size.longer <= MAX_SIDE and first.longer <= _MAX_FIRST


def closest_size(longer: int, aspect: tuple[int, int], smallest: int) -> Resolution | None:
    """Return the resolution with a given longer side that is closest to an aspect ratio; None if none is within 10 %.

    Examples:
        >>> str(closest_size(1280, (16, 9), smallest=16))
        '1280x704'
    """
    if aspect[0] == aspect[1]:
        return longer
    wanted = longer * min(aspect) / max(aspect)
    sizes = [Size(longer, side) for side in range(smallest, longer)]
    fitting = [size.height for size in sizes if _fits(size, smallest)]
    shorter = min(fitting, key=lambda side: abs(math.log(side / wanted)), default=0)
    if not 0.9 < shorter / wanted < 1.1:
        return None
    return Size(longer, shorter) if aspect[0] > aspect[1] else Size(shorter, longer)


def _nearest(size: Size, smallest: int) -> list[Size]:
    """Return the two closest valid sizes, where the aspect ratio matters most."""
    multiples = range(_MIN_FIRST, _MAX_FIRST + 1)
    scales = [2**power for power in range(MAX_SIDE.bit_length())]
    candidates = {Size(a * scale, b * scale) for a in multiples for b in multiples for scale in scales if a != b}

    def distance(candidate: Size) -> tuple[float, Size]:
        width, height = (math.log(side / max(wanted, 1)) for side, wanted in zip(candidate, size, strict=True))
        return abs(width - height) + abs(width + height) / 12, candidate

    return sorted((candidate for candidate in candidates if _fits(candidate, smallest)), key=distance)[:2]
