"""python -m sg3tf.cli.generate interpolate: a film from point to point.

python -m sg3tf.cli.generate interpolate --network=runs/00000-... --seeds=0-5 --loop --out=walk.mp4
python -m sg3tf.cli.generate interpolate --network=runs/00000-... --seeds=0-31 --grid=4x2 --out=walks.mp4
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from sg3tf import images
from sg3tf.generate import shared_flags, trajectory
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.generate.render_video import render_video
from sg3tf.generate.trajectory import Trajectory


def define_flags() -> None:
    """The flags of this command."""
    shared_flags.define_network_flags()
    trajectory.define_flags()
    flags.DEFINE_string("grid", "1x1", "Several films side by side, COLUMNSxROWS, which share the seeds among them.")
    shared_flags.define_picture_flags("MP4, WebM or GIF, or a folder for PNG frames.")


def main(options: Any) -> None:
    """Runs the command with its flags."""
    columns, rows = _grid(options.grid)
    way = trajectory.way(options)
    network = shared_flags.network(options)
    latents = cells(network, trajectory.keyframes(network, options), way, columns * rows)
    shared_flags.save_latents(options, latents)
    interpolate(network, latents, Path(options.out), options.fps, columns, columns * rows, options.scale)
    print(options.out)


def cells(network: Network, keyframes: Latents, way: Trajectory, count: int = 1) -> Latents:
    """Points of `count` films, each through its share of the keyframes: those of the first frame, of the second, ...

    Raises:
        ValueError: keyframes that cannot be shared evenly.
    """
    if len(keyframes) % count:
        raise ValueError(f"{len(keyframes)} keyframes: give a multiple of the {count} films of the grid")
    each = len(keyframes) // count
    ways = [
        trajectory.interpolate_keyframes(network, keyframes[i : i + each], way) for i in range(0, len(keyframes), each)
    ]
    arrays = [one.arrays() for one in ways]
    return Latents(
        **{name: np.stack([a[name] for a in arrays], 1).reshape(-1, *v.shape[1:]) for name, v in arrays[0].items()}
    )


def interpolate(
    network: Network, latents: Latents, out: Path, fps: int = 30, columns: int = 1, cells: int = 1, scale: int = 1
) -> None:
    """Makes a film of points, which goes on where it was if it was stopped.

    Args:
        network: what draws.
        latents: points in the order of the frames, `cells` for each.
        out: .mp4, .webm or .gif; without a suffix, a folder of PNG files.
        fps: frames per second.
        columns: of the grid that each frame is.
        scale: side of the square that each pixel becomes.

    Raises:
        OSError, ValueError, ModuleNotFoundError: as of sg3tf.generate.render_video.film.
    """

    def frames_from(start: int) -> Iterator[NDArray[np.uint8]]:
        rest = latents[start * cells :]
        drawn = network.images(rest.ws, rest.transform)
        for first in drawn:
            frame = [first, *(next(drawn) for _ in range(cells - 1))]
            yield images.enlarge(images.grid(np.stack(frame), columns), scale)

    described = {"network": network.identity(), "latents": latents.digest(), "columns": columns, "scale": scale}
    render_video(out, len(latents) // cells, frames_from, fps, described)


def _grid(text: str) -> tuple[int, int]:
    sides = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not sides:
        raise ValueError(f"grid={text}: give COLUMNSxROWS, like 4x2")
    return int(sides[1]), int(sides[2])
