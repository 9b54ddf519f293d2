"""Statistics of a run: number, mean and standard deviation of the values of each metric since the last tick.

On the device, a metric is represented by its moments, float32 [3]: the number of values, their sum, and the sum of
their squares. Moments can be added over accumulation steps, replicas and training steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

#: {name: moments}
Moments = Mapping[str, Any]


def moments(values: tf.Tensor) -> tf.Tensor:
    """Moments, float32 [3], of all `values`."""
    import tensorflow as tf  # not at the top: the rest of this file is used without TensorFlow

    values = tf.cast(tf.reshape(values, [-1]), tf.float32)
    count = tf.cast(tf.size(values), tf.float32)
    return tf.stack([count, tf.reduce_sum(values), tf.reduce_sum(tf.square(values))])


def add(one: Moments, other: Moments) -> dict[str, tf.Tensor]:
    """Moments of the values of both."""
    both = {name: one[name] + other[name] for name in one if name in other}
    return {**one, **other, **both}


def mean(value: tf.Tensor) -> tf.Tensor:
    """Mean of a metric's values, from its moments."""
    return value[1] / value[0]


class Statistics:
    """Metrics of steps, collected without waiting for the device until they are popped.

    Examples:
        >>> statistics = Statistics()
        >>> statistics.add({"Loss/G/loss": moments(tf.constant([0.5, 0.7]))})
        >>> statistics.add({"Loss/G/loss": moments(tf.constant([0.6]))})
        >>> round(statistics.pop()["Loss/G/loss"]["mean"], 3)
        0.6
    """

    def __init__(self) -> None:
        self._steps: list[Moments] = []

    def add(self, step: Moments) -> None:
        self._steps.append(step)

    def pop(self) -> dict[str, dict[str, float]]:
        """Return {name: {"num", "mean", "std"}} of the steps since the last call."""
        steps, self._steps = self._steps, []
        names = sorted({name for step in steps for name in step})
        sums = {name: _sum(step[name] for step in steps if name in step) for name in names}
        return {name: _summary(*values) for name, values in sums.items()}


def as_summary(value: float) -> dict[str, float]:
    """Summary of a single number, like those of `Statistics.pop`."""
    return {"num": 1, "mean": float(value), "std": 0.0}


def _sum(values: Iterable[tf.Tensor]) -> Any:
    return np.sum([np.asarray(value, np.float64) for value in values], axis=0)


def _summary(count: float, total: float, squares: float) -> dict[str, float]:
    average = total / count
    spread = math.sqrt(max(squares / count - average**2, 0.0)) if math.isfinite(squares) else math.nan
    return {"num": int(count), "mean": float(average), "std": spread}
