"""The direction that tells two kinds of images apart: logistic regression on w."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

Array = NDArray[np.float64]

_ITERATIONS = 100
_TOLERANCE = 1e-10  # of the gradient's length, relative to the number of samples


def logistic_direction(w: ArrayLike, label: ArrayLike, penalty: float = 1.0) -> tuple[Array, float]:
    """Normal of the plane between samples with label 0 and those with 1, by Newton's method.

    Minimises the sum of log(1 + exp(-s (w . normal + offset))), s = 1 for label 1 and else -1, plus
    penalty / 2 * |sigma normal|^2, where sigma is the root mean square of w about its mean, so that the size of w has
    no influence.

    Args:
        w: [N, w_dim].
        label: [N], 0 or 1, both of them.
        penalty: more than 0, as the samples may be separable.

    Returns:
        The normal [w_dim], towards label 1, and the offset.

    Raises:
        ValueError: other labels, or one kind alone.
    """
    samples, y = np.asarray(w, np.float64), np.asarray(label, np.float64)
    if not np.array_equal(np.unique(y), [0, 1]):
        raise ValueError(f"labels {np.unique(y)[:4].tolist()}: must be 0 and 1, and both must occur")
    if not penalty > 0:
        raise ValueError(f"penalty={penalty}: must be positive")
    mean = samples.mean(0)
    sigma = np.sqrt(np.mean((samples - mean) ** 2))
    x = np.column_stack([(samples - mean) / sigma, np.ones(len(y))])
    weights = np.append(np.full(x.shape[1] - 1, penalty), 0.0)
    beta = _minimum(x, y, weights)
    normal = beta[:-1] / sigma
    return normal, float(beta[-1] - normal @ mean)


def held_out_accuracy(w: ArrayLike, label: ArrayLike, folds: int = 5) -> float:
    """Share of labels that are right when they are left out in turn; NaN where a part has one kind alone."""
    samples, y = np.asarray(w, np.float64), np.asarray(label, np.float64)
    part = np.arange(len(y)) % folds
    right = []
    for fold in range(folds):
        kept = part != fold
        if len(np.unique(y[kept])) < 2:
            return float("nan")
        normal, offset = logistic_direction(samples[kept], y[kept])
        right.append((samples[~kept] @ normal + offset > 0) == (y[~kept] == 1))
    return float(np.mean(np.concatenate(right)))


def _minimum(x: Array, y: Array, weights: Array) -> Array:
    beta = np.zeros(x.shape[1])
    for _ in range(_ITERATIONS):
        p = expit(x @ beta)
        gradient = x.T @ (p - y) + weights * beta
        if np.linalg.norm(gradient) <= _TOLERANCE * len(y):
            break
        step = np.linalg.solve((x.T * (p * (1 - p))) @ x + np.diag(weights), gradient)
        # Newton's step may be too long far away from the minimum; half of it often enough is not.
        while _loss(x, y, weights, beta - step) > _loss(x, y, weights, beta) and np.linalg.norm(step) > 1e-12:
            step /= 2
        beta = beta - step
    return beta


def _loss(x: Array, y: Array, weights: Array, beta: Array) -> float:
    score = x @ beta
    return float(np.sum(np.logaddexp(0, score) - y * score) + weights @ beta**2 / 2)
