"""Pivotal tuning: fine-tune a generator to reproduce one image at its latents (PTI, arXiv 2106.05744)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from sg3tf.editing.picture import checked_target
from sg3tf.metrics.detectors.lpips import Distance
from sg3tf.models.generators import Generator


def tune(
    G: Generator,
    ws: ArrayLike,
    transform: ArrayLike | None,
    target: ArrayLike,
    distance: Distance,
    *,
    steps: int,
    learning_rate: float,
    locality: float = 0.0,
    others: ArrayLike | None = None,
    radius: float = 30.0,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Generator:
    """Return a copy of `G` whose image at the pivot is closer to `target`; its mapping network is unchanged.

    All of its synthesis network is tuned, and trainable, whether or not layers of `G` are frozen.

    Args:
        G: generator that computes in float32; it is not modified.
        ws, transform: the pivot, [num_ws, w_dim] and [3, 3] or None.
        target: float [H, W, C] in [-1, 1].
        distance: distance to minimize.
        steps, learning_rate: of Adam.
        locality: weight of the distance between images of G and its copy at style vectors near the pivot (section 3.3
            of the paper); 0 for none.
        others: w [steps, w_dim] of random latents, one per step, that give the direction from the pivot to these style
            vectors; required for locality.
        radius: distance of these style vectors from the pivot.
        progress: wraps the step numbers, for example in a progress bar.

    Raises:
        ValueError: locality without others, or a target that does not fit the generator.
        FloatingPointError: a distance is not finite.
    """
    if locality and others is None:
        raise ValueError(f"locality={locality:g}: needs others, one w for each step")
    target = checked_target(target, G.config.resolution, G.config.image_channels)
    ws = np.asarray(ws, np.float32)
    others = None if others is None else np.asarray(others, np.float32)
    tuned = type(G).from_config(G.get_config())
    tuned.trainable = True
    tuned.set_weights(G.get_weights())
    fixed = {id(variable) for variable in tuned.mapping_network.trainable_variables}
    variables = [variable for variable in tuned.trainable_variables if id(variable) not in fixed]
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(variables)
    pivot, target_image = tf.constant(ws[None]), tf.constant(target[None])
    pivot_transform = None if transform is None else tf.constant(np.asarray(transform, np.float32)[None])

    @tf.function(autograph=False)
    def step(other: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = distance(tuned.synthesis(pivot, transform=pivot_transform), target_image)[0]
            if locality:
                near = _towards(pivot, other[None], radius)
                original = G.synthesis(near, transform=pivot_transform)
                loss += locality * distance(tuned.synthesis(near, transform=pivot_transform), original)[0]
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    for number in progress(range(steps)):
        loss = float(step(tf.constant(others[number] if others is not None else ws)))
        if not np.isfinite(loss):
            raise FloatingPointError(f"the distance at step {number} is {loss}; lower the learning rate")
    return tuned


def _towards(start: tf.Tensor, other: tf.Tensor, radius: float) -> tf.Tensor:
    """Return the style vectors at distance `radius` from `start`, in the direction of `other`."""
    direction = other - start
    return start + radius * direction / tf.norm(direction, axis=2, keepdims=True)
