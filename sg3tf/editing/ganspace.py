"""GANSpace: directions in which w varies most (arXiv 2004.02546, section 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def ganspace_directions(w: ArrayLike, count: int) -> NDArray[np.float64]:
    """Principal components of w [N, w_dim].

    Args:
        w: samples.
        count: number of components.

    Returns:
        [count, w_dim], orthonormal, in order of decreasing variance; the largest element of each is positive.
    """
    samples = np.asarray(w, np.float64)
    return leading_eigenvectors(np.cov(samples.T, bias=True), count)


def leading_eigenvectors(matrix: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the leading `count` eigenvectors [count, D] of a symmetric matrix [D, D], largest eigenvalue first.

    The largest element of each is positive.

    Raises:
        ValueError: count is not from 1 to D.
    """
    if not 0 < count <= len(matrix):
        raise ValueError(f"count={count}: must be from 1 to {len(matrix)}, the size of w")
    vectors = np.linalg.eigh(np.atleast_2d(matrix))[1].T[::-1][:count]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], axis=1)
    return vectors * np.sign(largest)
