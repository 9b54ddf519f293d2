"""Trajectories through the latent spaces: keyframes, interpolation, resampling."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from sg3tf.generate import latents_file, shared_flags
from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.latents import lerp, parse_seeds, slerp, transform_matrix, truncate, z_from_seeds

# ---------------------------------------------------------------------------------------------------------------------
# Trajectories through keyframes: of latents, truncations and motions. NumPy and SciPy only.
# ---------------------------------------------------------------------------------------------------------------------

FloatArray = NDArray[np.float32]

CURVES = ("cubic", "lerp", "slerp")


def times(keyframes: int, frames: int, loop: bool) -> NDArray[np.float64]:
    """When the frames of a film are, in keyframes: 0 is the first one, 1 the second.

    Args:
        keyframes: how many; one alone stands still for as long as the way to another would take.
        frames: from each keyframe to the next.
        loop: go back to the first, and stop one frame before it.
    """
    steps = keyframes if loop else max(keyframes - 1, 1)
    return np.arange(steps * frames + (not loop)) / frames


def interpolate(keyframes: ArrayLike, t: ArrayLike, curve: str = "cubic", loop: bool = False) -> FloatArray:
    """Points of a curve through keyframes.

    Args:
        keyframes: [K, ...].
        t: [F], as of `times`.
        curve: "cubic", a spline with continuous acceleration, which is not there at open ends; "lerp", straight
            lines; "slerp", arcs at constant angular speed over the last axis, for z.
        loop: the last keyframe leads back to the first.

    Returns:
        float32 [F, ...], which goes through keyframe k at t = k.

    Raises:
        ValueError: another curve.
    """
    points, t = np.asarray(keyframes, np.float64), np.asarray(t, np.float64)
    if curve not in CURVES:
        raise ValueError(f"curve={curve}: use one of {', '.join(CURVES)}")
    if len(points) == 1:
        return np.repeat(points, len(t), axis=0).astype(np.float32)
    if loop:
        points = np.concatenate([points, points[:1]])
    if curve == "cubic":
        spline = CubicSpline(np.arange(len(points)), points, bc_type="periodic" if loop else "natural")
        return spline(t).astype(np.float32)
    start = np.clip(t.astype(int), 0, len(points) - 2)
    fraction = (t - start).reshape([-1] + [1] * (points.ndim - 2))
    return (slerp if curve == "slerp" else lerp)(points[start], points[start + 1], fraction)


def resample(values: ArrayLike, frames: int, loop: bool) -> NDArray[np.float64]:
    """Values that are reached at even distances over a whole film, with straight lines between.

    Args:
        values: [K, ...]; the first belongs to the first frame, the last to the last (in a loop, to the one after).
        frames: of the film.
        loop: whether it goes on with its first frame.

    Returns:
        [frames, ...].
    """
    values = np.asarray(values, np.float64)
    position = np.arange(frames) / max(frames if loop else frames - 1, 1) * (len(values) - 1)
    start = np.minimum(position.astype(int), max(len(values) - 2, 0))
    fraction = (position - start).reshape([-1] + [1] * (values.ndim - 1))
    return (1 - fraction) * values[start] + fraction * values[np.minimum(start + 1, len(values) - 1)]


def moved_along(transform: ArrayLike, t: ArrayLike, curve: str, loop: bool) -> FloatArray:
    """Transforms [F, 3, 3] through those of keyframes, [K, 3, 3]: positions along the curve, turns the shorter way."""
    motion = np.linalg.inv(np.asarray(transform, np.float64))
    angle = np.unwrap(np.arctan2(motion[:, 1, 0], motion[:, 0, 0]))
    steps = np.column_stack([angle, motion[:, :2, 2]])
    return motions(interpolate(steps, t, "lerp" if curve == "slerp" else curve, loop))


def motions(steps: NDArray[Any]) -> FloatArray:
    """Transforms [F, 3, 3] of rows (angle in radians clockwise, image widths to the right, and down)."""
    return np.stack([transform_matrix(*step) for step in steps])


# ---------------------------------------------------------------------------------------------------------------------
# The points of a film: a way through keyframes, with truncation and motion along it.
# ---------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Trajectory:
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


def interpolate_keyframes(network: Network, keyframes: Latents, way: Trajectory) -> Latents:
    """The frames' points on the way through `keyframes`, of which only slerp needs the seeds.

    Raises:
        ValueError: slerp without seeds, or a motion of a network that cannot be moved.
    """
    t = times(len(keyframes), way.frames, way.loop)
    ws = _ws(network, keyframes, t, way)
    psi = None
    if way.psi is not None:
        psi = resample(way.psi, len(t), way.loop).astype(np.float32)
        ws = truncate(ws, network.w_avg, psi, way.cutoff)
    transform = None
    if keyframes.transform is not None:
        transform = moved_along(keyframes.transform, t, way.curve, way.loop)
    if way.motion is not None:
        network.require_transform()
        added = motions(resample(way.motion, len(t), way.loop))
        transform = added if transform is None else transform @ added
    return Latents(ws, transform, psi=psi)


def _ws(network: Network, keyframes: Latents, t: Any, way: Trajectory) -> Any:
    if way.curve != "slerp":
        return interpolate(keyframes.ws, t, way.curve, way.loop)
    if keyframes.seeds is None:
        raise ValueError("curve=slerp: goes through the z of seeds; use cubic or lerp for saved latents")
    z = interpolate(z_from_seeds(keyframes.seeds.tolist(), network.z_dim), t, "slerp", way.loop)
    return network.map(z, label=None if keyframes.label is None else interpolate(keyframes.label, t, "lerp", way.loop))


def define_flags() -> None:
    """The flags of a way."""
    shared_flags.define_truncation_flags()
    shared_flags.define_label_flags()
    flags.DEFINE_string("seeds", "0-3", "Keyframes, seeds and ranges: 0-3,85.")
    flags.DEFINE_string("latents", None, "Instead of seeds: an .npz file that a tool of sg3tf.generate has left.")
    flags.DEFINE_enum("curve", "cubic", CURVES, "Cubic or lerp through the style vectors, or slerp through z.")
    flags.DEFINE_bool("loop", False, "Back to the first keyframe in the end.")
    flags.DEFINE_integer("frames", 60, "From each keyframe to the next.", lower_bound=1)
    flags.DEFINE_integer("fps", 30, "Frames per second.", lower_bound=1)
    flags.DEFINE_list("rotate", None, "Degrees clockwise, spread evenly over the film: 0,360.")
    flags.DEFINE_string("translate", None, "Image widths right and down, X,Y, spread evenly: 0,0:0.1,0.")
    shared_flags.define_save_flag()


def keyframes(network: Network, options: Any) -> Latents:
    """The points of --seeds or --latents, not truncated."""
    if options.latents and options["seeds"].present:
        raise ValueError(f"seeds={options.seeds}, latents={options.latents}: give one of both")
    if options.latents and options.curve == "slerp":
        raise ValueError(f"latents={options.latents}: slerp goes through the z of seeds; use cubic or lerp")
    if options.latents:
        return latents_file.load(Path(options.latents), network)
    return shared_flags.from_seeds(network, parse_seeds(options.seeds), label=shared_flags.label(network, options))


def way(options: Any) -> Trajectory:
    """The way that the flags say.

    Raises:
        ValueError: flags that are no numbers, by their names.
    """
    psi = shared_flags.numbers("trunc", options.trunc) if options.trunc else None
    return Trajectory(options.frames, options.curve, options.loop, psi, options.trunc_cutoff, _motion(options))


def _motion(options: Any) -> Any:
    """Rows of turns and shifts, at as many moments as both have together."""
    if not (options.rotate or options.translate):
        return None
    angles = np.radians(shared_flags.numbers("rotate", options.rotate or ["0"]))
    shifts = [shared_flags.numbers("translate", pair.split(",")) for pair in (options.translate or "0,0").split(":")]
    if any(len(shift) != 2 for shift in shifts):
        raise ValueError(f"translate={options.translate}: give pairs, like 0,0:0.1,0")
    moments = (len(angles) - 1 or 1) * (len(shifts) - 1 or 1) + 1
    return np.column_stack([resample(angles, moments, False), resample(shifts, moments, False)])
