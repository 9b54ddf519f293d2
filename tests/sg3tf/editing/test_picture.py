"""Target images of all modes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg3tf.editing.picture import read_picture
from sg3tf.utils.resolution import Size

R = 16
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, [R, R, 3], np.uint8)
GRAY = RNG.integers(0, 256, [R, R], np.uint8)


def read(path: Path, picture: Image.Image, channels: int = 3, crop: bool = False, **options: object) -> np.ndarray:
    picture.save(path, **options)
    return np.rint((read_picture(path, R, channels, crop) + 1) * 127.5)


def test_rgb(tmp_path: Path):
    found = read_picture_of(tmp_path, PIXELS)
    np.testing.assert_allclose(found, PIXELS / 127.5 - 1, atol=1e-6)
    assert found.dtype == np.float32


def read_picture_of(folder: Path, pixels: np.ndarray) -> np.ndarray:
    Image.fromarray(pixels).save(folder / "p.png")
    return read_picture(folder / "p.png", R, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_gray(tmp_path: Path, channels: int):
    np.testing.assert_array_equal(
        read(tmp_path / "p.png", Image.fromarray(GRAY), channels), np.repeat(GRAY[..., None], channels, -1)
    )


def test_16_bits_are_scaled(tmp_path: Path):
    deep = GRAY.astype(np.uint16) * 257 + np.where(GRAY < 255, 100, 0).astype(np.uint16)  # 100 / 257 rounds down
    np.testing.assert_array_equal(read(tmp_path / "p.png", Image.fromarray(deep), 1)[..., 0], GRAY)


def test_palette(tmp_path: Path):
    picture = Image.fromarray(PIXELS).quantize(8)
    np.testing.assert_array_equal(read(tmp_path / "p.png", picture), np.asarray(picture.convert("RGB")))


def test_transparency_is_on_white(tmp_path: Path):
    alpha = RNG.integers(0, 256, [R, R, 1], np.uint8)
    rgba = Image.fromarray(np.concatenate([PIXELS, alpha], -1))
    share = alpha / 255
    found = read(tmp_path / "p.png", rgba)
    np.testing.assert_allclose(found, PIXELS * share + 255 * (1 - share), atol=1)  # Pillow rounds its products
    np.testing.assert_array_equal(read(tmp_path / "p.png", rgba, 4), np.asarray(rgba))


def test_transparent_color_of_a_palette(tmp_path: Path):
    picture = Image.fromarray(np.zeros([R, R], np.uint8), "P")
    picture.putpalette([10, 20, 30])
    assert np.all(read(tmp_path / "p.png", picture, transparency=0) == 255)


def test_exif_turns(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    found = read(tmp_path / "p.png", Image.fromarray(PIXELS), exif=exif)
    np.testing.assert_array_equal(found, np.rot90(PIXELS, -1))


def test_another_size(tmp_path: Path):
    wide = Image.fromarray(np.tile(PIXELS, [2, 3, 1]))
    with pytest.raises(ValueError, match=r"p\.png: is 48 x 32 pixels, the network makes 16 x 16 pixels; give --crop"):
        read(tmp_path / "p.png", wide)


def test_crop(tmp_path: Path):
    center = np.full([2 * R, 2 * R, 3], 90, np.uint8)
    center[:, :R] = 200
    wide = np.pad(center, [(0, 0), (8, 8), (0, 0)])  # black at both sides, which must not get in
    found = read(tmp_path / "p.png", Image.fromarray(wide), crop=True)
    np.testing.assert_array_equal(found[:, 4], np.full([R, 3], 200))
    np.testing.assert_array_equal(found[:, -1], np.full([R, 3], 90))


def test_crop_to_another_shape(tmp_path: Path):
    center = np.full([20, 30, 3], 90, np.uint8)
    center[:, :15] = 200
    Image.fromarray(np.pad(center, [(7, 7), (0, 0), (0, 0)])).save(tmp_path / "p.png")  # black above and below
    with pytest.raises(ValueError, match=r"is 30 x 34 pixels, the network makes 24 x 16 pixels; give --crop"):
        read_picture(tmp_path / "p.png", Size(24, 16), 3)
    found = read_picture(tmp_path / "p.png", Size(24, 16), 3, crop=True)
    np.testing.assert_allclose(found[:, 4], np.full([16, 3], 200) / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(found[:, -1], np.full([16, 3], 90) / 127.5 - 1, atol=1e-6)


def test_no_picture(tmp_path: Path):
    (tmp_path / "p.png").write_text("no")
    with pytest.raises(ValueError, match=r"target=.*p\.png: cannot be read as an image"):
        read_picture(tmp_path / "p.png", R, 3)
    with pytest.raises(ValueError, match=r"absent\.png"):
        read_picture(tmp_path / "absent.png", R, 3)
    Image.fromarray(GRAY.astype(np.float32)).save(tmp_path / "p.tiff")
    with pytest.raises(ValueError, match="floating-point"):
        read_picture(tmp_path / "p.tiff", R, 3)


def test_broken_picture(tmp_path: Path):
    Image.fromarray(PIXELS).save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"target=.*truncated"):
        read_picture(tmp_path / "p.png", R, 3)
