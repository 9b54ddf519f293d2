"""Fréchet Inception distance (FID; arXiv 1706.08500, "Performance Measure"): distance between two sets of features."""

from __future__ import annotations

import numpy as np

from sg3tf.metrics.feature_stats import Moments


def frechet_distance(real: Moments, fake: Moments) -> float:
    """Squared Fréchet distance between two normal distributions, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    With A A^T = C1, the product C1 C2 has the eigenvalues of A^T C2 A, which is symmetric. So no matrix square root is
    needed, and no square root of a negative number occurs. Covariances may be singular, as they are if count <= D. The
    value is then defined, but not meaningful: with few images, it is too large, by about 1 / count. Publications use
    50 000 generated images. In directions where both are singular, rounding adds up to about 1e-8 times the largest
    variance.

    Args:
        real, fake: moments of features of the same size, from at least two vectors each.

    Returns:
        The distance, 0 or more.

    Raises:
        ValueError: features of different sizes, or fewer than two vectors.
    """
    if real.mean.shape != fake.mean.shape:
        raise ValueError(f"fake of {len(fake.mean)} features: give {len(real.mean)}, as real has")
    C1, C2 = real.covariance, fake.covariance
    variances, axes = np.linalg.eigh(C1)
    A = axes * np.sqrt(np.maximum(variances, 0))  # rounding may make a variance of 0 negative
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(A.T @ C2 @ A), 0))
    shift = real.mean - fake.mean
    distance = shift @ shift + np.trace(C1) + np.trace(C2) - 2 * roots.sum()
    return max(float(distance), 0.0)
