"""The model that newcomers start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import sg3tf

MODEL = Path(__file__).parents[2] / "examples" / "portraits-32.keras"


def test_example_model_draws_different_heads():
    G = sg3tf.load(MODEL)
    images = G.predict(sg3tf.latents.z_from_seeds(range(16), G.config.z_dim), verbose=0)
    assert images.shape == (16, 32, 32, 3) and images.dtype == np.float32
    assert np.abs(images).max() < 3  # nominally -1 to 1
    assert images.std(axis=0).mean() > 0.2  # no two alike
    # A head in the middle: its columns differ more from the picture's edges than the edges from each other.
    mean = images.mean(axis=0)
    left, middle, right = mean[12:20, :4].mean((0, 1)), mean[12:20, 14:18].mean((0, 1)), mean[12:20, -4:].mean((0, 1))
    assert np.linalg.norm(middle - (left + right) / 2) > 2 * np.linalg.norm(left - right)
