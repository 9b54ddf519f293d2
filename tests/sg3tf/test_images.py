"""8-bit images: conversion, grids, PNG files, reading."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.build.conversion import BuildConfig, to_square
from sg3tf.images import center_crop, enlarge, grid, open_image, read_image, save_png, to_uint8


def test_range_ends_and_middle() -> None:
    values = np.array([-1.0, -1.5, 1.0, 7.0, 0.0, -1 + 2 / 255, -1 + 0.49 * 2 / 255, -1 + 0.51 * 2 / 255])
    np.testing.assert_array_equal(to_uint8(values), [0, 0, 255, 255, 128, 1, 0, 1])
    assert to_uint8(values).dtype == np.uint8


def test_every_byte_survives() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert to_uint8(values) is values
    np.testing.assert_array_equal(to_uint8(values.astype(np.float32) / 127.5 - 1), values)
    np.testing.assert_array_equal(to_uint8(values.astype(np.float16) / 127.5 - 1)[[0, 255]], [0, 255])


def numbered(count: int, channels: int = 3) -> np.ndarray:
    """Return images of 2 x 3 pixels, of one color each: 1, 2, ..."""
    return np.broadcast_to(np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None], (count, 2, 3, channels))


@pytest.mark.parametrize(
    ("count", "columns", "expected"),
    [
        (4, None, [[1, 2], [3, 4]]),
        (3, None, [[1, 2], [3, 0]]),
        (5, None, [[1, 2, 3], [4, 5, 0]]),
        (3, 1, [[1], [2], [3]]),
        (2, 4, [[1, 2, 0, 0]]),
    ],
)
def test_grid(count: int, columns: int | None, expected: list[list[int]]) -> None:
    for channels in (1, 3, 4):
        tiled = grid(numbered(count, channels), columns)
        assert tiled.shape == (2 * len(expected), 3 * len(expected[0]), channels)
        np.testing.assert_array_equal(tiled[::2, ::3, 0], expected)
        np.testing.assert_array_equal(tiled, np.repeat(np.repeat(tiled[::2, ::3], 2, 0), 3, 1))


def test_grid_keeps_pixels_in_place() -> None:
    tile = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    np.testing.assert_array_equal(grid(np.concatenate([tile, tile + 100]), 2)[:, 4:], tile[0] + 100)


def test_grid_converts_floats() -> None:
    np.testing.assert_array_equal(grid(np.ones([1, 2, 2, 3])), np.full([2, 2, 3], 255))


@pytest.mark.parametrize("shape", [(2, 2, 3), (0, 2, 2, 3)])
def test_grid_needs_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"images of shape .*: give at least one, \[N, H, W, C\]"):
        grid(np.zeros(shape))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_png_round_trip(tmp_path: Path, channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    path = tmp_path / "new" / "folder" / "image.png"
    save_png(path, pixels)
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", mode, (7, 5))
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [p.name for p in path.parent.iterdir()] == ["image.png"]


def test_png_keeps_text(tmp_path: Path) -> None:
    text = {"network": "Zürich.keras", "seeds": "0-63,85", "note": "two\nlines"}
    save_png(tmp_path / "image.png", np.zeros([2, 2, 3], np.uint8), text)
    with Image.open(tmp_path / "image.png") as image:
        assert image.text == text


def test_enlarge() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    large = enlarge(image, 3)
    assert large.shape == (6, 9, 2)
    for y, x in np.ndindex(6, 9):
        np.testing.assert_array_equal(large[y, x], image[y // 3, x // 3])
    np.testing.assert_array_equal(enlarge(image[None], 3)[0], large)
    np.testing.assert_array_equal(enlarge(np.ones([1, 1, 1]), 2), np.full([2, 2, 1], 255))


def test_png_of_floats(tmp_path: Path) -> None:
    save_png(str(tmp_path / "image.png"), np.zeros([2, 2, 3], np.float32))
    with Image.open(tmp_path / "image.png") as image:
        assert image.getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_png_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "image.png"
    save_png(path, np.zeros([2, 2, 3], np.uint8))
    before = path.read_bytes()

    def fail(self: Any, file: Any, **options: Any) -> None:
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(Image.Image, "save", fail)
    for target in (path, tmp_path / "other.png"):
        with pytest.raises(type(error)):
            save_png(target, np.ones([2, 2, 3], np.uint8))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["image.png"]


def test_reading_scales_16_bits_to_the_nearest_value(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = np.asarray(read_image(tmp_path / "deep.png", 1))
    np.testing.assert_array_equal(found, np.rint(values / 257))


def test_reading_composites_on_white_unless_transparency_is_kept(tmp_path: Path) -> None:
    Image.fromarray(np.full([2, 2, 4], (200, 0, 0, 0), np.uint8)).save(tmp_path / "clear.png")
    assert (np.asarray(read_image(tmp_path / "clear.png", 3)) == 255).all()
    assert (np.asarray(read_image(tmp_path / "clear.png", 4)) == (200, 0, 0, 0)).all()


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [((20, 8), (1, 1), (8, 8)), ((9, 20), (1, 1), (9, 9)), ((80, 48), (4, 3), (64, 48)), ((90, 160), (2, 1), (90, 45))],
)
def test_center_crop(size: tuple[int, int], aspect: tuple[int, int], expected: tuple[int, int]) -> None:
    image = Image.effect_noise(size, 60)
    cropped = center_crop(image, aspect)
    assert cropped.size == expected
    left, top = (size[0] - expected[0]) // 2, (size[1] - expected[1]) // 2
    pixels = np.asarray(image)[top : top + expected[1], left : left + expected[0]]
    np.testing.assert_array_equal(np.asarray(cropped), pixels)


def test_reading_names_the_file_in_errors(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text\.png: cannot be read as an image \(is not an image"):
        read_image(tmp_path / "text.png", 3)
    with pytest.raises(ValueError, match=r"absent\.png: cannot be read as an image \(.*No such file"):
        read_image(tmp_path / "absent.png", 3)


def test_projection_and_data_build_read_the_same_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {
        "deep.png": Image.fromarray(rng.integers(0, 65536, (48, 40), np.uint16)),
        "alpha.png": Image.fromarray(rng.integers(0, 256, (40, 52, 4), np.uint8)),
        "palette.png": Image.fromarray(rng.integers(0, 256, (30, 30, 3), np.uint8)).quantize(16),
        "turned.jpg": Image.fromarray(rng.integers(0, 256, (40, 64, 3), np.uint8)),
    }
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, image in files.items():
        image.save(tmp_path / name, **({"exif": exif} if name == "turned.jpg" else {}))
        for channels in (1, 3, 4):
            with open_image(tmp_path / name) as opened:
                built = to_square(opened, BuildConfig(16, channels=channels))
            cropped = center_crop(read_image(tmp_path / name, channels))
            resized = cropped.resize((16, 16), Image.Resampling.LANCZOS)  # as editing.projector.read_picture
            np.testing.assert_array_equal(built, np.asarray(resized).reshape(16, 16, channels))
