"""Convert source images to records: crop, resize, encode."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sg3tf.data.encoding import PNG, Encoding, decode_image
from sg3tf.data.errors import ChangedError, DataError, disk_error
from sg3tf.data.ffhq import MIN_RESOLUTION, encode_levels
from sg3tf.data.labels import Label, LabelSpec
from sg3tf.data.shards import ContentDigest, encode_record
from sg3tf.image_files import center_crop, decode, pixel_limit
from sg3tf.utils.resolution import (
    Resolution,
    Size,
    closest_size,
    image_shape,
    is_power_of_two,
    resolution_remedy,
    size_of,
    to_resolution,
)

CROPS = ("center", "wide", "pad", "none")
FILTERS = ("lanczos", "box")
FORMATS = ("shards", "ffhq")

#: (width, height) of the area that crop "wide" keeps.
DEFAULT_ASPECT = (4, 3)

#: Note about an image, besides those of sg3tf.image_files.
ENLARGED = "smaller than the resolution, enlarged"


@dataclass(frozen=True)
class BuildConfig:
    """Properties of the data set to build.

    Attributes:
        resolution: side of square images, a power of two from 4; or their (width, height).
        crop: "center" keeps the largest centered area with the shape of `resolution`; "wide" keeps the one with the
            shape of `aspect`, with black bars around it; "pad" keeps the whole image, with bars that are black, or
            transparent with 4 channels; "none" requires images with the shape of `resolution`.
        channels: 1, 3 or 4.
        resize: resampling filter, "lanczos" or "box".
        aspect: (width, height) of the area kept by crop "wide".
        format: "shards" for sharded records of image files, "ffhq" for NVIDIA's multi-resolution records.
        shards: number of files, for format "shards".
        encoding: image encoding, for format "shards"; digests are those of the decoded pixels.
        bits: bit depth of grayscale images with more than 8 bits; None for 12 if values are below 4096, otherwise 16.
        max_megapixels: skip larger images, before decoding them.
        labels: store the labels of the source.
        missing_labels: keep images without a label; their label is all zeros.
        standardize: treat labels as numbers, and store them with mean 0 and standard deviation 1.

    Examples:
        >>> config = BuildConfig(resolution=256, crop="wide", aspect=(16, 9))
        >>> config.channels, config.format
        (3, 'shards')
    """

    resolution: Resolution
    crop: str = "center"
    channels: int = 3
    resize: str = "lanczos"
    aspect: tuple[int, int] = DEFAULT_ASPECT
    format: str = "shards"
    shards: int = 8
    encoding: Encoding = PNG
    bits: int | None = None
    max_megapixels: float = 178
    labels: bool = True
    missing_labels: bool = False
    standardize: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolution", to_resolution(self.resolution))
        self._check_resolution()
        if self.shards < 1:
            raise DataError(f"--shards={self.shards} must be at least 1")
        if self.bits is not None and not 8 <= self.bits <= 32:
            raise DataError(f"--bits={self.bits} must be from 8 to 32")
        if not 0 < self.max_megapixels < math.inf:
            raise DataError(f"--max_megapixels={self.max_megapixels} must be above 0 and finite; try 178")
        self.encoding.check(self.channels)
        if self.format == "ffhq" and self.encoding.kind != "png":
            raise DataError(f"--encoding={self.encoding}: --format=ffhq stores raw pixels; leave one of them out")
        for name in ("missing_labels", "standardize"):
            if getattr(self, name) and (self.format == "ffhq" or not self.labels):
                raise DataError(f"--{name} needs labels and --format=shards, whose manifest records it; leave it out")
        _check_aspect(self.aspect)

    def _check_resolution(self) -> None:
        resolution = self.resolution
        if isinstance(resolution, int):
            if resolution < MIN_RESOLUTION or not is_power_of_two(resolution):
                raise DataError(f"--resolution={resolution} must be a power of two from 4")
            return
        if remedy := resolution_remedy(resolution, MIN_RESOLUTION):
            raise DataError(f"--resolution={resolution}: {remedy}")
        if self.format == "ffhq":
            raise DataError(f"--resolution={resolution}: --format=ffhq holds squares only; use --format=shards")

    @property
    def size(self) -> Size:
        """Width and height of the images."""
        return size_of(self.resolution)


def parse_aspect(text: str) -> tuple[int, int]:
    """Parse width:height, for example "4:3"."""
    width, _, height = text.partition(":")
    if not (width.isdecimal() and height.isdecimal()):
        raise DataError(f"--aspect={text} must be two whole numbers, width:height; try 4:3")
    return int(width), int(height)


def _check_aspect(aspect: tuple[int, int]) -> None:
    if min(aspect) < 1:
        raise DataError(f"--aspect={aspect[0]}:{aspect[1]} must be width:height, both at least 1; try 4:3")


def resolution_of_aspect(longer: Resolution, aspect: tuple[int, int]) -> Resolution:
    """Return the resolution with the given longer side whose shape is closest to `aspect` (width, height).

    Raises:
        DataError: no supported size is close enough, or `longer` already has both sides.

    Examples:
        >>> str(resolution_of_aspect(512, (16, 9))), str(resolution_of_aspect(64, (2, 3)))
        ('512x288', '44x64')
    """
    if not isinstance(longer, int):
        raise DataError(f"--resolution={longer} has an aspect ratio of its own; give its longer side, or no --aspect")
    _check_aspect(aspect)
    if found := closest_size(longer, aspect, MIN_RESOLUTION):
        return found
    raise DataError(
        f"--resolution={longer} with --aspect={aspect[0]}:{aspect[1]}: no size with this longer side comes near; give "
        "the side as 3 to 20 times a power of two"
    )


# --- Conversion of one image ------------------------------------------------------------------------------------------

_RESIZE = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}


def crop_and_resize(image: Image.Image, config: BuildConfig) -> tuple[np.ndarray, tuple[str, ...]]:
    """Orient, convert to sRGB, crop and resize an image.

    Args:
        image: image of any size and mode.
        config: properties of the data set; with 1 or 3 channels, transparent parts become white.

    Returns:
        uint8 [H, W, channels], and notes: ENLARGED and those of `sg3tf.image_files.decode`.

    Raises:
        DataError: the image has the wrong shape and the crop is "none".
        ValueError: its pixels cannot be read as colors.
        OSError, SyntaxError, ...: the file is damaged (from Pillow).
    """
    image, notes = decode(image, config.channels, config.bits)
    size = config.size
    if config.crop == "none" and image.width * size.height != image.height * size.width:
        shape = "square" if isinstance(config.resolution, int) else f"of the shape of {size}"
        raise DataError(f"is {image.width}x{image.height}, not {shape}; use --crop=center")
    aspect = config.aspect if config.crop == "wide" else size
    # Crop first: with resize(box=...), the filter would use pixels outside the crop.
    kept = image if config.crop == "pad" else center_crop(image, aspect)
    if config.crop == "pad":
        aspect = kept.size
    filled = int(size.width * aspect[1] > size.height * aspect[0])  # the axis without bars
    columns, rows = (max(1, round(size[filled] * side / aspect[filled])) for side in aspect)
    if kept.size[filled] < size[filled]:
        notes += (ENLARGED,)
    resized = np.asarray(kept.resize((columns, rows), _RESIZE[config.resize])).reshape(rows, columns, config.channels)
    canvas = np.zeros(image_shape(config.resolution, config.channels), np.uint8)
    if config.channels == 4 and config.crop == "wide":
        canvas[:, :, 3] = 255  # black bars, not transparent ones
    top, left = (size.height - rows) // 2, (size.width - columns) // 2
    canvas[top : top + rows, left : left + columns] = resized
    return canvas, notes


@dataclass(frozen=True)
class Converted:
    """One converted image.

    Attributes:
        name, label: as listed by the source.
        payloads: its records; empty if the image cannot be used.
        digest: digest of its pixels and label, 32 bytes.
        error: why it cannot be used; empty if it can.
        notes: as returned by `crop_and_resize`.

    Examples:
        >>> photo = Image.new("RGB", (90, 60), "red")
        >>> converted = convert(BuildConfig(resolution=8), lambda name: photo, LabelSpec("none", 0), ("red.png", None))
        >>> converted.name, len(converted.payloads), converted.error
        ('red.png', 1, '')
    """

    name: str
    label: Label
    payloads: list[bytes]
    digest: bytes = b""
    error: str = ""
    notes: tuple[str, ...] = ()


def convert(
    config: BuildConfig, read: Callable[[str], Image.Image], spec: LabelSpec, entry: tuple[str, Label]
) -> Converted:
    """Convert one image to records; runs in worker processes.

    Raises:
        DataError: the disk fails, or the source has changed since it was listed; the image may be intact.
        MemoryError: there is too little memory.
    """
    name, label = entry
    try:
        with pixel_limit(config.max_megapixels):
            image, notes = crop_and_resize(read(name), config)
    except Image.DecompressionBombError:
        return Converted(
            name, label, [], error=f"has more than {config.max_megapixels:g} million pixels; raise --max_megapixels"
        )
    except (ChangedError, MemoryError):
        raise
    except Exception as error:  # Pillow raises many types for damaged files
        if failure := disk_error(error):
            raise DataError(
                f"{name}: cannot be read ({failure.strerror}); check the disk or the mounted share, and build again"
            ) from error
        # Without the file name, so that equal reasons are counted together.
        reason = error.strerror if isinstance(error, OSError) else None
        return Converted(name, label, [], error=reason or f"{error}" or type(error).__name__)
    if config.format == "ffhq":
        payloads = encode_levels(image)
    else:
        encoded = config.encoding.encode(image)
        payloads = [encode_record(image, label, encoded)]
        if config.encoding.quality is not None:
            image = decode_image(encoded, config.channels)
    return Converted(name, label, payloads, ContentDigest.of(image, spec.row(label, name)), notes=notes)
