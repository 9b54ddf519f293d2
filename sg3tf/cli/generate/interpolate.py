"""Render a video through seeds or latents, or a strip of its frames.

sg3tf generate interpolate --network=runs/00000-... --seeds=0-5 --loop --out=walk.mp4
sg3tf generate interpolate --network=runs/00000-... --seeds=0-31 --grid=4x2 --out=walks.mp4
"""

from __future__ import annotations

import re
from pathlib import Path

from absl.flags import DEFINE_string, FlagValues

from sg3tf import video
from sg3tf.cli import drawing_flags
from sg3tf.generate.videos import interpolate_grid, render_latents

_STRIP_FRAMES = 8  # from each keyframe to the next, in a .png file


def define_flags(options: FlagValues) -> None:
    """Define the flags of this command."""
    drawing_flags.define_trajectory(options)
    drawing_flags.define_noise(options)
    DEFINE_string(
        "grid", "1x1", "Videos side by side, COLUMNSxROWS; the seeds are divided among them.", flag_values=options
    )
    drawing_flags.define_picture(
        options,
        "Video to write: .mp4, .webm or .gif; .png for a strip; no suffix for a folder of PNG files.",
        (*video.ENDINGS, ".png", ""),
    )


def main(options: FlagValues) -> None:
    """Run the command."""
    sides = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", options.grid)
    if not sides:
        raise ValueError(f"grid={options.grid}: give COLUMNSxROWS, like 4x2")
    columns, rows = int(sides[1]), int(sides[2])
    out = Path(options.out)
    trajectory = drawing_flags.trajectory_from_flags(options, frames=_STRIP_FRAMES if out.suffix == ".png" else 60)
    network = drawing_flags.network_from_flags(options)
    latents = interpolate_grid(
        network, drawing_flags.keyframes_from_flags(network, options), trajectory, columns * rows
    )
    drawing_flags.prepare_outputs(options)
    drawing_flags.save_latents(options, latents)
    render_latents(network, latents, out, options.fps, columns, columns * rows, options.scale)
    print(options.out)
