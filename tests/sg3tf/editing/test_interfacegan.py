"""Logistic regression against the analytic direction, the gradient's zero, and a general-purpose minimizer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from sg3tf.editing.interfacegan import held_out_accuracy, interfacegan_direction

DIM = 5
RNG = np.random.default_rng(0)
ROOT = RNG.standard_normal([DIM, DIM]) / 5 + np.eye(DIM)  # of the common covariance
SHIFT = np.array([1.0, -0.5, 0.3, 0.0, 0.7])  # between the means


def two_gaussians(count: int) -> tuple[np.ndarray, np.ndarray]:
    label = np.arange(count) % 2
    return RNG.standard_normal([count, DIM]) @ ROOT.T + label[:, None] * SHIFT + 3.0, label


def test_direction_between_two_gaussians():
    """The log odds of Gaussians with one covariance C are linear, with the normal C^-1 (difference of the means)."""
    w, label = two_gaussians(40_000)
    normal, offset = interfacegan_direction(w, label)
    expected = np.linalg.solve(ROOT @ ROOT.T, SHIFT)
    assert np.linalg.norm(normal - expected) < 0.05 * np.linalg.norm(expected)  # 5 / sqrt(N) on either side, about
    assert offset == pytest.approx(-expected @ (3.0 + SHIFT / 2), rel=0.05)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("separable", [False, True])
def test_the_gradient_is_zero(separable: bool, scale: float):
    w, label = two_gaussians(60)
    if separable:
        w = w + 20 * label[:, None] * SHIFT
    w = w * scale
    sigma = np.sqrt(np.mean((w - w.mean(0)) ** 2))
    x = (w - w.mean(0)) / sigma
    normal, offset = interfacegan_direction(w, label)
    beta, bias = normal * sigma, offset + normal @ w.mean(0)
    residual = 1 / (1 + np.exp(-(x @ beta + bias))) - label
    np.testing.assert_allclose(x.T @ residual + beta, 0, atol=1e-7)
    assert abs(residual.sum()) < 1e-7

    def loss(theta: np.ndarray) -> float:
        score = x @ theta[:-1] + theta[-1]
        return np.sum(np.logaddexp(0, score) - label * score) + theta[:-1] @ theta[:-1] / 2

    expected = minimize(loss, np.zeros(DIM + 1), tol=1e-10).x
    np.testing.assert_allclose(np.append(beta, bias), expected, atol=1e-3)


def test_labels_left_out():
    w, label = two_gaussians(400)
    assert held_out_accuracy(w + 40 * label[:, None] * SHIFT, label) == 1.0
    random = RNG.permutation(label)
    assert abs(held_out_accuracy(w, random) - 0.5) < 5 * 0.5 / 400**0.5
    assert np.isnan(held_out_accuracy(w[:2], label[:2]))


def test_labels_that_do_not_fit():
    w, _ = two_gaussians(4)
    for label in ([1, 1, 1, 1], [0, 1, 2, 0], [0.5, 0, 1, 1]):
        with pytest.raises(ValueError, match="must be 0 and 1, and both must occur"):
            interfacegan_direction(w, label)
