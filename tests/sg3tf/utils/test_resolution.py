"""Sizes of pictures: their one form, the sizes that fit, and what is said about others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sg3tf.utils.resolution import MAX_SIDE, Size, num_halvings, pyramid, resolution_remedy, size_of, to_resolution


@pytest.mark.parametrize(
    ("given", "expected"),
    [(64, 64), ("64", 64), ("64x64", 64), ([64, 64], 64), ("64X32", Size(64, 32)), ((64, 32), Size(64, 32))]
    + [(np.int64(64), 64), ((np.int64(64), np.uint8(32)), Size(64, 32)), (np.array([64, 32]), Size(64, 32))],
)
def test_one_form(given: Any, expected: Any) -> None:
    found = to_resolution(given)
    assert found == expected and type(found) is type(expected)
    assert all(type(side) is int for side in size_of(found))


@pytest.mark.parametrize(
    "given", ["", "64x", "x64", "a", "64x32x3", [64, 32.5], [], True, np.True_, (64, True), 64.0, None, "6 4x"]
)
def test_other_forms_are_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="give the side of a square, or width x height, such as 256 or 512x256"):
        to_resolution(given)


def test_all_sizes_that_fit() -> None:
    """By the definition: both sides are 3 to 20 times the same power of two."""
    multiples = range(3, 21)
    sizes = {(a * 2**k, b * 2**k) for a in multiples for b in multiples for k in range(9) if a != b}
    fitting = {sides for sides in sizes if min(sides) >= 16 and max(sides) <= MAX_SIDE}
    assert {(64, 32), (48, 32), (512, 384), (1024, 576), (1280, 704), (768, 1280)} <= fitting
    assert all(resolution_remedy(Size(*sides), 16) is None for sides in fitting)
    near = {(width + 1, height) for width, height in sorted(fitting)[::100]} - fitting
    assert near and all(resolution_remedy(Size(*sides), 16) for sides in near)


@pytest.mark.parametrize(
    ("size", "near"),
    [((1280, 720), "1280x704"), ((1920, 1080), "1280x704"), ((500, 300), "480x288")],
)
def test_a_size_near_by_is_named(size: tuple[int, int], near: str) -> None:
    remedy = resolution_remedy(Size(*size), 16)
    assert (
        remedy is not None
        and remedy.startswith("both sides must be 3 to 20 times the same power of two")
        and near in remedy
    )


@pytest.mark.parametrize(
    ("resolution", "grids"),
    [(32, "4x4 8x8 16x16 32x32"), ("64x32", "8x4 16x8 32x16 64x32"), ("36x48", "9x12 18x24 36x48"), ("512x384", "4x3")],
)
def test_pyramid(resolution: Any, grids: str) -> None:
    found = pyramid(to_resolution(resolution))
    assert [str(size) for size in found][: len(grids.split())] == grids.split()
    assert len(found) == num_halvings(to_resolution(resolution)) + 1
