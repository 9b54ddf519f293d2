"""Moments on the device; number, mean and spread in the log."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from trainer import stats
from trainer.stats import Statistics


def test_summary_of_steps_is_that_of_all_their_values():
    values = np.random.default_rng(0).normal(3.0, 2.0, [5, 7]).astype(np.float32)
    collected = Statistics()
    for row in values:
        collected.add({"x": stats.moments(tf.constant(row)), "y": stats.moments(tf.constant(row[0]))})
    collected.add({"x": stats.moments(tf.constant(values[0]))})
    popped = collected.pop()
    every = np.concatenate([values.ravel(), values[0]]).astype(np.float64)
    assert popped["x"] == {
        "num": 42,
        "mean": pytest.approx(every.mean(), rel=1e-6),
        "std": pytest.approx(every.std(), rel=1e-5),
    }
    assert popped["y"]["num"] == 5
    assert collected.pop() == {}


def test_moments_add_up():
    a, b = (stats.moments(tf.constant(x)) for x in ([1.0, 2.0], [4.0]))
    both = stats.add({"x": a, "only a": a}, {"x": b, "only b": b})
    assert both["x"].numpy().tolist() == [3, 7, 21]
    assert set(both) == {"x", "only a", "only b"}
    assert float(stats.mean(both["x"])) == pytest.approx(7 / 3)


def test_nonfinite_values_show_in_the_mean():
    collected = Statistics()
    collected.add({"x": stats.moments(tf.constant([1.0, math.nan])), "y": stats.moments(tf.constant(math.inf))})
    popped = collected.pop()
    assert math.isnan(popped["x"]["mean"]) and math.isnan(popped["x"]["std"])
    assert popped["y"]["mean"] == math.inf and math.isnan(popped["y"]["std"])


def test_summary_of_one_number():
    assert stats.as_summary(2) == {"num": 1, "mean": 2.0, "std": 0.0}
