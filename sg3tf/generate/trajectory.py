"""The points of a film: a way through keyframes, with truncation and motion along it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import ArrayLike

from sg3tf.generate import latents_file, path, points
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.latents import parse_seeds, truncate, z_from_seeds


@dataclasses.dataclass(frozen=True)
class Way:
    """How a film goes from keyframe to keyframe.

    Attributes:
        frames: from each keyframe to the next.
        curve: "cubic" or "lerp" through the style vectors, or "slerp" through the z of seeds.
        loop: back to the first keyframe in the end.
        psi: truncations, at even distances over the film; None: of seeds none, of saved latents what they have.
        cutoff: truncate only the first so many style vectors; None for all.
        motion: [M, 3], rows (angle in radians clockwise, image widths to the right, and down), at even distances over
            the film; None: none, of saved latents what they have.
    """

    frames: int = 60
    curve: str = "cubic"
    loop: bool = False
    psi: ArrayLike | None = None
    cutoff: int | None = None
    motion: ArrayLike | None = None


def through(network: Network, keyframes: Latents, way: Way) -> Latents:
    """The frames' points on the way through `keyframes`, of which only slerp needs the seeds.

    Raises:
        ValueError: slerp without seeds, or a motion of a network that cannot be moved.
    """
    t = path.times(len(keyframes), way.frames, way.loop)
    ws = _ws(network, keyframes, t, way)
    psi = None
    if way.psi is not None:
        psi = path.spread(way.psi, len(t), way.loop).astype(np.float32)
        ws = truncate(ws, network.w_avg, psi, way.cutoff)
    transform = None
    if keyframes.transform is not None:
        transform = path.moved_along(keyframes.transform, t, way.curve, way.loop)
    if way.motion is not None:
        network.check_movable()
        added = path.motions(path.spread(way.motion, len(t), way.loop))
        transform = added if transform is None else transform @ added
    return Latents(ws, transform, psi=psi)


def _ws(network: Network, keyframes: Latents, t: Any, way: Way) -> Any:
    if way.curve != "slerp":
        return path.along(keyframes.ws, t, way.curve, way.loop)
    if keyframes.seeds is None:
        raise ValueError("curve=slerp: goes through the z of seeds; use cubic or lerp for saved latents")
    z = path.along(z_from_seeds(keyframes.seeds.tolist(), network.z_dim), t, "slerp", way.loop)
    return network.map(z, label=None if keyframes.label is None else path.along(keyframes.label, t, "lerp", way.loop))


def define_flags() -> None:
    """The flags of a way."""
    points.define_truncation_flags()
    points.define_label_flags()
    flags.DEFINE_string("seeds", "0-3", "Keyframes, seeds and ranges: 0-3,85.")
    flags.DEFINE_string("latents", None, "Instead of seeds: an .npz file that a tool of sg3tf.generate has left.")
    flags.DEFINE_enum("curve", "cubic", path.CURVES, "Cubic or lerp through the style vectors, or slerp through z.")
    flags.DEFINE_bool("loop", False, "Back to the first keyframe in the end.")
    flags.DEFINE_integer("frames", 60, "From each keyframe to the next.", lower_bound=1)
    flags.DEFINE_integer("fps", 30, "Frames per second.", lower_bound=1)
    flags.DEFINE_list("rotate", None, "Degrees clockwise, spread evenly over the film: 0,360.")
    flags.DEFINE_string("translate", None, "Image widths right and down, X,Y, spread evenly: 0,0:0.1,0.")
    points.define_save_flag()


def keyframes(network: Network, options: Any) -> Latents:
    """The points of --seeds or --latents, not truncated."""
    if options.latents and options["seeds"].present:
        raise ValueError(f"seeds={options.seeds}, latents={options.latents}: give one of both")
    if options.latents and options.curve == "slerp":
        raise ValueError(f"latents={options.latents}: slerp goes through the z of seeds; use cubic or lerp")
    if options.latents:
        return latents_file.load(Path(options.latents), network)
    return points.from_seeds(network, parse_seeds(options.seeds), label=points.label(network, options))


def way(options: Any) -> Way:
    """The way that the flags say.

    Raises:
        ValueError: flags that are no numbers, by their names.
    """
    psi = points.numbers("trunc", options.trunc) if options.trunc else None
    return Way(options.frames, options.curve, options.loop, psi, options.trunc_cutoff, _motion(options))


def _motion(options: Any) -> Any:
    """Rows of turns and shifts, at as many moments as both have together."""
    if not (options.rotate or options.translate):
        return None
    angles = np.radians(points.numbers("rotate", options.rotate or ["0"]))
    shifts = [points.numbers("translate", pair.split(",")) for pair in (options.translate or "0,0").split(":")]
    if any(len(shift) != 2 for shift in shifts):
        raise ValueError(f"translate={options.translate}: give pairs, like 0,0:0.1,0")
    moments = (len(angles) - 1 or 1) * (len(shifts) - 1 or 1) + 1
    return np.column_stack([path.spread(angles, moments, False), path.spread(shifts, moments, False)])
