"""Frames as a video file."""

import itertools
import subprocess
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from sg3tf.atomic import whole_path

_PIXELS = {1: "gray", 3: "rgb24", 4: "rgba"}
_QUALITY = "18"  # of x264's 0, lossless, to 51


def save_mp4(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    """Writes frames [R, R, C] uint8, of 1, 3 or 4 channels, as H.264; the file appears whole or not at all.

    Frames are taken one by one, so that a long video does not have to fit in memory.

    Raises:
      ModuleNotFoundError: imageio-ffmpeg is missing.
      OSError: the file cannot be written.
    """
    try:
        ffmpeg = import_module("imageio_ffmpeg").get_ffmpeg_exe()
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{path}: videos need {error.name}: pip install 'sg3tf[video]'") from error
    frames = iter(frames)
    first = next(frames)
    height, width, channels = first.shape
    command = [ffmpeg, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", _PIXELS[channels]]
    command += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-c:v", "libx264", "-pix_fmt", "yuv420p"]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_path(path) as temporary:
        # Not through imageio, whose way to start ffmpeg forks the process: gRPC's threads do not bear that.
        process = subprocess.Popen([*command, "-crf", _QUALITY, str(temporary)], stdin=subprocess.PIPE)
        with process, cast(BinaryIO, process.stdin) as pipe:
            for frame in itertools.chain([first], frames):
                pipe.write(frame.tobytes())
        if process.returncode:
            raise OSError(f"{path}: ffmpeg ended with exit status {process.returncode}")
