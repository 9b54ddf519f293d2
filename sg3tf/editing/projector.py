"""Projection of an image into W: an optimization with noise that fades (arXiv 1912.04958, appendix D)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from sg3tf.editing.perceptual import Distance
from sg3tf.images import center_crop, read_image
from sg3tf.models.generators import Generator

# --- Target images ----------------------------------------------------------------------------------------------------


def read_picture(path: Path, resolution: int, channels: int, crop: bool = False) -> NDArray[np.float32]:
    """Read the image to project, upright, on white where it is transparent, 8 bits per channel.

    Args:
        path: any format and mode that `sg3tf.images.read_image` reads.
        resolution: side of the result.
        channels: 1 (grayscale), 3 (RGB), or 4, which keeps transparency.
        crop: cut the largest centered square out of an image of another size and resize it (Lanczos).

    Returns:
        float32 [resolution, resolution, channels] in [-1, 1].

    Raises:
        ValueError: the file cannot be read as an image, or it has another size and `crop` is False.
    """
    try:
        image = read_image(path, channels)
    except ValueError as error:
        raise ValueError(f"target={error}") from error
    size = (resolution, resolution)
    if image.size != size:
        if not crop:
            remedy = "give --crop to take the square in its middle and resize it"
            raise ValueError(f"target={path}: is {_by(image.size)}, the network makes {_by(size)}; {remedy}")
        image = center_crop(image).resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image, np.float32).reshape(resolution, resolution, channels) / 127.5 - 1


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


# ---------------------------------------------------------------------------------------------------------------------
# An image's position as numbers that can be optimised.
# ---------------------------------------------------------------------------------------------------------------------


def transform_matrix_tf(motion: tf.Tensor) -> tf.Tensor:
    """What sg3tf.latents.transform_matrix gives, with a gradient.

    Args:
        motion: float32 [3]: angle in radians, clockwise on the screen; then image widths to the right, and down.

    Returns:
        float32 [1, 3, 3], the inverse of the motion, for `transform`.
    """
    angle, tx, ty = tf.unstack(motion)
    cos, sin = tf.cos(angle), tf.sin(angle)
    zero, one = tf.zeros([]), tf.ones([])
    rows = [[cos, sin, -cos * tx - sin * ty], [-sin, cos, sin * tx - cos * ty], [zero, zero, one]]
    return tf.stack([tf.stack(row) for row in rows])[None]


# ---------------------------------------------------------------------------------------------------------------------
# How fast and how noisily a projection goes, from its beginning to its end (arXiv 1912.04958, appendix D).
# ---------------------------------------------------------------------------------------------------------------------

WARM_UP = 0.05  # share of the steps in which the learning rate rises
COOL_DOWN = 0.25  # and, at the end, falls
NOISY = 0.75  # share of the steps with noise
NOISE = 0.05  # at the beginning, in standard deviations of w


def learning_rate_share(progress: float) -> float:
    """Share of the full learning rate: a linear rise, and at the end half a cosine.

    Args:
        progress: 0 at the beginning, 1 at the end.
    """
    rise = min(1.0, progress / WARM_UP)
    remaining = min(1.0, (1 - progress) / COOL_DOWN)
    return rise * (1 - math.cos(math.pi * remaining)) / 2


def noise_strength(progress: float, sigma: float) -> float:
    """Standard deviation of the noise on every number of w.

    Args:
        progress: 0 at the beginning, 1 at the end.
        sigma: standard deviation of w, as the distance from its mean.
    """
    return NOISE * sigma * max(0.0, 1 - progress / NOISY) ** 2


# ---------------------------------------------------------------------------------------------------------------------
# The latents whose image is nearest to a picture (arXiv 1912.04958, appendix D).
# ---------------------------------------------------------------------------------------------------------------------

FloatArray = NDArray[np.float32]

_SMALLEST = 1e-8  # distance
_MOTION_SCALE = 0.1  # radians and image widths that are as far as 1 in w


@dataclasses.dataclass(frozen=True)
class Trace:
    """Where the search was after every step; its end is the result.

    Attributes:
        ws: float32 [steps, num_ws, w_dim], without the noise.
        motion: float32 [steps, 3], as `transform_of` takes it; None: not searched for.
        distances: float32 [steps], of the image with noise, before the step.
    """

    ws: FloatArray
    motion: FloatArray | None
    distances: FloatArray


class _Point:
    """What is optimised: style vectors, one for all layers or one for each, and a motion where it is wanted."""

    def __init__(self, mean: FloatArray, num_ws: int, space: str, moves: bool) -> None:
        self._num_ws = num_ws
        self.w = tf.Variable(np.tile(mean, [1, num_ws if space == "w+" else 1, 1]))
        self._scaled_motion = tf.Variable(np.zeros(3, np.float32)) if moves else None

    @property
    def variables(self) -> list[tf.Variable]:
        return [self.w] if self._scaled_motion is None else [self.w, self._scaled_motion]

    def ws(self, noise: tf.Tensor | float = 0.0) -> tf.Tensor:
        """[1, num_ws, w_dim]."""
        return tf.broadcast_to(self.w + noise, [1, self._num_ws, self.w.shape[2]])

    def motion(self) -> tf.Tensor | None:
        """[3]."""
        return None if self._scaled_motion is None else self._scaled_motion * _MOTION_SCALE


def project_image(
    G: Generator,
    target: FloatArray,
    distance: Distance,
    mean: FloatArray,
    sigma: float,
    *,
    space: str = "w",
    moves: bool = False,
    steps: int = 1000,
    learning_rate: float = 0.1,
    seed: int = 0,
    shown: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Trace:
    """Walks from the mean of w towards `target` by Adam, under noise that fades.

    Args:
        G: computes in float32; its weights stay as they are.
        target: [R, R, C] in [-1, 1].
        distance: what is made small.
        mean, sigma: of w: [w_dim], and its standard deviation as the distance from the mean.
        space: "w", one style vector for all layers, or "w+", one for each.
        moves: look for a rotation and a translation, too, from none.
        steps, learning_rate: of Adam; the rate rises and falls by `learning_rate_share`.
        seed: of the noise.
        shown: wraps the numbers of the steps, to show how far it is.

    Raises:
        ValueError: another space.
        FloatingPointError: a distance that is not finite.
    """
    if space not in ("w", "w+"):
        raise ValueError(f"space={space}: use w or w+")
    point = _Point(mean, G.num_ws, space, moves)
    step = _step_function(G, target[None], distance, point)
    ws, motions, distances = [], [], []
    for number in shown(range(steps)):
        progress = number / steps
        rate, strength = learning_rate * learning_rate_share(progress), noise_strength(progress, sigma)
        distances.append(float(step(tf.constant(rate), tf.constant(strength), tf.constant([seed, number]))))
        if not np.isfinite(distances[-1]):
            raise FloatingPointError(f"the distance at step {number} is {distances[-1]}; lower the learning rate")
        ws.append(point.ws()[0].numpy())
        if moves:
            motions.append(np.asarray(point.motion()))
    return Trace(np.stack(ws), np.stack(motions) if moves else None, np.asarray(distances, np.float32))


def _step_function(G: Generator, target: FloatArray, distance: Distance, point: _Point) -> Callable[..., tf.Tensor]:
    """(learning rate, strength of the noise, its seed int32 [2]) -> the distance [] before the step."""
    optimizer = keras.optimizers.Adam(0.0)
    optimizer.build(point.variables)

    @tf.function
    def step(rate: tf.Tensor, strength: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        noise = strength * tf.random.stateless_normal(point.w.shape, seed)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(point.variables)
            motion = point.motion()
            image = G.synthesis(point.ws(noise), transform=None if motion is None else transform_matrix_tf(motion))
            found = distance(image, tf.constant(target))[0]
            # Adam divides by gradients of the past: without the logarithm, the small ones near the end hardly count.
            loss = tf.math.log(found + _SMALLEST)
        optimizer.learning_rate.assign(rate)
        optimizer.apply(tape.gradient(loss, point.variables))
        return found

    return step
