"""Features of images, and the statistics of them that metrics keep."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from sg3tf.utils.files import atomic_write

# ---------------------------------------------------------------------------------------------------------------------
# Mean and covariance of features that come a block at a time, and what features must be like.
# ---------------------------------------------------------------------------------------------------------------------

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


# ---------------------------------------------------------------------------------------------------------------------
# Features that a pass over images leaves: collected image by image, on the disk while that is not over.
# ---------------------------------------------------------------------------------------------------------------------

MOMENTS, ROWS = "moments", "rows"
SAVE_EVERY_S = 60.0

Rows = NDArray[np.float32]
FeatureStats = Moments | Rows
#: Of one detector: (its name, the name of the output).
Output = tuple[str, str]


@dataclasses.dataclass(frozen=True, order=True)
class FeatureRequest:
    """What is kept of one output of a detector.

    Attributes:
        detector, output: names of both.
        kind: MOMENTS, or ROWS, float32 [count, D].
        count: of how many images, the first ones.
    """

    detector: str
    output: str
    kind: str
    count: int

    @property
    def source(self) -> Output:
        return self.detector, self.output


class Collection:
    """Takes in features in the order of the images; what is in the folder already, it goes on from.

    Args:
        wanted: what is kept.
        sizes: D of every output.
        folder: for rows, which may be larger than memory, and for what is needed to go on after a kill.

    Attributes:
        count: how many images are wanted.
        done: how many have been taken in.
    """

    def __init__(self, wanted: Sequence[FeatureRequest], sizes: Mapping[Output, int], folder: Path) -> None:
        self.count, self.done = max(w.count for w in wanted), 0
        self._wanted, self._folder = list(wanted), folder
        self._moments = {w: Moments(sizes[w.source]) for w in wanted if w.kind == MOMENTS}
        self._restore()
        mode = "r+" if self.done else "w+"
        self._rows = {
            w: np.lib.format.open_memmap(self._file(w), mode, np.float32, (w.count, sizes[w.source]))
            for w in wanted
            if w.kind == ROWS
        }
        self._saved_s = time.monotonic()

    def outputs(self, position: int) -> tuple[Output, ...]:
        """What is wanted of the image at a position, and so of some before it, but of none behind it more."""
        return tuple(sorted({w.source for w in self._wanted if w.count > position}))

    def add(self, features: Mapping[Output, Rows]) -> None:
        """Takes in the features of the next images, as far as they are wanted; saves every SAVE_EVERY_S."""
        for w in self._wanted:
            if w.count <= self.done:
                continue
            part = features[w.source][: w.count - self.done]
            if w.kind == MOMENTS:
                self._moments[w].add(part)
            else:
                self._rows[w][self.done : self.done + len(part)] = part
        self.done += len(next(iter(features.values())))
        if time.monotonic() - self._saved_s >= SAVE_EVERY_S:
            self.save()

    def save(self) -> None:
        """Puts everything on the disk, rows before the count that says that they are there."""
        for rows in self._rows.values():
            rows.flush()
        arrays: dict[str, Any] = {
            f"{self._wanted.index(w)}/{name}": array
            for w, moments in self._moments.items()
            for name, array in moments.arrays().items()
        }
        with atomic_write(self._folder / "state.npz") as file:
            np.savez(file, **arrays, done=self.done)
        self._saved_s = time.monotonic()

    def kept(self) -> dict[FeatureRequest, FeatureStats]:
        """All that was wanted."""
        return {**self._moments, **self._rows}

    def _restore(self) -> None:
        state = self._folder / "state.npz"
        if not state.exists():
            return
        with np.load(state) as arrays:
            self.done = int(arrays["done"])
            for w in self._moments:
                prefix = f"{self._wanted.index(w)}/"
                named = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
                self._moments[w] = Moments.from_arrays(named)

    def _file(self, w: FeatureRequest) -> Path:
        return self._folder / f"{self._wanted.index(w)}.npy"
