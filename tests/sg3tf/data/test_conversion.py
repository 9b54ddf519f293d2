"""crop_and_resize converts images of any size and mode to uint8 [H, W, C]."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.conversion import BuildConfig, convert, crop_and_resize
from sg3tf.data.errors import DataError
from sg3tf.data.labels import LabelSpec
from sg3tf.image_files import open_image
from sg3tf.utils.resolution import Size


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def load_square(encoded: bytes, resolution: int, crop: str, channels: int) -> np.ndarray:
    return crop_and_resize(open_image(io.BytesIO(encoded)), BuildConfig(resolution, crop, channels))[0]


COLOR, GRAY = (200, 120, 40), 135  # GRAY is COLOR's luma


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "I", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_mode_keeps_its_color(mode: str, channels: int) -> None:
    if mode.startswith("I"):
        wide = np.full((30, 40), GRAY * 257, np.uint16 if ";" in mode else np.int32)
        image = Image.fromarray(wide)
    else:
        image = Image.new("RGB", (40, 30), COLOR)
        image = image.quantize(4) if mode == "P" else image.convert(mode)
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG", "I": "TIFF"}.get(mode, "PNG")
    pixels = load_square(encode(image, kind), 8, "center", channels)
    assert pixels.shape == (8, 8, channels)
    assert pixels.dtype == np.uint8
    is_gray = mode in ("L", "LA", "I;16", "I") or channels == 1
    expected = [*((GRAY,) * 3 if is_gray else COLOR), 255][:channels]
    assert np.abs(pixels.astype(int) - expected).max() <= 3


def test_sixteen_bits_are_scaled_exactly() -> None:
    gray = np.arange(256, dtype=np.uint16).reshape(16, 16)
    found = load_square(encode(Image.fromarray(gray * 257)), 16, "center", 1)
    np.testing.assert_array_equal(found[:, :, 0], gray)


def test_black_and_white() -> None:
    checks = Image.fromarray(np.eye(8, dtype=bool))
    found = load_square(encode(checks), 8, "center", 1)[:, :, 0]
    np.testing.assert_array_equal(found, np.eye(8) * 255)


def test_center_crop_takes_the_largest_square() -> None:
    pixels = np.zeros((8, 20, 3), np.uint8)
    pixels[:, 6:14] = np.arange(8)[None, :, None] * 30
    found = load_square(encode(Image.fromarray(pixels)), 8, "center", 3)
    np.testing.assert_array_equal(found, pixels[:, 6:14])


@pytest.mark.parametrize(
    ("size", "aspect", "box"),
    [
        ((64, 48), (4, 3), (0, 0, 64, 48)),  # whole
        ((80, 48), (4, 3), (8, 0, 72, 48)),  # sides cut off
        ((64, 64), (4, 3), (0, 8, 64, 56)),  # top and bottom cut off
        ((90, 160), (2, 1), (0, 57, 90, 102)),
        ((30, 20), (1, 1), (5, 0, 25, 20)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_wide_crop_has_black_bars(
    size: tuple[int, int], aspect: tuple[int, int], box: tuple[int, ...], channels: int
) -> None:
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    image = Image.effect_noise(size, 60).convert(mode)
    found, _ = crop_and_resize(image, BuildConfig(16, "wide", channels, aspect=aspect))
    rows = 16 * aspect[1] // aspect[0]
    expected = np.asarray(image.crop(box).resize((16, rows), Image.Resampling.LANCZOS)).reshape(rows, 16, channels)
    top = (16 - rows) // 2
    np.testing.assert_array_equal(found[top : top + rows], expected)
    bars = np.concatenate([found[:top], found[top + rows :]])
    assert (bars == [0, 0, 0, 255][:channels]).all()


@pytest.mark.parametrize(
    ("crop", "size", "box", "inside"),
    [
        ("center", (96, 40), (18, 0, 78, 40), (0, 0, 24, 16)),
        ("center", (30, 60), (0, 20, 30, 40), (0, 0, 24, 16)),
        ("none", (48, 32), (0, 0, 48, 32), (0, 0, 24, 16)),
        ("pad", (48, 24), (0, 0, 48, 24), (0, 2, 24, 14)),
        ("pad", (20, 40), (0, 0, 20, 40), (8, 0, 16, 16)),
        ("wide", (64, 64), (0, 8, 64, 56), (1, 0, 22, 16)),  # 4:3 in 3:2, 21.3 columns
    ],
)
def test_pictures_that_are_not_square(
    crop: str, size: tuple[int, int], box: tuple[int, ...], inside: tuple[int, int, int, int]
) -> None:
    """`box` of the image fills `inside` of 24 x 16 pixels, both (left, top, right, bottom); the rest is black."""
    image = Image.effect_noise(size, 60).convert("RGB")
    found, _ = crop_and_resize(image, BuildConfig(Size(24, 16), crop))
    left, top, right, bottom = inside
    expected = np.zeros((16, 24, 3), np.uint8)
    expected[top:bottom, left:right] = image.crop(box).resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("resize", "factor"), [("box", 4), ("lanczos", 4)])
def test_the_resize_filter(resize: str, factor: int) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (8 * factor, 8 * factor), np.uint8)
    found = crop_and_resize(Image.fromarray(gray), BuildConfig(8, "none", 1, resize))[0][:, :, 0]
    averages = gray.reshape(8, factor, 8, factor).mean((1, 3))
    assert (np.abs(found - averages).max() <= 1) == (resize == "box")


def test_crop_none_requires_squares() -> None:
    with pytest.raises(DataError, match="is 20x8, not square; use --crop=center"):
        load_square(encode(Image.new("RGB", (20, 8))), 8, "none", 3)
    assert load_square(encode(Image.new("RGB", (20, 20))), 8, "none", 3).shape == (8, 8, 3)
    with pytest.raises(DataError, match="is 20x20, not of the shape of 24x16; use --crop=center"):
        crop_and_resize(Image.new("RGB", (20, 20)), BuildConfig(Size(24, 16), "none"))


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (16, 16), "black")
    image.paste("white", (0, 0, 16, 8))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it turned by 90 degrees clockwise
    found = load_square(encode(image, "PNG", exif=exif), 16, "center", 1)[:, :, 0]
    assert (found[:, 8:] == 255).all()
    assert (found[:, :8] == 0).all()


def test_transparent_becomes_white_or_stays_transparent_without_fringes() -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:, :16] = (200, 0, 0, 255)
    pixels[:, 16:] = (0, 255, 0, 0)  # an invisible green
    encoded = encode(Image.fromarray(pixels))
    rgb = load_square(encoded, 8, "center", 3).astype(int)
    assert (rgb[:, 0] == (200, 0, 0)).all()
    assert (rgb[:, -1] == 255).all()
    rgba = load_square(encoded, 8, "center", 4)
    assert (rgba[:, -1, 3] == 0).all()
    assert rgba[..., 1].max() == 0


def test_a_lack_of_memory_is_not_the_fault_of_an_image() -> None:
    def read(name: str) -> Image.Image:
        raise MemoryError

    with pytest.raises(MemoryError):
        convert(BuildConfig(8), read, LabelSpec("none", 0), ("0.png", None))


def test_what_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="is not an image that Pillow can read"):
        load_square(b"text", 8, "center", 3)
    with pytest.raises(OSError, match="truncated"):
        load_square(encode(Image.effect_noise((64, 64), 50))[:900], 8, "center", 3)
    with pytest.raises(ValueError, match="floating-point"):
        load_square(encode(Image.new("F", (8, 8)), "TIFF"), 8, "center", 3)
