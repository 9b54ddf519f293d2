"""Frames of video files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from tests.helpers.numerics import Array


def decoded(path: Path, height: int = 32, width: int = 32) -> tuple[int, Array]:
    """Frames per second, and frames [N, H, W, 3] uint8."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    fps = re.search(rb"Video: .* (\d+) fps", done.stderr)
    assert fps
    return int(fps[1]), np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)
