"""Long films: every finished frame is kept, so that a film that was stopped goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sg3tf import video
from sg3tf.images import save_png
from sg3tf.utils.files import atomic_write
from sg3tf.utils.progress import with_progress

Frame = NDArray[np.uint8]

_DESCRIPTION = "film.json"


def render_video(
    path: Path, count: int, frames_from: Callable[[int], Iterator[Frame]], fps: int, described: Mapping[str, Any]
) -> None:
    """Makes a film; the file appears whole, or its finished frames are kept for the next call with the same film.

    Args:
        path: .mp4, .webm or .gif; without a suffix, a folder of PNG files, which must not exist yet.
        count: frames.
        frames_from: position -> the frames from there to the end, [H, W, C] uint8.
        fps: frames per second.
        described: what tells the frames of one film from those of another; goes into JSON.

    Raises:
        ValueError: another suffix, or kept frames of another film.
        ModuleNotFoundError: imageio-ffmpeg is missing.
        OSError: a file cannot be written; the message says what is kept.
    """
    if path.suffix:
        video.check(path)
    elif path.exists():
        raise FileExistsError(f"out={path} exists already; remove it or choose another folder")
    kept = _kept_frames(path, described)
    files = [kept / f"{number:06d}.png" for number in range(count)]
    done = next((number for number, file in enumerate(files) if not file.exists()), count)
    try:
        for number, frame in enumerate(with_progress(frames_from(done), count, "frames", done), start=done):
            save_png(files[number], frame)
            done = number + 1
        _finish(path, kept, files, fps)
    except (OSError, KeyboardInterrupt) as error:
        reason = str(error) or "interrupted"
        message = f"{reason}; {done} of {count} frames are kept in {kept}, and the same command goes on from there"
        raise (OSError if isinstance(error, OSError) else KeyboardInterrupt)(message) from error


def _kept_frames(path: Path, described: Mapping[str, Any]) -> Path:
    """The hidden folder beside `path`, which is made if there is none."""
    folder = path.with_name(f".{path.name}.frames")
    text = json.dumps(described, indent=2, sort_keys=True)
    label = folder / _DESCRIPTION
    if label.exists() and label.read_text(encoding="utf-8") == text:
        return folder
    if any(folder.glob("[0-9]*.png")):
        raise ValueError(f"out={path}: {folder} keeps frames of another film; remove it or choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(label) as file:
        file.write(text.encode())
    return folder


def _finish(path: Path, kept: Path, files: list[Path], fps: int) -> None:
    if path.suffix:
        video.save(path, (_read(file) for file in files), fps)
        shutil.rmtree(kept)
        return
    for other in set(kept.iterdir()) - {*files, kept / _DESCRIPTION}:
        other.unlink()  # half a file of a process that was killed
    kept.rename(path)


def _read(file: Path) -> Frame:
    with Image.open(file) as image:
        pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels
