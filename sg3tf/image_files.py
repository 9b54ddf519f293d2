"""Read image files of any kind as upright 8-bit sRGB pixels. Needs only NumPy and Pillow."""

from __future__ import annotations

import importlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError, features

#: Notes about unusual conversions of an image.
PROFILE = "color profile converted to sRGB"
BAD_PROFILE = "color profile damaged or of another kind of color, ignored"
FIRST_FRAME = "several frames or pages, the first used"
TWELVE_BITS = "12 bits stored in 16, scaled by 4095"

#: Pillow's mode of an image with this many channels.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}

_ORIENTATION = 0x0112
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # a tag of TIFF files and one of its values
#: Largest value of a pixel divided by that in a PNG file, by Pillow's name of the file's mode.
_GRAY_SCALES = {"L;2": 85, "L;4": 17}
_PROBES = np.stack(np.meshgrid(*[np.arange(0, 256, 51)] * 3), axis=-1).astype(np.uint8).reshape(1, -1, 3)
_SRGB_TOLERANCE = 3  # levels by which profiles of sRGB differ from each other
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: Formats that Pillow recognizes and cannot read; vector graphics, for which it may run Ghostscript; and IPTC, whose
#: reader opens a picture within the file, of any format.
NOT_DECODED = frozenset({"MPEG", "HDF5", "GRIB", "BUFR", "EPS", "WMF", "IPTC"})

# Magic bytes of common formats. TIFF is left out: it is also the container of cameras' raw files, of which Pillow would
# read the thumbnail.
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"\0\0\0\x0cjP  \r\n")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")

# All threads share them: of two that change and restore them at once, one may restore those of the other for good.
_warning_filters = threading.Lock()


class Decoded(NamedTuple):
    """Result of `decode`.

    Attributes:
        image: image in mode L, RGB or RGBA.
        notes: possibly unexpected conversions; constants of this module.
    """

    image: Image.Image
    notes: tuple[str, ...]


def is_image(head: bytes) -> bool:
    """Recognize PNG, JPEG, GIF, WebP, JPEG 2000, HEIC and AVIF by the first 16 bytes of a file."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith(_SIGNATURES) or _brand(head) in (*_HEIF_BRANDS, *_AVIF_BRANDS)


def _brand(head: bytes) -> bytes:
    """Return the brand of a file in the MP4, HEIC and AVIF family; b"" for others."""
    return head[8:12] if head[4:8] == b"ftyp" else b""


def open_image(source: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Open an image file in any format that Pillow reads except `NOT_DECODED`, and HEIC if pillow-heif is installed.

    Raises:
        ValueError: the file is not an image, or the package for its format is missing.
        OSError: the file cannot be read.
        Image.DecompressionBombError: it has more pixels than `pixel_limit` allows.
    """
    try:
        with _without_warnings(UserWarning):  # about unused EXIF entries
            return Image.open(source, formats=_formats())
    except UnidentifiedImageError as error:
        brand = _brand(_head(source))
        if brand in _HEIF_BRANDS and _register_heif():
            return Image.open(source, formats=_formats())
        if brand in _HEIF_BRANDS:
            raise ValueError("is a HEIC image: pip install pillow-heif") from error
        if brand in _AVIF_BRANDS and not features.check("avif"):
            raise ValueError("is an AVIF image: pip install --upgrade pillow") from error
        if brand in _AVIF_BRANDS:
            raise ValueError("is a damaged AVIF image") from error
        raise ValueError("is not an image that Pillow can read") from error


def _formats() -> list[str]:
    Image.init()  # only the first call takes time
    return [name for name in Image.ID if name not in NOT_DECODED]


@contextmanager
def _without_warnings(category: type[Warning]) -> Iterator[None]:
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield


def _head(source: str | os.PathLike[str] | BinaryIO) -> bytes:
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return file.read(16)
    source.seek(0)
    head = source.read(16)
    source.seek(0)
    return head


