"""Video files, decoded by ffmpeg."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from sg3tf import video
from tests.helpers.numerics import Array
from tests.helpers.video_files import decoded


def smooth_frames(channels: int, side: int = 32) -> Array:
    """Frames that a lossy codec keeps: a gradient that moves from frame to frame, [7, side, 32, C] uint8."""
    y, x, t = np.arange(side)[:, None], np.arange(32), np.arange(7)[:, None, None]
    return np.stack([np.broadcast_to(4 * x + 2 * y + 8 * t + 3, (7, side, 32))] * channels, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif"])
def test_video(tmp_path: Path, suffix: str, channels: int) -> None:
    frames = smooth_frames(channels)
    if channels == 4:
        frames[..., 3] = 255
    path = tmp_path / "new" / f"walk.{suffix}"
    video.save(path, frames, fps=10)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    fps, shown = decoded(path)
    assert fps == 10
    np.testing.assert_allclose(shown.astype(int), np.broadcast_to(frames[..., :3], shown.shape), atol=10)
    assert len(shown) == len(frames)


@pytest.mark.parametrize("name", ["a:b", "-a", "50%d", "it's [1] \\ \n", "x" * 200])
def test_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A colon is no protocol, a percent sign no number, a hyphen no option."""
    monkeypatch.chdir(tmp_path)
    video.save(Path(f"./{name}.gif"), smooth_frames(3), fps=10)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{name}.gif"]


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
def test_transparent_parts_are_white_where_the_format_knows_no_transparency(tmp_path: Path, suffix: str) -> None:
    frames = smooth_frames(4)
    frames[:, :16, :, 3] = 0  # hides red
    frames[:, :16, :, :3] = [255, 0, 0]
    frames[:, 16:, :, 3] = 255
    video.save(tmp_path / f"walk.{suffix}", frames, fps=10)
    shown = decoded(tmp_path / f"walk.{suffix}")[1].astype(int)
    assert shown[:, :14].min() > 245
    np.testing.assert_allclose(shown[:, 18:], frames[:, 18:, :, :3], atol=10)


def test_an_odd_side_is_filled_up(tmp_path: Path) -> None:
    frames = smooth_frames(3, side=31)
    video.save(tmp_path / "walk.mp4", frames, fps=10)
    shown = decoded(tmp_path / "walk.mp4")[1]
    np.testing.assert_allclose(shown[:, :29].astype(int), frames[:, :29], atol=10)


def test_a_video_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> Iterator[Array]:
        yield from smooth_frames(3)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        video.save(tmp_path / "walk.mp4", failing(), fps=12)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"walk\.avi: videos end in one of \.mp4, \.webm, \.gif"):
        video.save(tmp_path / "walk.avi", smooth_frames(3), fps=12)
    with pytest.raises(ValueError, match="fps=101: a GIF has at most 100 frames per second; write .mp4 or .webm"):
        video.save(tmp_path / "walk.gif", smooth_frames(3), fps=101)
    reason = "No ffmpeg exe could be found."
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", Mock(side_effect=RuntimeError(reason)))
    with pytest.raises(OSError, match=rf"walk\.mp4: {reason}"):
        video.save(tmp_path / "walk.mp4", [], fps=12)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs the package imageio-ffmpeg: pip install 'sg3tf\[video\]'"):
        video.save(tmp_path / "walk.mp4", [], fps=12)


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 20 kB, as if the disk were full then; not that of pytest's own output either."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    drawn = (np.roll(noise, number, axis=0) for number in range(100_000))  # ffmpeg ends before them
    refused = pytest.raises(OSError, match=r"walk\.mp4: ffmpeg ended with exit status")
    with refused as caught, small_files():
        video.save(tmp_path / "walk.mp4", drawn, fps=12)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_over_white_is_what_pillow_composes() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, [16, 16, 4], np.uint8)
    white = Image.new("RGBA", (16, 16), "white")
    expected = np.asarray(Image.alpha_composite(white, Image.fromarray(rgba)).convert("RGB"))
    assert np.abs(video.over_white(rgba).astype(int) - expected).max() <= 1  # Pillow's division is rounded otherwise
    np.testing.assert_array_equal(video.over_white(rgba[..., :3]), rgba[..., :3])


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames: give at least one"),
        ([np.zeros([8, 8, 3], np.float32)], r"frame 0 of type float32: give uint8, .*sg3tf\.images\.to_uint8"),
        ([np.zeros([8, 8, 3], np.int64)], "frame 0 of type int64: give uint8"),
        ([np.zeros([8, 8], np.uint8)], r"frame 0 of shape \(8, 8\): give \[H, W, C\], C is 1, 3 or 4"),
        ([np.zeros([8, 8, 2], np.uint8)], r"frame 0 of shape \(8, 8, 2\): give \[H, W, C\], C is 1, 3 or 4"),
        (
            [np.zeros([8, 8, 3], np.uint8), np.zeros([8, 6, 3], np.uint8)],
            r"frame 1 of shape \(8, 6, 3\): all must have that of the first, \(8, 8, 3\)",
        ),
        ([np.zeros([8, 8, 3], np.uint8), np.zeros([8, 8, 3])], "frame 1 of type float64: give uint8"),
    ],
)
def test_other_frames_are_refused(tmp_path: Path, frames: list[Array], message: str) -> None:
    for suffix in ("mp4", "gif"):
        with pytest.raises(ValueError, match=message):
            video.save(tmp_path / f"walk.{suffix}", frames, fps=10)
    assert list(tmp_path.iterdir()) == []


def test_a_name_as_text(tmp_path: Path) -> None:
    video.save(str(tmp_path / "walk.gif"), smooth_frames(3), fps=10)
    assert len(decoded(tmp_path / "walk.gif")[1]) == 7
