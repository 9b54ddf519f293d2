"""Mean and covariance of features that come a block at a time, and what features must be like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

Array = NDArray[np.float64]
Features = NDArray[Any]

SHOWN = 5  # rows that an error names


def check_features(name: str, features: Features, dim: int) -> None:
    """Refuses what is not float [N, dim], and finite.

    Raises:
        ValueError: another shape.
        FloatingPointError: naming the rows with NaN or infinity.
    """
    if features.ndim != 2 or features.shape[1] != dim:
        raise ValueError(f"{name} of shape {list(features.shape)}: give [N, {dim}]")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        rows = ", ".join(map(str, bad[:SHOWN])) + (", ..." if bad.size > SHOWN else "")
        raise FloatingPointError(
            f"{name}: {bad.size} of {len(features)} rows are not finite ({rows}); look at these images"
        )


class Moments:
    """The first two moments of feature vectors, in float64.

    Blocks are centred about their own mean before they are squared, and joined by what lies between means, so that
    nothing cancels where a mean is large beside the deviations from it.

    Args:
        dim: size of a feature vector, D.

    Attributes:
        count: feature vectors so far.
        mean: float64 [D].
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean: Array = np.zeros(dim)
        # Sum over vectors of (x - mean)(x - mean)^T, upper triangle; in the order that BLAS adds to in place.
        self._squares: Array = np.zeros((dim, dim), order="F")

    def add(self, features: Features) -> None:
        """Takes in a block, float [N, D]; the larger N, the less time each vector takes.

        Raises:
            ValueError: another shape.
            FloatingPointError: NaN or infinity, naming the rows; nothing of the block is taken in.
        """
        check_features("features", features, len(self.mean))
        if len(features):
            block = features.astype(np.float64)
            mean = block.mean(axis=0)
            self._join(len(block), mean, block - mean)

    def merge(self, other: Moments) -> None:
        """Takes in what `other` has, as if its blocks had been added here.

        Raises:
            ValueError: vectors of another size.
        """
        if other.mean.shape != self.mean.shape:
            raise ValueError(f"moments of {len(other.mean)} features: give {len(self.mean)}")
        if other.count:
            self._squares += other._squares
            self._join(other.count, other.mean, np.empty((0, len(self.mean))))

    @property
    def covariance(self) -> Array:
        """float64 [D, D], divided by count - 1.

        So did TTUR (arXiv 1706.08500), StyleGAN and StyleGAN2; StyleGAN2-ADA and StyleGAN3 divided by count. With D2
        the distance between M and N images, and A and B the traces of their covariances, that changes the distance by
        about D2 / min(M, N) + |1/M - 1/N| / 2 * sqrt(D2) * (sqrt(A) + sqrt(B)) at most. For 70 000 and 50 000 images,
        traces of 200 and D2 = 5 this is 3e-4.

        Raises:
            ValueError: fewer than two vectors.
        """
        if self.count < 2:
            raise ValueError(f"count={self.count}: a covariance takes at least 2 feature vectors; add more")
        upper = np.triu(self._squares)
        return (upper + np.triu(upper, 1).T) / (self.count - 1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` makes the same moments of; it stays as it is when more is added here."""
        return {"count": np.array(self.count), "mean": self.mean, "squares": self._squares.copy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Moments:
        """Moments as saved; the arrays are copied."""
        moments = cls(len(arrays["mean"]))
        moments.count = int(arrays["count"])
        moments.mean[:] = arrays["mean"]
        moments._squares[:] = arrays["squares"]
        return moments

    def _join(self, count: int, mean: Array, centred: Array) -> None:
        """Takes in `count` vectors around `mean`, with deviations [N, D] as far as they are not in the squares yet."""
        total = self.count + count
        shift = mean - self.mean
        between = shift * np.sqrt(self.count * count / total)  # one more row, by which the mean moves
        rows = np.concatenate([centred, between[None]])
        self._squares = dsyrk(1.0, rows.T, beta=1.0, c=self._squares, overwrite_c=True)
        self.mean = self.mean + shift * (count / total)
        self.count = total