def _register_heif() -> bool:
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True


@contextmanager
def pixel_limit(megapixels: float) -> Iterator[None]:
    """Reject images of more than `megapixels` million pixels within the block, in this process."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = int(megapixels * 1e6) // 2  # Pillow warns above it, and raises above twice the limit
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def decode(image: Image.Image, channels: int, bits: int | None = None) -> Decoded:
    """Convert an image of any mode to upright sRGB with 8 bits per channel.

    An embedded color profile is applied; without one, the values are kept. EXIF orientation is applied, and
    transparent parts become white unless `channels` is 4. If there are several frames, the first is used.

    Args:
        image: image from `open_image`: grayscale, palette, 16 bits, RGB, RGBA, CMYK, LAB, ...
        channels: 1 (grayscale), 3 (RGB) or 4 (RGBA).
        bits: bit depth of grayscale with more than 8 bits, whose largest value becomes white; None for 12 if all values
            are below 4096, otherwise 16.

    Raises:
        ValueError: the range of its pixels is unknown: floating-point numbers, 32 bits, or 12-bit colors stored in 16.
        OSError, SyntaxError, ...: the file is damaged (from Pillow, which decodes it here).
    """
    notes = []
    if _has_frames(image):
        notes.append(FIRST_FRAME)
    stored = str(getattr(image, "tile", ()))  # Pillow's name of the file's mode is in it, until the image is loaded
    halved = ";16" in stored and not image.mode.startswith("I")
    is_negative = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    image.load()
    if halved and (bits is None or bits < 16):
        _require_16_bits(image)
    _scale_transparent_color(image, stored)
    if image.mode in ("La", "RGBa"):  # colors multiplied by alpha
        image = image.convert(image.mode.upper())
    profile = image.info.get("icc_profile")
    image = image.transpose(_TURNS[turn]) if (turn := _orientation(image)) in _TURNS else image
    if image.mode == "F":
        raise ValueError("holds floating-point pixels of unknown range; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        values, clear = np.asarray(image), image.info.get("transparency")
        image, is_twelve = _to_8_bits(values, bits)
        if is_negative:  # of fewer bits, Pillow inverts them
            image = ImageOps.invert(image)
        if isinstance(clear, int):
            image.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
        if is_twelve:
            notes.append(TWELVE_BITS)
    image, note = _to_srgb(image, profile)
    if note:
        notes.append(note)
    if channels < 4 and image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return Decoded(image.convert(MODES[channels]), tuple(notes))


def _has_frames(image: Image.Image) -> bool:
    """Return True if there are further frames, except in phones' MPO files, which add a second view or a depth map."""
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # damaged second frame: Pillow raises many types, even IndexError and struct.error
        return True


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 (upright) if the EXIF data cannot be read."""
    try:
        with _without_warnings(Warning):  # about other entries
            found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow raises many types, even KeyError and struct.error
        return 1
    return found if isinstance(found, int) else 1


def _scale_transparent_color(image: Image.Image, stored: str) -> None:
    """Scale the transparent color of a PNG file, which has the bits of the file, to the 8 bits of the pixels."""
    color = image.info.get("transparency")
    if isinstance(color, tuple) and ";16" in stored:
        image.info["transparency"] = tuple(value >> 8 for value in color)
    for mode, scale in _GRAY_SCALES.items():
        if isinstance(color, int) and repr(mode) in stored:
            image.info["transparency"] = scale * color


def _require_16_bits(image: Image.Image) -> None:
    """Reject 12-bit values in 16-bit channels, of which Pillow keeps only the upper 8 bits."""
    extrema = np.asarray(image.getextrema()).reshape(-1, 2)  # minimum and maximum of each channel
    brightest = int(extrema[[band != "A" for band in image.getbands()]].max())
    if 0 < brightest < 16:
        raise ValueError(
            "uses at most 12 of the 16 bits of its channels, of which Pillow reads the upper 8: it would be nearly "
            "black; convert it to 8 bits per channel"
        )


def _to_8_bits(values: np.ndarray, bits: int | None) -> tuple[Image.Image, bool]:
    """Scale integers [H, W] to 8 bits, with rounding; return the image, and True if 12 bits were assumed."""
    low, high = int(values.min()), int(values.max())
    if bits is None and not 0 <= low <= high < 65536:
        raise ValueError(f"holds values from {low} to {high} of unknown range; convert it to 8 or 16 bits")
    is_twelve = bits is None and 0 < high < 4096
    largest = 2 ** (bits or (12 if is_twelve else 16)) - 1
    if not 0 <= low <= high <= largest:
        raise ValueError(f"holds values from {low} to {high}, which are not of {bits} bits")
    scaled = np.empty(values.shape, np.uint8)
    for row, numbers in enumerate(values):  # row by row, because 64-bit copies of a large image need much memory
        scaled[row] = (numbers.astype(np.int64) * 510 + largest) // (2 * largest)
    return Image.fromarray(scaled), is_twelve


def _to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str]:
    """Convert to sRGB with the embedded profile, if any; return the image, and a note about it or ""."""
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return _checked(ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")), ""
    if not profile:
        return image, ""
    if image.mode in ("P", "PA", "1", "YCbCr", "HSV"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode in ("RGB", "L") and image.has_transparency_data:  # one transparent color
        image = image.convert("RGBA" if image.mode == "RGB" else "LA")
    try:
        given = ImageCms.getOpenProfile(io.BytesIO(profile))
        space = given.profile.xcolor_space.strip()
        working = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[space]
        named = "srgb" in ImageCms.getProfileDescription(given).lower() and image.mode != "CMYK"
        if named and _changes_little(profile, working):
            return image, ""
        alpha = image.getchannel("A") if "A" in image.getbands() else None
        if (working == "CMYK") != (image.mode == "CMYK") or (working == "L" and image.mode not in ("L", "LA")):
            return image, BAD_PROFILE
        srgb = ImageCms.createProfile("sRGB")
        image = _checked(ImageCms.profileToProfile(image.convert(working), given, srgb, outputMode="RGB"))
    except (ImageCms.PyCMSError, OSError, KeyError, ValueError):
        return image, BAD_PROFILE
    if alpha:
        image.putalpha(alpha)
    return image, PROFILE


@lru_cache(maxsize=16)
def _changes_little(profile: bytes, mode: str) -> bool:
    """Return True if conversion from `profile` to sRGB moves no probe color far; linear sRGB is sRGB by name alone."""
    probes = Image.fromarray(_PROBES).convert(mode)
    given, srgb = ImageCms.getOpenProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    converted = _checked(ImageCms.profileToProfile(probes, given, srgb, outputMode="RGB"))
    change = np.asarray(converted).astype(int) - np.asarray(probes.convert("RGB"))
    return bool(np.abs(change).max() <= _SRGB_TOLERANCE)


def _checked(image: Image.Image | None) -> Image.Image:
    if image is None:  # only with inPlace=True
        raise ValueError("no image")
    return image


def center_crop(image: Image.Image, aspect: tuple[int, int] = (1, 1)) -> Image.Image:
    """Crop the largest centered area with an aspect ratio (width, height), by default a square."""
    width = min(image.width, max(1, image.height * aspect[0] // aspect[1]))
    height = min(image.height, max(1, image.width * aspect[1] // aspect[0]))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def read_image(path: str | os.PathLike[str], channels: int) -> Decoded:
    """Read and `decode` an image file.

    Raises:
        ValueError: the file is missing, damaged, or not a convertible image; the message starts with `path`.
    """
    try:
        with open_image(path) as image:
            return decode(image, channels)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: has too many pixels; make it smaller ({error})") from error
    except Exception as error:  # Pillow raises many types for damaged files, even RuntimeError
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error
