"""What a data set is to look like, whatever it is made from."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.data.errors import DataError
from trainer.data.ffhq import MIN_RESOLUTION

CROPS = ("center", "wide", "none")
FILTERS = ("lanczos", "box")
FORMATS = ("shards", "ffhq")


@dataclass(frozen=True)
class Recipe:
    """How images become records.

    Attributes:
      resolution: of the result, a power of two from 4.
      crop: "center" keeps the largest centred square; "wide" the largest centred area of `aspect`, with black bars
        above and below; "none" wants square images.
      channels: 1, 3 or 4.
      resize: the filter, "lanczos" or "box".
      aspect: (width, height) of what is kept with crop "wide"; not narrower than a square.
      format: "shards" for the project's own records, "ffhq" for NVIDIA's.
      shards: number of files of the former.
    """

    resolution: int
    crop: str = "center"
    channels: int = 3
    resize: str = "lanczos"
    aspect: tuple[int, int] = (4, 3)
    format: str = "shards"
    shards: int = 8

    def __post_init__(self) -> None:
        if self.resolution < MIN_RESOLUTION or self.resolution & (self.resolution - 1):
            raise DataError(f"--resolution={self.resolution} must be a power of two from 4")
        if self.shards < 1:
            raise DataError(f"--shards={self.shards} must be at least 1")
        width, height = self.aspect
        if not 0 < height <= width:
            raise DataError(f"--aspect={width}:{height} must be width:height, at least as wide as high; try 4:3")


def parse_aspect(text: str) -> tuple[int, int]:
    """Reads "4:3"."""
    width, _, height = text.partition(":")
    if not (width.isdecimal() and height.isdecimal()):
        raise DataError(f"--aspect={text} must be two whole numbers, width:height; try 4:3")
    return int(width), int(height)
