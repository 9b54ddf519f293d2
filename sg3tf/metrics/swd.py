"""Sliced Wasserstein distance between patches of Laplacian pyramids (SWD; arXiv 1710.10196, section 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sg3tf.metrics.detectors.laplacian_patches import CHANNELS, PATCH_VALUES, PATCHES
from sg3tf.metrics.feature_stats import Features, check_pair

DIRECTIONS = 512
_CHUNK = 64  # directions per step, to limit memory


def sliced_wasserstein_distance(real: Features, fake: Features, rng: np.random.Generator) -> float:
    """Return the mean over levels and directions of the distance between sorted projections of patches, times 1000.

    Each channel of a level's patches is first normalized to mean 0 and standard deviation 1, separately in each set.

    Args:
        real, fake: patches of M and N images, float [M, levels * 128 * 147] and [N, levels * 128 * 147]; only the first
            min(M, N) images of each set are used.
        rng: random generator for the directions.

    Raises:
        ValueError: no images, or mismatched shapes.
        FloatingPointError: features are not finite.
    """
    check_pair(real, fake)
    count = min(len(real), len(fake))
    if not count:
        raise ValueError(f"{len(real)} real and {len(fake)} fake images: give at least 1 of each")
    size = PATCHES * PATCH_VALUES
    distances = []
    for start in range(0, real.shape[1], size):
        pair = [_normalized(rows[:count, start : start + size]) for rows in (real, fake)]
        for _ in range(0, DIRECTIONS, _CHUNK):
            directions = rng.standard_normal([PATCH_VALUES, _CHUNK])
            directions = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)
            a, b = (np.sort(patches @ directions, axis=0) for patches in pair)
            distances.append(np.abs(a - b).mean(dtype=np.float64))
    return 1000 * float(np.mean(distances))


def _normalized(rows: Features) -> NDArray[np.float32]:
    """Normalized patches, float32 [N * 128, 147], of one level's rows [N, 128 * 147]."""
    patches = rows.reshape(-1, PATCH_VALUES // CHANNELS, CHANNELS).astype(np.float32)
    mean = patches.mean(axis=(0, 1), dtype=np.float64)
    std = patches.std(axis=(0, 1), dtype=np.float64)
    patches = (patches - mean.astype(np.float32)) / np.maximum(std, np.finfo(np.float32).tiny).astype(np.float32)
    return patches.reshape(-1, PATCH_VALUES)
