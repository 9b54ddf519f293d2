"""Trajectories through keyframes: of latents, truncations and motions. NumPy and SciPy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from sg3tf.latents import lerp, slerp, transform_matrix

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


def along(keyframes: ArrayLike, t: ArrayLike, curve: str = "cubic", loop: bool = False) -> FloatArray:
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


def spread(values: ArrayLike, frames: int, loop: bool) -> NDArray[np.float64]:
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
    return motions(along(steps, t, "lerp" if curve == "slerp" else curve, loop))


def motions(steps: NDArray[Any]) -> FloatArray:
    """Transforms [F, 3, 3] of rows (angle in radians clockwise, image widths to the right, and down)."""
    return np.stack([transform_matrix(*step) for step in steps])
