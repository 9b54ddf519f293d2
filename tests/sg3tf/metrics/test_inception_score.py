"""The Inception Score where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from sg3tf.metrics.inception_score import inception_score


def certain(classes: np.ndarray, count: int) -> np.ndarray:
    return 1e4 * np.eye(count, dtype=np.float32)[classes]


@pytest.mark.parametrize("level", [0.0, -3.5, 1e4])
def test_uniform_predictions(level: float):
    assert inception_score(np.full([100, 7], level, np.float32)) == (pytest.approx(1, abs=1e-12), pytest.approx(0))


def test_certain_and_balanced():
    """The number of classes, even where the rest of a softmax is 0."""
    mean, deviation = inception_score(certain(np.arange(200) % 5, 8))
    assert mean == pytest.approx(5, rel=1e-12) and deviation == pytest.approx(0, abs=1e-12)


def test_splits_are_of_consecutive_images():
    """One class in the first half, four in the second: 1 and 4, with a deviation of 1.5 and not 1.5 sqrt(2)."""
    classes = np.concatenate([np.zeros(40, int), np.arange(40) % 4])
    assert inception_score(certain(classes, 4), splits=2) == pytest.approx((2.5, 1.5))
    odd = 3 / 4 ** (1 / 3)  # two of three images in one class: exp of the entropy
    assert inception_score(certain(np.array([0, 0, 1, 1, 2]), 3), splits=2)[0] == pytest.approx((1 + odd) / 2)


def test_definition():
    logits = np.random.default_rng(0).normal(0, 2, [103, 6])
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = []
    for i in range(4):
        part = p[103 * i // 4 : 103 * (i + 1) // 4]
        scores.append(np.exp(np.mean(np.sum(part * np.log(part / part.mean(axis=0)), axis=1))))
    expected = np.mean(scores), np.sqrt(np.mean((scores - np.mean(scores)) ** 2))
    assert inception_score(logits, splits=4) == pytest.approx(expected, rel=1e-12)


def test_logits_are_relative():
    logits = np.random.default_rng(0).standard_normal([100, 6])
    assert inception_score(logits + 1000) == pytest.approx(inception_score(logits), rel=1e-10)


@pytest.mark.parametrize("splits", [0, 6])
def test_refused(splits: int):
    with pytest.raises(ValueError, match=f"splits={splits}: must be from 1 to 5"):
        inception_score(np.zeros([5, 3]), splits)


def test_not_finite():
    with pytest.raises(FloatingPointError, match="logits: 5 of 5 rows"):
        inception_score(np.full([5, 3], np.nan))
