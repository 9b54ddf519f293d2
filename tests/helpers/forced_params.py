"""Augmentation parameters that are chosen instead of drawn."""

from __future__ import annotations

import numpy as np
from scipy.special import erfinv

from tests.helpers.numerics import Array
from trainer.augment.random_params import COLUMNS, NORMAL_COLUMNS, sample_params


def forced(count: int = 1, only: tuple[str, ...] | None = None, **values: float) -> Array:
    """Parameters with all events, or `only` these; of medium strength, or with the values given."""
    row = [0.0 if name in NORMAL_COLUMNS else 0.5 for name in COLUMNS]
    for i, name in enumerate(COLUMNS):
        if name.endswith("?"):
            row[i] = 0.0 if only is None or name[:-1] in only else 1.0
        row[i] = values.get(name, row[i])
    assert set(values) <= set(COLUMNS)
    return np.tile(np.array(row, np.float32), [count, 1])


def percentile(share: float, count: int) -> Array:
    """Parameters of the reference at a percentile: all events, with the same number.

    Its normal distribution lacks a factor sqrt(2) there, and the second of the two rotations is left out.
    """
    normal = {name: float(erfinv(2 * share - 1)) for name in NORMAL_COLUMNS}
    uniform = {name: share for name in COLUMNS if name not in NORMAL_COLUMNS and not name.endswith("?")}
    return forced(count, **{**uniform, **normal, "post_rotate": 0.5})


def drawn(count: int, seed: int = 0) -> Array:
    return sample_params(np.random.default_rng(seed), count)


def smooth_images(count: int, size: int, channels: int, dtype: type = np.float32) -> Array:
    """Images that differ everywhere, without jumps between neighboring pixels."""
    y, x = np.meshgrid(*2 * [np.arange(size) / size], indexing="ij")
    images = [
        [np.sin(2 * np.pi * ((1 + c) * x + (n % 3) * y) + n + c) * np.cos(3 * y + n) for c in range(channels)]
        for n in range(count)
    ]
    return 0.8 * np.transpose(images, (0, 2, 3, 1)).astype(dtype)
