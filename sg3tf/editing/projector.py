"""Projection of an image into W: optimization with decaying noise (arXiv 1912.04958, appendix D)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sg3tf.editing.picture import checked_target
from sg3tf.metrics.detectors.lpips import Distance
from sg3tf.models.generators import Generator
from sg3tf.models.latent_ops import transform_matrix

FloatArray = NDArray[np.float32]

# --- Schedules of learning rate and noise ----------------------------------------------------------------------------

WARM_UP = 0.05  # fraction of the steps over which the learning rate ramps up
COOL_DOWN = 0.25  # fraction over which it decays, at the end
NOISY = 0.75  # fraction of the steps with noise
NOISE = 0.05  # initial strength, in standard deviations of w


def learning_rate_factor(progress: float) -> float:
    """Fraction of the full learning rate: a linear warm-up, and a half-cosine decay at the end.

    Args:
        progress: 0 at the start, 1 at the end.
    """
    rise = min(1.0, progress / WARM_UP)
    remaining = min(1.0, (1 - progress) / COOL_DOWN)
    return rise * (1 - math.cos(math.pi * remaining)) / 2


def noise_strength(progress: float, sigma: float) -> float:
    """Standard deviation of the noise on each component of w.

    Args:
        progress: 0 at the start, 1 at the end.
        sigma: standard deviation of w, as the RMS distance from its mean.
    """
    return NOISE * sigma * max(0.0, 1 - progress / NOISY) ** 2


# --- Search ----------------------------------------------------------------------------------------------------------

_MIN_DISTANCE = 1e-8
_MOTION_SCALE = 0.1  # radians or image widths that correspond to 1 in w


def mean_and_sigma(w: FloatArray) -> tuple[FloatArray, float]:
    """Return the mean of w [N, w_dim], and the RMS distance from it."""
    exact = w.astype(np.float64)
    mean = exact.mean(0)
    return mean.astype(np.float32), float(np.sqrt(np.mean(np.sum((exact - mean) ** 2, 1))))


@dataclasses.dataclass(frozen=True)
class Trace:
    """Trace of the search: the state after every step; the last is the result.

    Attributes:
        ws: float32 [steps, num_ws, w_dim], without noise.
        motion: float32 [steps, 3], arguments of sg3tf.latents.transform_matrix; None if not optimized.
        distances: float32 [steps], before each step, for the image with noise.

    Examples:
        >>> from sg3tf.editing.perceptual import pixels
        >>> from sg3tf.models.loading import load
        >>> G = load("examples/portraits-32.keras")
        >>> w = np.asarray(G.mapping_network(np.random.default_rng(0).standard_normal([100, 512])))
        >>> trace = project_image(G, np.zeros([32, 32, 3], np.float32), pixels, *mean_and_sigma(w), steps=2)
        >>> trace.ws.shape, trace.distances.shape
        ((2, 16, 512), (2,))
    """

    ws: FloatArray
    motion: FloatArray | None
    distances: FloatArray


class _Candidate:
    """Variables to optimize: one style vector for all layers or one per layer, and optionally a motion."""

    def __init__(self, mean: FloatArray, num_ws: int, space: str, search_transform: bool) -> None:
        self._num_ws = num_ws
        self.w = tf.Variable(np.tile(mean, [1, num_ws if space == "w+" else 1, 1]))
        self._scaled_motion = tf.Variable(np.zeros(3, np.float32)) if search_transform else None

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
    target: ArrayLike,
    distance: Distance,
    mean: ArrayLike,
    sigma: float,
    *,
    space: str = "w",
    search_transform: bool = False,
    steps: int = 1000,
    learning_rate: float = 0.1,
    seed: int = 0,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Trace:
    """Optimize w, starting at its mean, toward `target` with Adam and decaying noise.

    Args:
        G: generator that computes in float32; its weights are not changed.
        target: float [H, W, C] in [-1, 1].
        distance: distance to minimize.
        mean, sigma: mean [w_dim] of w, and the RMS distance from it, see `mean_and_sigma`.
        space: "w" for one style vector for all layers, or "w+" for one per layer.
        search_transform: also optimize a rotation and a translation, starting from none.
        steps, learning_rate: of Adam; the rate is multiplied by `learning_rate_factor`.
        seed: seed of the noise, below 2**64.
        progress: wraps the step numbers, for example in a progress bar.

    Raises:
        ValueError: unknown space, or the target or the mean does not fit the generator.
        FloatingPointError: a distance is not finite.
    """
    if space not in ("w", "w+"):
        raise ValueError(f"space={space}: use w or w+")
    target = checked_target(target, G.config.resolution, G.config.image_channels)
    mean = np.asarray(mean, np.float32)
    if mean.shape != (G.config.w_dim,):
        raise ValueError(f"mean of shape {mean.shape}: give [{G.config.w_dim}]")
    seed = seed if seed < 2**63 else seed - 2**64  # int64 with the same bits
    candidate = _Candidate(mean, G.num_ws, space, search_transform)
    step = _step_function(G, target[None], distance, candidate)
    ws, motions, distances = [], [], []
    for number in progress(range(steps)):
        done = number / steps
        rate, strength = learning_rate * learning_rate_factor(done), noise_strength(done, sigma)
        distances.append(float(step(tf.constant(rate), tf.constant(strength), tf.constant([seed, number]))))
        if not np.isfinite(distances[-1]):
            raise FloatingPointError(f"the distance at step {number} is {distances[-1]}; lower the learning rate")
        ws.append(candidate.ws()[0].numpy())
        if search_transform:
            motions.append(np.asarray(candidate.motion()))
    return Trace(np.stack(ws), np.stack(motions) if search_transform else None, np.asarray(distances, np.float32))


def _step_function(
    G: Generator, target: FloatArray, distance: Distance, candidate: _Candidate
) -> Callable[..., tf.Tensor]:
    """Return the function (learning rate, noise strength, noise seed int32 [2]) -> distance [] before the step."""
    optimizer = keras.optimizers.Adam(0.0)
    optimizer.build(candidate.variables)

    @tf.function(autograph=False)
    def step(rate: tf.Tensor, strength: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        noise = strength * tf.random.stateless_normal(candidate.w.shape, seed)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(candidate.variables)
            motion = candidate.motion()
            transform = None if motion is None else transform_matrix(motion)
            image = G.synthesis(candidate.ws(noise), transform=transform)
            found = distance(image, tf.constant(target))[0]
            # Adam divides by past gradients: without the logarithm, the small ones near the end would have no effect.
            loss = tf.math.log(found + _MIN_DISTANCE)
        optimizer.learning_rate.assign(rate)
        optimizer.apply(tape.gradient(loss, candidate.variables))
        return found

    return step
