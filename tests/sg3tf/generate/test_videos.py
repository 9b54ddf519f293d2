"""Videos that are stopped and resumed."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg3tf.generate.videos import render_video
from tests.helpers.numerics import Array
from tests.helpers.video_files import decoded

ROOT = Path(__file__).parents[3]
COUNT = 12
VIDEO = {"of": "noise"}


def frame(number: int) -> Array:
    return np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)


class Camera:
    """Yields frames from a position on, records their numbers, and may fail."""

    def __init__(self, fails_at: int = COUNT, error: BaseException | None = None) -> None:
        self.drawn: list[int] = []
        self._fails_at, self._error = fails_at, error

    def __call__(self, start: int) -> Iterator[Array]:
        for number in range(start, COUNT):
            if number == self._fails_at and self._error:
                raise self._error
            self.drawn.append(number)
            yield frame(number)


def kept(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("[0-9]*.png"))


def test_a_video_in_one_go(tmp_path: Path) -> None:
    render_video(tmp_path / "walk.mp4", COUNT, Camera(), 10, VIDEO)
    assert [entry.name for entry in tmp_path.iterdir()] == ["walk.mp4"]
    assert decoded(tmp_path / "walk.mp4")[1].shape == (COUNT, 32, 32, 3)


def test_a_name_as_text(tmp_path: Path) -> None:
    render_video(str(tmp_path / "strip.png"), COUNT, Camera(), 10, VIDEO)
    assert [entry.name for entry in tmp_path.iterdir()] == ["strip.png"]


@pytest.mark.parametrize("error", [ConnectionError("no server answers"), KeyboardInterrupt()])
def test_a_stopped_video_is_resumed(tmp_path: Path, error: BaseException) -> None:
    render_video(tmp_path / "straight.mp4", COUNT, Camera(), 10, VIDEO)
    reason = str(error) or "interrupted"
    message = rf"^{reason}; 7 of 12 frames are kept in .*/\.walk\.mp4\.frames, and the same command resumes there$"
    with pytest.raises((OSError, KeyboardInterrupt), match=message):
        render_video(tmp_path / "walk.mp4", COUNT, Camera(7, error), 10, VIDEO)
    assert not (tmp_path / "walk.mp4").exists()
    second = Camera()
    render_video(tmp_path / "walk.mp4", COUNT, second, 10, VIDEO)
    assert second.drawn == list(range(7, COUNT))
    assert (tmp_path / "walk.mp4").read_bytes() == (tmp_path / "straight.mp4").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["straight.mp4", "walk.mp4"]


def test_frames_of_another_video_are_not_used(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        render_video(tmp_path / "walk.gif", COUNT, Camera(3, OSError("gone")), 10, VIDEO)
    with pytest.raises(ValueError, match=r"out=.*walk\.gif: .* keeps frames of another video; remove it or choose"):
        render_video(tmp_path / "walk.gif", COUNT, Camera(), 10, {"of": "something else"})
    assert len(kept(tmp_path / ".walk.gif.frames")) == 3
    with pytest.raises(OSError, match="0 of 12 frames are kept"):
        render_video(tmp_path / "new.gif", COUNT, Camera(0, OSError("gone")), 10, VIDEO)
    render_video(tmp_path / "new.gif", COUNT, Camera(), 10, {"of": "something else"})  # nothing is lost


def test_a_folder_of_frames(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="3 of 12 frames are kept"):
        render_video(tmp_path / "frames", COUNT, Camera(3, OSError("gone")), 10, VIDEO)
    assert not (tmp_path / "frames").exists()
    (tmp_path / ".frames.frames" / ".000003.partial-1.png").write_bytes(b"half")  # of a process that was killed
    render_video(tmp_path / "frames", COUNT, Camera(), 10, VIDEO)
    assert not list((tmp_path / "frames").glob(".*"))
    assert kept(tmp_path / "frames") == [f"{number:06d}.png" for number in range(COUNT)]
    for number in range(COUNT):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "frames" / f"{number:06d}.png")), frame(number))
    with pytest.raises(FileExistsError, match="frames exists already; remove it or choose another folder"):
        render_video(tmp_path / "frames", COUNT, Camera(), 10, VIDEO)


@pytest.mark.parametrize("name", ["walk[1].gif", "walk.png"])
def test_a_kill_while_frames_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In whatever order a folder is removed, the same command goes through; nothing unfinished is left."""

    def remove(folder: Path) -> None:
        (folder / "film.json").unlink()
        raise KeyboardInterrupt

    path = tmp_path / name
    (tmp_path / f".{path.stem}.partial-1{path.suffix}").touch()  # of a process that was killed while it wrote the video
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", remove)
        render_video(path, COUNT, Camera(), 10, VIDEO)
    before = path.read_bytes()
    render_video(path, COUNT, Camera(), 10, VIDEO)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_unwritable_videos_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    camera = Camera()
    with pytest.raises(ValueError, match=r"walk\.avi: videos end in one of"):
        render_video(tmp_path / "walk.avi", COUNT, camera, 10, VIDEO)
    assert not camera.drawn and not list(tmp_path.iterdir())


def test_a_full_disk_keeps_finished_frames(tmp_path: Path) -> None:
    """Frames of 3 kB fit into the limit, a video of them does not."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"walk\.mp4: ffmpeg ended .*; 12 of 12 frames are kept in") as caught:
            render_video(tmp_path / "walk.mp4", COUNT, Camera(), 10, VIDEO)
        assert "\n" not in str(caught.value)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
        with pytest.raises(OSError, match=r"File too large: .*000000\.png.*; 0 of 12 frames are kept in"):
            render_video(tmp_path / "other.mp4", COUNT, Camera(), 10, VIDEO)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    camera = Camera()
    render_video(tmp_path / "walk.mp4", COUNT, camera, 10, VIDEO)
    assert not camera.drawn and decoded(tmp_path / "walk.mp4")[1].shape[0] == COUNT


SLOW = """
import sys, time
from pathlib import Path
import numpy as np
from sg3tf.generate.videos import render_video

def slow(start):
    for number in range(start, 12):
        time.sleep(0.1)
        print(number, flush=True)
        yield np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)

render_video(Path(sys.argv[1]), 12, slow, 10, {"of": "noise"})
"""


def test_a_killed_process_is_resumed(tmp_path: Path) -> None:
    """After SIGKILL, which leaves no chance to clean up."""
    command = [sys.executable, "-c", SLOW, str(tmp_path / "walk.mp4")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    assert process.stdout
    while process.stdout.readline() != "5\n":
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    frames = kept(tmp_path / ".walk.mp4.frames")
    assert len(frames) in (5, 6)
    second = Camera()
    render_video(tmp_path / "walk.mp4", COUNT, second, 10, VIDEO)
    assert second.drawn == list(range(len(frames), COUNT))
    render_video(tmp_path / "straight.mp4", COUNT, Camera(), 10, VIDEO)
    assert (tmp_path / "walk.mp4").read_bytes() == (tmp_path / "straight.mp4").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["straight.mp4", "walk.mp4"]
