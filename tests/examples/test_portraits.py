"""examples/demo: portraits are varied, reproducible and written whole; crops are squares."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.dataset import open_dataset
from sg3tf.data.verify import verify

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The scripts' folder, importable as it is when they are run."""
    folder = ROOT / "examples" / "demo"
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def portraits(demo: Path) -> ModuleType:
    return importlib.import_module("portraits")


def draw(portraits: ModuleType, seed: int, resolution: int = 32) -> np.ndarray:
    return np.array(portraits.draw_portrait(np.random.default_rng(seed), resolution), int)


def test_same_seed_same_portrait(portraits: ModuleType) -> None:
    np.testing.assert_array_equal(draw(portraits, 5), draw(portraits, 5))


def test_portraits_are_varied_and_have_a_head_in_the_middle(portraits: ModuleType) -> None:
    images = np.stack([draw(portraits, seed) for seed in range(40)])
    assert images.shape == (40, 32, 32, 3)
    assert images.std(axis=0).mean() > 40  # every pixel changes from portrait to portrait
    redness = images[..., 0] - images[..., 2]  # skin is warm, backgrounds are of any hue
    assert redness[:, 12:24, 10:22].mean() > redness[:, :8, :6].mean() + 30


def test_kinds_have_their_traits_and_nothing_else_drawn(portraits: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts that a class leaves out are not drawn, and those that define it always are."""
    drawn: list[str] = []
    for part in ("back_hair", "beard", "glasses", "hat"):
        monkeypatch.setattr(portraits, f"draw_{part}", lambda *_, part=part, **__: drawn.append(part))
    expected = {"bald": [], "beard": ["back_hair", "beard"], "glasses": ["back_hair", "glasses"]}
    expected |= {"hat": ["back_hair", "hat"], "long red hair": ["back_hair"]}
    for name, parts in expected.items():
        for seed in range(5):
            drawn.clear()
            portraits.draw_portrait(np.random.default_rng(seed), 32, kind=portraits.CLASSES[name])
            assert drawn == parts, name


def test_classes_take_turns_and_have_names(portraits: ModuleType, tmp_path: Path) -> None:
    portraits.write_portraits(tmp_path / "data", 25, 8, seed=0, style="plain", workers=1, classes=True)
    dataset = open_dataset(tmp_path / "data", use_labels=True)
    assert dataset.classes == tuple(portraits.CLASSES)
    assert [int(dataset.label(i).argmax()) for i in (0, 11, 12, 24)] == [0, 11, 0, 0]


@pytest.mark.parametrize(
    "part",
    ["background", "back_hair", "body", "head", "beard", "mouth", "eyes", "front_hair", "glasses"] + ["hat"],
)
def test_every_part_is_drawn(portraits: ModuleType, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def draw_without(seed: int) -> np.ndarray:
        with monkeypatch.context() as patch:
            patch.setattr(portraits, f"draw_{part}", lambda *_, **__: None)
            return draw(portraits, seed)

    assert any((draw(portraits, seed) != draw_without(seed)).any() for seed in range(20))


@pytest.mark.parametrize("resolution", [4, 8, 128])
def test_every_resolution_shows_the_same_portrait(portraits: ModuleType, resolution: int) -> None:
    side = min(resolution, 8)
    box = Image.Resampling.BOX
    small, usual = (
        np.array(Image.fromarray(draw(portraits, 3, r).astype(np.uint8)).resize((side, side), box))
        for r in (resolution, 64)
    )
    assert np.abs(small.astype(int) - usual).mean() < 20


def test_script_writes_a_whole_set_once(demo: Path, tmp_path: Path) -> None:
    dest = tmp_path / "set"

    def run(count: int) -> subprocess.CompletedProcess[str]:
        script = [sys.executable, str(demo / "portraits.py"), f"--outdir={dest}", f"--count={count}"]
        options = ["--resolution=16", "--seed=1", "--workers=2"]
        env = {"PYTHONPATH": str(ROOT)}
        return subprocess.run(script + options, env=env, capture_output=True, text=True, check=False)

    first = run(9)
    assert first.returncode == 0, first.stderr
    levels = [f"portraits-r0{n}.tfrecords" for n in (2, 3, 4)]
    assert sorted(file.name for file in dest.iterdir()) == levels
    assert "9 images at 4, 8, 16" in verify(dest)
    assert len(open_dataset(dest)) == 9
    assert "already there" in run(9).stdout
    other = run(8)
    assert other.returncode == 1
    assert "holds 9 images at 16; remove it" in other.stderr


def test_neon_lines_run_around_large_shapes_only() -> None:
    from portrait_styles import neon

    y, x = np.mgrid[-64:64, -64:64] + 0.5
    head, eye = np.hypot(x, y) < 40, np.hypot(x - 12, y) < 4
    pixels = np.where((head & ~eye)[:, :, None], 200, 60).astype(np.uint8)
    image = np.asarray(neon(Image.fromarray(np.repeat(pixels, 3, 2))), int)
    distance = np.abs(image - (120, 255, 240)).sum(2)  # to the color of the lines
    assert distance[np.abs(np.hypot(x, y) - 40) < 1].max() < 60
    assert distance[(np.hypot(x, y) < 32) | (np.hypot(x, y) > 48)].min() > 150
    inside, outside, pupil = image[64, 54], image[2, 2], image[64, 76]
    assert inside[0] > 200 > inside[2]  # amber where it is bright
    assert outside[0] < 100 < outside[2]  # violet where it is dark
    assert np.abs(pupil - outside).max() < 20


def test_neon_portraits_are_the_same_people(portraits: ModuleType) -> None:
    plain = draw(portraits, 5)
    styled = np.array(portraits.draw_portrait(np.random.default_rng(5), 32, "neon"), int)
    luma = plain @ (0.299, 0.587, 0.114)
    correlation = np.corrcoef(luma.ravel(), styled[..., 0].ravel())[0, 1]
    assert correlation > 0.7 and np.abs(plain - styled).mean() > 30


def test_crops_are_squares_of_the_photo(demo: Path) -> None:
    crops = importlib.import_module("sample_photo_crops")
    ramp = np.add.outer(np.arange(60), np.arange(90)).astype(np.uint8)
    photo = Image.fromarray(np.stack([ramp] * 3, 2))
    rng = np.random.default_rng(0)
    found = [np.array(crops.random_crop(photo, rng, 16)) for _ in range(20)]
    assert {crop.shape for crop in found} == {(16, 16, 3)}
    spans = [int(np.ptp(crop)) for crop in found]
    assert min(spans) < 50  # small pieces
    assert max(spans) > 80  # and large ones
