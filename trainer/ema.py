"""The moving average of the generator that users get (arXiv 2006.06676, appendix C; EDM2 section 4.2 on half-lives)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from sg3tf import Generator

RAMP_UP = 0.05  # the half-life is at most this share of what has been trained


def decay(batch: int, cur_nimg: int, half_life_nimg: float, ramp_up: bool = True) -> float:
    """Share that the average keeps when it takes in the weights after `cur_nimg` images."""
    if ramp_up:
        half_life_nimg = min(half_life_nimg, cur_nimg * RAMP_UP)
    return 0.5 ** (batch / max(half_life_nimg, 1e-8))


def update(average: Generator, model: Generator, decay: tf.Tensor) -> None:
    """Moves trained weights towards the model's by 1 - decay; copies running statistics and constants."""
    strategy = tf.distribute.get_strategy()

    def mix(target: Any, source: Any) -> None:
        target.assign(source + decay * (target - source))

    def copy(target: Any, source: Any) -> None:
        target.assign(source)

    for target, source in zip(average.trainable_variables, model.trainable_variables, strict=True):
        strategy.extended.update(target.value, mix, args=(source.value,), group=False)
    for target, source in zip(average.non_trainable_variables, model.non_trainable_variables, strict=True):
        strategy.extended.update(target.value, copy, args=(source.value,), group=False)
