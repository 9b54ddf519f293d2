"""Schedules of appendix D against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from sg3tf.editing.projector import learning_rate_factor, noise_strength


@pytest.mark.parametrize(
    "progress, share",
    [(0, 0), (0.02, 0.4), (0.05, 1), (0.5, 1), (0.75, 1), (0.8125, (1 + np.sqrt(0.5)) / 2), (0.875, 0.5), (1, 0)],
)
def test_learning_rate(progress: float, share: float):
    assert learning_rate_factor(progress) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("progress, factor", [(0, 1), (0.375, 0.25), (0.6, 0.04), (0.75, 0), (0.9, 0), (1, 0)])
def test_noise(progress: float, factor: float):
    assert noise_strength(progress, sigma=6.0) == pytest.approx(0.05 * 6 * factor, abs=1e-12)
