"""Pivotal tuning: a generator that draws one picture exactly, and everything else as before (arXiv 2106.05744)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.editing.perceptual import Distance
from sg3tf.models.generators import Generator, build_generator

FloatArray = NDArray[np.float32]


def tune(
    G: Generator,
    ws: FloatArray,
    transform: FloatArray | None,
    target: FloatArray,
    distance: Distance,
    *,
    steps: int = 350,
    learning_rate: float = 3e-4,
    locality: float = 0.0,
    others: FloatArray | None = None,
    reach: float = 30.0,
    shown: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Generator:
    """A copy of `G` whose image of the pivot is nearer to `target`; its mapping network is the same.

    Args:
        G: computes in float32; stays as it is.
        ws, transform: the pivot, [num_ws, w_dim] and [3, 3] or None.
        target: [R, R, C] in [-1, 1].
        distance: what is made small.
        steps, learning_rate: of Adam.
        locality: weight of the distance between what G and its copy draw of style vectors near the pivot (section 3.3
            of the paper); 0 for none.
        others: style vectors [steps, num_ws, w_dim] of random latents, one of which in every step says in which
            direction from the pivot; needed for locality.
        reach: how far from the pivot that is.
        shown: wraps the numbers of the steps, to show how far it is.

    Raises:
        FloatingPointError: a distance that is not finite.
    """
    tuned = build_generator(G.config)
    tuned.set_weights(G.get_weights())
    fixed = {id(variable) for variable in tuned.mapping_network.trainable_variables}
    variables = [variable for variable in tuned.trainable_variables if id(variable) not in fixed]
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(variables)
    pivot, wanted = tf.constant(ws[None]), tf.constant(target[None])
    moved = None if transform is None else tf.constant(transform[None])

    @tf.function
    def step(other: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = distance(tuned.synthesis(pivot, transform=moved), wanted)[0]
            if locality:
                near = _towards(pivot, other[None], reach)
                loss += (
                    locality * distance(tuned.synthesis(near, transform=moved), G.synthesis(near, transform=moved))[0]
                )
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    for number in shown(range(steps)):
        loss = float(step(tf.constant(others[number] if others is not None else ws)))
        if not np.isfinite(loss):
            raise FloatingPointError(f"the distance at step {number} is {loss}; lower the learning rate")
    return tuned


def _towards(start: tf.Tensor, other: tf.Tensor, reach: float) -> tf.Tensor:
    """The style vectors at this distance from those of `start`, in the direction of others."""
    direction = other - start
    return start + reach * direction / tf.norm(direction, axis=2, keepdims=True)
