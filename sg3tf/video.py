"""Encode frames as a video file: MP4, WebM or GIF."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from sg3tf.utils.extras import require
from sg3tf.utils.files import atomic_path

_PIXELS = {1: "gray", 3: "rgb24", 4: "rgba"}
_EVEN = "pad=ceil(iw/2)*2:ceil(ih/2)*2"  # chroma is stored per 2x2 pixels
# Quality is 18 on x264's scale from 0 (lossless) to 51, and 24 on VP9's from 0 to 63. GIF has 256 colors for the entire
# video, dithered with a fixed pattern, so that static areas cost nothing and do not flicker.
_ENCODING = {
    ".mp4": ["-vf", _EVEN, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18"],
    ".webm": ["-vf", _EVEN, "-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", "-crf", "24", "-b:v", "0"],
    ".gif": ["-filter_complex", "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=bayer:bayer_scale=5"],
}
_MOST_GIF_FPS = 100  # delays between its frames are whole hundredths of a second

#: Supported suffixes.
ENDINGS = tuple(_ENCODING)


def check(path: str | os.PathLike[str], fps: int) -> None:
    """Raise errors of `save` that can be detected before computing frames.

    Raises:
        ValueError: the suffix is not .mp4, .webm or .gif, or a GIF has more than 100 frames per second.
        MissingExtraError: imageio-ffmpeg is not installed.
    """
    path = Path(path)
    if path.suffix not in _ENCODING:
        raise ValueError(f"{path}: videos end in one of {', '.join(_ENCODING)}")
    if path.suffix == ".gif" and fps > _MOST_GIF_FPS:
        raise ValueError(f"fps={fps}: a GIF has at most {_MOST_GIF_FPS} frames per second; write .mp4 or .webm")
    _ffmpeg(path)


def save(path: str | os.PathLike[str], frames: Iterable[NDArray[np.uint8]], fps: int) -> None:
    """Write a video file atomically.

    Frames are consumed one by one, so that a long video does not have to fit in memory, except as GIF.

    Args:
        path: file name with the suffix .mp4 (H.264), .webm (VP9) or .gif.
        frames: at least one, all [H, W, C] uint8, with 1, 3 or 4 channels; transparent parts become white except in
            GIF.
        fps: frames per second.

    Raises:
        ValueError: see `check`; or frames are missing, or of another type or shape.
        MissingExtraError: imageio-ffmpeg is not installed.
        OSError: the file cannot be written.
    """
    path = Path(path)
    check(path, fps)
    checked = _checked(frames)
    if path.suffix != ".gif":
        checked = map(over_white, checked)
    first = next(checked, None)
    if first is None:
        raise ValueError(f"{path}: no frames: give at least one")
    height, width, channels = first.shape
    command = [_ffmpeg(path), "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", _PIXELS[channels]]
    command += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-", *_ENCODING[path.suffix]]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        # "file:", because ffmpeg treats text before a colon as a protocol, and a leading hyphen as an option.
        _encode([*command, f"file:{temporary}"], itertools.chain([first], checked), path)


def _checked(frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames, or raise ValueError for one of another type or shape, which would be encoded as noise."""
    shape: tuple[int, ...] | None = None
    for number, frame in enumerate(frames):
        if frame.dtype != np.uint8:
            remedy = "give uint8, which sg3tf.images.to_uint8 makes of floats in [-1, 1]"
            raise ValueError(f"frame {number} of type {frame.dtype}: {remedy}")
        if frame.ndim != 3 or frame.shape[2] not in _PIXELS:
            raise ValueError(f"frame {number} of shape {frame.shape}: give [H, W, C], C is 1, 3 or 4")
        shape = shape or frame.shape
        if frame.shape != shape:
            raise ValueError(f"frame {number} of shape {frame.shape}: all must have that of the first, {shape}")
        yield frame


def over_white(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image [H, W, 4] composited on white, [H, W, 3]; images without alpha unchanged."""
    if image.shape[-1] != 4:
        return image
    alpha = image[..., 3:].astype(np.uint32)
    return np.asarray((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255, np.uint8)


def _encode(command: list[str], frames: Iterator[NDArray[np.uint8]], path: Path) -> None:
    # Not through imageio, which forks the process to start ffmpeg: gRPC's threads do not survive a fork.
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=messages)
        try:
            with process, cast(BinaryIO, process.stdin) as pipe:
                for frame in frames:
                    pipe.write(frame.tobytes())
        except BrokenPipeError:
            pass  # the reason is in ffmpeg's messages
        if process.returncode:
            messages.seek(0)
            reason = messages.read().decode(errors="replace").strip().partition("\n")[0]
            raise OSError(f"{path}: ffmpeg ended with exit status {process.returncode}: {reason}")


def _ffmpeg(path: Path) -> str:
    imageio_ffmpeg = require("imageio_ffmpeg", extra="video", purpose=f"{path}: encoding a video")
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:  # on machines that its wheels do not cover
        raise OSError(f"{path}: {error}") from error
