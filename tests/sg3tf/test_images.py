"""8-bit images: conversion, grids, PNG files."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sg3tf.images import enlarge, grid, save_png, to_float, to_uint8


def test_range_ends_and_middle() -> None:
    values = np.array([-1.0, -1.5, 1.0, 7.0, 0.0, -1 + 2 / 255, -1 + 0.49 * 2 / 255, -1 + 0.51 * 2 / 255])
    np.testing.assert_array_equal(to_uint8(values), [0, 0, 255, 255, 128, 1, 0, 1])
    assert to_uint8(values).dtype == np.uint8


def test_every_byte_survives() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert to_uint8(values) is values
    np.testing.assert_array_equal(to_uint8(to_float(values)), values)
    assert to_float(values).dtype == np.float32 and to_float(values)[[0, 255]].tolist() == [-1, 1]
    np.testing.assert_array_equal(to_uint8(values.astype(np.float16) / 127.5 - 1)[[0, 255]], [0, 255])


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16", "bool", "complex64"])
def test_numbers_of_other_types_are_refused(tmp_path: Path, dtype: str) -> None:
    """Pixels from 0 to 255 would become white."""
    pixels = np.zeros([2, 2, 3], dtype)
    for draw in (to_uint8, lambda image: grid(image[None]), lambda image: enlarge(image, 2)):
        with pytest.raises(ValueError, match=rf"images of type {dtype}: give uint8, or floats in \[-1, 1\]"):
            draw(pixels)
    with pytest.raises(ValueError, match=f"images of type {dtype}: give uint8"):
        save_png(tmp_path / "x.png", pixels)
    assert not list(tmp_path.iterdir())


def test_bfloat16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    np.testing.assert_array_equal(to_uint8(np.array([-1, 0, 1], ml_dtypes.bfloat16)), [0, 128, 255])


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


def test_png_text_of_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    save_png(tmp_path / "x.png", np.zeros([4, 4, 3], np.uint8), {"network": os.fsdecode(b"caf\xe9.keras")})
    with Image.open(tmp_path / "x.png") as image:
        assert image.text == {"network": "caf\\udce9.keras"}


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


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((2, 8, 8, 3), "several are made one by sg3tf.images.grid"),
        ((8, 8), "C is 1, 3 or 4"),
        ((8, 8, 2), "C is 1, 3 or 4"),
    ],
)
def test_arrays_other_than_one_image_are_refused(tmp_path, shape, remedy):
    with pytest.raises(ValueError, match=re.escape(f"image of shape {shape}: give one image, [H, W, C]; {remedy}")):
        save_png(tmp_path / "x.png", np.zeros(shape, np.uint8))
    assert not list(tmp_path.iterdir())
