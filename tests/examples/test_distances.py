"""examples/distances.py: distances of pictures of every shape."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def distances(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module("distances")


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((32, 32, 3), [(32, 32), (16, 16)]), ((48, 64, 1), [(48, 64), (24, 32)]), ((64, 16, 4), [(64, 16)])],
)
def test_all_shapes(distances: ModuleType, shape: tuple[int, int, int], levels: list[tuple[int, int]]) -> None:
    """Two samples of the same noise are closer than noise and its blurred version."""
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(8, *shape)).astype(np.float32) for _ in range(2))
    assert [level.shape[1:3] for level in distances.pyramid(first)] == levels
    smooth = distances._blurred(second)
    assert distances.sliced_wasserstein(first, second) < distances.sliced_wasserstein(first, smooth)


def test_patches_come_from_the_whole_image(distances: ModuleType) -> None:
    image = np.zeros([4, 20, 40, 1], np.float32)
    image[:, :, 30:] = 1  # beyond a square of the height
    patches = distances._patches(image, np.random.default_rng(0))
    assert patches.shape == (4 * 128, 49) and patches.max() > patches.min()
