"""Trajectories of latents, truncation and transforms through keyframes. NumPy and SciPy only."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.latents import lerp, slerp, transform_matrix, truncate, z_from_seeds

FloatArray = NDArray[np.float32]

CURVES = ("cubic", "lerp", "slerp")


def times(keyframes: int, frames: int, loop: bool) -> NDArray[np.float64]:
    """Return the times of a video's frames in units of keyframes: 0 is the first keyframe, 1 the second.

    Args:
        keyframes: number of keyframes; a single keyframe is held as long as a transition to another would take.
        frames: number of frames from each keyframe to the next.
        loop: return to the first keyframe, and stop one frame before it.

    Returns:
        float64 [F].
    """
    steps = keyframes if loop else max(keyframes - 1, 1)
    return np.arange(steps * frames + (not loop)) / frames


def interpolate(keyframes: ArrayLike, t: ArrayLike, curve: str = "cubic", loop: bool = False) -> FloatArray:
    """Interpolate between keyframes.

    Args:
        keyframes: [K, ...].
        t: [F], see `times`.
        curve: "cubic" for a spline with continuous acceleration, which is zero at open ends; "lerp" for straight lines;
            "slerp" for arcs at constant angular speed over the last axis, for z.
        loop: continue from the last keyframe to the first.

    Returns:
        float32 [F, ...], keyframe k at t = k.

    Raises:
        ValueError: unknown curve.
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
    """Spread values evenly over an entire video, with linear interpolation.

    Args:
        values: [K, ...], from the first frame to the last (in a loop, to the one after it).
        frames: number of frames of the video.
        loop: True if the first frame follows the last one.

    Returns:
        [frames, ...].
    """
    values = np.asarray(values, np.float64)
    position = np.arange(frames) / max(frames if loop else frames - 1, 1) * (len(values) - 1)
    start = np.minimum(position.astype(int), max(len(values) - 2, 0))
    fraction = (position - start).reshape([-1] + [1] * (values.ndim - 1))
    return (1 - fraction) * values[start] + fraction * values[np.minimum(start + 1, len(values) - 1)]


def interpolate_transforms(transform: ArrayLike, t: ArrayLike, curve: str, loop: bool) -> FloatArray:
    """Interpolate between keyframe transforms: positions along the curve, rotations the shorter way around.

    A loop whose rotations add up to full turns, such as 0, 120 and 240 degrees, completes them.

    Args:
        transform: [K, 3, 3].
        t, curve, loop: see `interpolate`.

    Returns:
        float32 [F, 3, 3].
    """
    motion = np.linalg.inv(np.asarray(transform, np.float64))
    angle = np.arctan2(motion[:, 1, 0], motion[:, 0, 0])
    angle = np.unwrap(np.append(angle, angle[0]) if loop else angle)
    # A closed curve ends at its initial angle: remove full turns from it, and add them back evenly.
    turns = round((angle[-1] - angle[0]) / (2 * np.pi)) if loop else 0
    speed = 2 * np.pi * turns / len(motion)
    angle = angle[: len(motion)] - speed * np.arange(len(motion))
    steps = np.column_stack([angle, motion[:, :2, 2]])
    between = interpolate(steps, t, "lerp" if curve == "slerp" else curve, loop).astype(np.float64)
    between[:, 0] += speed * np.asarray(t, np.float64)
    return transforms_from_steps(between)


def transforms_from_steps(steps: NDArray[Any]) -> FloatArray:
    """Return transforms [F, 3, 3] for rows (clockwise angle in radians, image widths right and down)."""
    return np.stack([transform_matrix(*step) for step in steps])


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """Parameters of a video through keyframes.

    Attributes:
        frames: number of frames from each keyframe to the next.
        curve: "cubic" or "lerp" through the style vectors, or "slerp" through the z of seeds.
        loop: return to the first keyframe at the end.
        psi: one or several truncation values, spread evenly over the video, in addition to those of the keyframes;
            None for none.
        cutoff: number of leading style vectors to truncate; None for all.
        motion: [M, 3], rows (clockwise angle in radians, image widths right and down), spread evenly over the video
            and composed with the keyframes' own transforms, which move the image first; or None.

    Examples:
        >>> from sg3tf.generate.open_network import open_network
        >>> network = open_network("examples/portraits-32.keras")
        >>> keyframes = Latents(network.map(z_from_seeds([5, 6, 24])))
        >>> len(interpolate_keyframes(network, keyframes, Trajectory(frames=30, loop=True)))
        90
    """

    frames: int = 60
    curve: str = "cubic"
    loop: bool = False
    psi: ArrayLike | None = None
    cutoff: int | None = None
    motion: ArrayLike | None = None


def interpolate_keyframes(network: Network, keyframes: Latents, trajectory: Trajectory) -> Latents:
    """Return the latents of a video's frames; only slerp needs the keyframes' seeds.

    Raises:
        ValueError: slerp without seeds or with an unknown truncation (`psi`), or motion with a network that does not
            support transforms.
    """
    t = times(len(keyframes), trajectory.frames, trajectory.loop)
    ws = _interpolate_ws(network, keyframes, t, trajectory)
    psi = None
    if trajectory.psi is not None:
        psi = resample(np.atleast_1d(trajectory.psi), len(t), trajectory.loop).astype(np.float32)
        ws = truncate(ws, network.w_avg, psi, trajectory.cutoff)
        is_first = keyframes.psi is not None and (keyframes.psi == 1).all()
        if not (is_first and network.truncates_fully(trajectory.cutoff)):
            psi = None  # it would not describe the frames
    transform = None
    if keyframes.transform is not None:
        transform = interpolate_transforms(keyframes.transform, t, trajectory.curve, trajectory.loop)
    if trajectory.motion is not None:
        network.require_transform()
        added = transforms_from_steps(resample(trajectory.motion, len(t), trajectory.loop))
        transform = added if transform is None else transform @ added
    return Latents(ws, transform, psi=psi)


def _interpolate_ws(network: Network, keyframes: Latents, t: Any, trajectory: Trajectory) -> Any:
    if trajectory.curve != "slerp":
        return interpolate(keyframes.ws, t, trajectory.curve, trajectory.loop)
    if keyframes.seeds is None:
        raise ValueError("curve=slerp: interpolates the z of seeds; use cubic or lerp for saved latents")
    if keyframes.psi is None:
        raise ValueError(
            "curve=slerp: the keyframes have no psi, so their truncation is unknown; leave them untruncated, and give "
            "Trajectory(psi=..., cutoff=...), or use cubic or lerp"
        )
    z = interpolate(z_from_seeds(keyframes.seeds.tolist(), network.z_dim), t, "slerp", trajectory.loop)
    psi = interpolate(keyframes.psi[:, None], t, "lerp", trajectory.loop)[:, 0]
    label = None if keyframes.label is None else interpolate(keyframes.label, t, "lerp", trajectory.loop)
    return network.map(z, psi, label=label)
