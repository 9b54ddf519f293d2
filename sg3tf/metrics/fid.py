"""Fréchet Inception distance (FID; arXiv 1706.08500, "Performance Measure"): distance between two sets of features."""

from __future__ import annotations

import numpy as np

from sg3tf.metrics.feature_stats import Moments


def frechet_distance(real: Moments, fake: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), the squared Fréchet distance between two normal distributions.

    With A A^T = C1, the product C1 C2 has the eigenvalues of A^T C2 A, which is symmetric: no root of a matrix is
    taken, and none of a negative number. Covariances may be singular, as they are where count <= D. The value is then
    defined, but says little: estimated from few images it is too large, by about 1 / count; publications take 50 000
    generated ones. In directions where both are singular, rounding adds up to about 1e-8 times the largest variance.

    Args:
        real, fake: moments of features of the same size, at least two vectors each.

    Returns:
        0 or more.

    Raises:
        ValueError: features of different sizes, or fewer than two vectors.
    """
    if real.mean.shape != fake.mean.shape:
        raise ValueError(f"fake of {len(fake.mean)} features: give {len(real.mean)}, as real has")
    C1, C2 = real.covariance, fake.covariance
    variances, axes = np.linalg.eigh(C1)
    A = axes * np.sqrt(np.maximum(variances, 0))  # rounding may take a variance of 0 below it
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(A.T @ C2 @ A), 0))
    shift = real.mean - fake.mean
    distance = shift @ shift + np.trace(C1) + np.trace(C2) - 2 * roots.sum()
    return max(float(distance), 0.0)
