"""Resumable video rendering, which keeps every finished frame."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sg3tf import images, video
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.generate.trajectory import Trajectory, interpolate_keyframes
from sg3tf.images import save_png
from sg3tf.utils.files import atomic_write, hidden_name
from sg3tf.utils.progress import with_progress

Frame = NDArray[np.uint8]

_METADATA = "film.json"


def interpolate_grid(network: Network, keyframes: Latents, trajectory: Trajectory, cells: int = 1) -> Latents:
    """Return the latents of a grid of videos, each through its share of the keyframes.

    Args:
        network: the generator.
        keyframes: keyframes of all cells, cell by cell.
        trajectory: trajectory of every cell.
        cells: number of videos in the grid.

    Returns:
        The latents of all cells, frame by frame.

    Raises:
        ValueError: the keyframes cannot be divided evenly among the cells.
    """
    if len(keyframes) % cells:
        raise ValueError(f"{len(keyframes)} keyframes: give a multiple of the {cells} cells of the grid")
    share = len(keyframes) // cells
    paths = [
        interpolate_keyframes(network, keyframes[start : start + share], trajectory).arrays()
        for start in range(0, len(keyframes), share)
    ]
    interleaved = {}
    for name, array in paths[0].items():
        if not all(name in path for path in paths):  # psi, which describes only some of the cells
            continue
        frame_by_frame = np.stack([path[name] for path in paths], axis=1)  # [frames, cells, ...]
        interleaved[name] = frame_by_frame.reshape(-1, *array.shape[1:])
    return Latents(**interleaved)


def render_latents(
    network: Network,
    latents: Latents,
    out: str | os.PathLike[str],
    fps: int = 30,
    columns: int = 1,
    cells: int = 1,
    scale: int = 1,
) -> None:
    """Render a video of latents, or resume one that was interrupted.

    Args:
        network: the generator.
        latents: latents in frame order, `cells` per frame.
        out: see `render_video`.
        fps: frames per second.
        columns: columns of the grid in each frame.
        cells: images per frame.
        scale: integer enlargement factor.

    Raises:
        OSError, ValueError, ModuleNotFoundError: see `render_video`.
    """

    def frames_from(start: int) -> Iterator[Frame]:
        rest = latents[start * cells :]
        drawn = network.images(rest.ws, rest.transform)
        for first in drawn:
            tiles = [first, *(next(drawn) for _ in range(cells - 1))]
            yield images.enlarge(images.grid(np.stack(tiles), columns), scale)

    metadata = {"network": network.identity(), "latents": latents.digest(), "columns": columns, "scale": scale}
    render_video(out, len(latents) // cells, frames_from, fps, metadata)


def render_video(
    path: str | os.PathLike[str],
    count: int,
    frames_from: Callable[[int], Iterator[Frame]],
    fps: int,
    metadata: Mapping[str, Any],
) -> None:
    """Render a video and write it atomically; if interrupted, finished frames are kept for the next call.

    Args:
        path: .mp4, .webm or .gif; .png for a strip of all frames; without a suffix, a folder of PNG files, which must
            not exist yet.
        count: number of frames.
        frames_from: position -> frames from there to the end, [H, W, C] uint8.
        fps: frames per second.
        metadata: identifies the video, so that kept frames of another video are not used; written as JSON.

    Raises:
        ValueError: unsupported suffix, or kept frames of another video.
        ModuleNotFoundError: imageio-ffmpeg is missing.
        OSError: a file cannot be written; the message says how many frames are kept.
    """
    path = Path(path)
    if path.suffix not in ("", ".png"):
        video.check(path, fps)
    if not path.suffix and path.exists():
        raise FileExistsError(f"out={path} exists already; remove it or choose another folder")
    kept = _frames_folder(path, metadata)
    files = [kept / f"{number:06d}.png" for number in range(count)]
    done = next((number for number, file in enumerate(files) if not file.exists()), count)
    try:
        for number, frame in enumerate(with_progress(frames_from(done), count, "frames", done), start=done):
            save_png(files[number], frame)
            done = number + 1
        _finish(path, kept, files, fps)
    except OSError as error:
        raise OSError(_stopped(str(error), done, count, kept)) from error
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(_stopped("interrupted", done, count, kept)) from error


def _stopped(reason: str, done: int, count: int, kept: Path) -> str:
    return f"{reason}; {done} of {count} frames are kept in {kept}, and the same command resumes there"


def _frames_folder(path: Path, metadata: Mapping[str, Any]) -> Path:
    """Return the hidden folder of kept frames next to `path`, and create it if needed."""
    folder = path.with_name(hidden_name(path.name, ".frames"))
    text = json.dumps(metadata, indent=2, sort_keys=True)
    label = folder / _METADATA
    if label.exists() and label.read_text(encoding="utf-8") == text:
        return folder
    if any(folder.glob("[0-9]*.png")):
        raise ValueError(f"out={path}: {folder} keeps frames of another video; remove it or choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(label) as file:
        file.write(text.encode())
    return folder


def _finish(path: Path, kept: Path, files: list[Path], fps: int) -> None:
    if path.suffix == ".png":
        save_png(path, images.grid(np.stack([_read_frame(file) for file in files]), len(files)))
    elif path.suffix:
        video.save(path, (_read_frame(file) for file in files), fps)
    else:
        for other in set(kept.iterdir()) - {*files, kept / _METADATA}:
            other.unlink()  # unfinished, from a process that was killed
        kept.rename(path)
        return
    hidden = glob.escape(hidden_name(path.stem, ".partial-"))
    unfinished = path.parent.glob(f"{hidden}*{path.suffix}")  # of killed processes
    for other in (*files, *unfinished):
        other.unlink()
    shutil.rmtree(kept)  # with _METADATA, last, so that a kill does not leave unidentified frames


def _read_frame(file: Path) -> Frame:
    with Image.open(file) as image:
        pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels
