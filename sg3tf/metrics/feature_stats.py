"""Features of images, and the statistics of them that metrics need."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from sg3tf.utils.arrays import read_npy, read_npz
from sg3tf.utils.files import atomic_write

Array = NDArray[np.float64]
Features = NDArray[Any]

MAX_LISTED_ROWS = 5  # in an error

_logger = logging.getLogger(__name__)


# --- Mean and covariance ----------------------------------------------------------------------------------------------


def check_features(name: str, features: Features, dim: int) -> None:
    """Raise unless features are finite and of shape [N, dim].

    Raises:
        ValueError: another shape.
        FloatingPointError: NaN or infinity; the message lists the rows.
    """
    if features.ndim != 2 or features.shape[1] != dim:
        raise ValueError(f"{name} of shape {list(features.shape)}: give [N, {dim}]")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        rows = ", ".join(map(str, bad[:MAX_LISTED_ROWS])) + (", ..." if bad.size > MAX_LISTED_ROWS else "")
        raise FloatingPointError(
            f"{name}: {bad.size} of {len(features)} rows are not finite ({rows}); inspect these images"
        )


class Moments:
    """Count, mean and covariance of feature vectors that arrive in blocks, in float64.

    Blocks are centered about their own mean before they are squared, and joined by the difference of the means, so that
    nothing cancels where a mean is large beside the deviations from it.

    Args:
        dim: size of a feature vector, D.

    Attributes:
        count: number of feature vectors added.
        mean: float64 [D].
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean: Array = np.zeros(dim)
        # Sum over vectors of (x - mean)(x - mean)^T, upper triangle; in the order that BLAS adds to in place.
        self._squares: Array = np.zeros((dim, dim), order="F")

    def add(self, features: Features) -> None:
        """Add a block, float [N, D]; the larger N, the less time each vector takes.

        Raises:
            ValueError: another shape.
            FloatingPointError: NaN or infinity; the message lists the rows, and nothing of the block is added.
        """
        check_features("features", features, len(self.mean))
        if not len(features):
            return
        block = features.astype(np.float64)
        mean, total = block.mean(axis=0), self.count + len(block)
        shift = mean - self.mean
        between = shift * np.sqrt(self.count * len(block) / total)  # one more row, for the shift of the mean
        rows = np.concatenate([block - mean, between[None]])
        self._squares = dsyrk(1.0, rows.T, beta=1.0, c=self._squares, overwrite_c=True)
        self.mean = self.mean + shift * (len(block) / total)
        self.count = total

    @property
    def covariance(self) -> Array:
        """float64 [D, D], divided by count - 1.

        TTUR (arXiv 1706.08500), StyleGAN and StyleGAN2 divided likewise; StyleGAN2-ADA and StyleGAN3 divided by count.
        With D2 the distance between M and N images, and A and B the traces of their covariances, that changes the
        distance by about D2 / min(M, N) + |1/M - 1/N| / 2 * sqrt(D2) * (sqrt(A) + sqrt(B)) at most. For 70 000 and
        50 000 images, traces of 200 and D2 = 5 this is 3e-4.

        Raises:
            ValueError: fewer than two vectors.
        """
        if self.count < 2:
            raise ValueError(f"count={self.count}: a covariance takes at least 2 feature vectors; add more")
        upper = np.triu(self._squares)
        return (upper + np.triu(upper, 1).T) / (self.count - 1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays for `from_arrays`; they do not change when more vectors are added."""
        return {"count": np.array(self.count), "mean": self.mean, "squares": self._squares.copy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Moments:
        """Moments from the result of `arrays`, which is copied."""
        moments = cls(len(arrays["mean"]))
        moments.count = int(arrays["count"])
        moments.mean[:] = arrays["mean"]
        moments._squares[:] = arrays["squares"]
        return moments


# --- Statistics that a pass over images collects ----------------------------------------------------------------------

MOMENTS, ROWS = "moments", "rows"
SAVE_INTERVAL_S = 60.0
_STATE = "state.npz"

Rows = NDArray[np.float32]
FeatureStats = Moments | Rows
#: (name of a detector, name of one of its outputs).
OutputName = tuple[str, str]


@dataclasses.dataclass(frozen=True, order=True)
class FeatureRequest:
    """A statistic of one output of a detector.

    Attributes:
        detector, output: names of both.
        statistic: MOMENTS, or ROWS for the features themselves, float32 [count, D].
        count: number of images, the first ones.
    """

    detector: str
    output: str
    statistic: str
    count: int

    @property
    def output_name(self) -> OutputName:
        return self.detector, self.output

    def cache_key_fields(self) -> dict[str, Any]:
        """Fields of the cache key; "kind" is the statistic's name in caches on disk."""
        return {"detector": self.detector, "output": self.output, "kind": self.statistic, "count": self.count}


class FeatureCollector:
    """Statistics of features that arrive in the order of the images; resumes from the state saved in the folder.

    Args:
        requests: statistics to collect.
        sizes: D of every output.
        folder: place for rows, which may be larger than memory, and for saved states; None: rows are kept in memory,
            and nothing is saved.

    Attributes:
        num_images: number of images to collect.
        num_done: number of images collected.
    """

    def __init__(
        self, requests: Sequence[FeatureRequest], sizes: Mapping[OutputName, int], folder: Path | None
    ) -> None:
        self.num_images, self.num_done = max(request.count for request in requests), 0
        self._requests, self._folder = list(requests), folder
        self._moments = {r: Moments(sizes[r.output_name]) for r in requests if r.statistic == MOMENTS}
        self._rows: dict[FeatureRequest, Rows] = {}
        self._checksums = {r: 0 for r in requests if r.statistic == ROWS}  # CRC-32 of the rows so far
        if not self._restore():
            self._rows = {r: self._new_rows(r, (r.count, sizes[r.output_name])) for r in self._checksums}
        self._saved_s = time.monotonic()

    def outputs_at(self, position: int) -> tuple[OutputName, ...]:
        """Outputs that are needed of the image at a position; the outputs at later positions are a subset."""
        return tuple(sorted({request.output_name for request in self._requests if request.count > position}))

    def add(self, features: Mapping[OutputName, Rows]) -> None:
        """Add the features of the next images, as far as they are needed; save every SAVE_INTERVAL_S."""
        for request in self._requests:
            if request.count <= self.num_done:
                continue
            part = features[request.output_name][: request.count - self.num_done]
            if request.statistic == MOMENTS:
                self._moments[request].add(part)
            else:
                rows = self._rows[request][self.num_done : self.num_done + len(part)]
                rows[:] = part
                self._checksums[request] = zlib.crc32(rows.data, self._checksums[request])
        self.num_done += len(next(iter(features.values())))
        if time.monotonic() - self._saved_s >= SAVE_INTERVAL_S:
            self.save()

    def save(self) -> None:
        """Write everything to disk, the rows before the count that includes them."""
        self._saved_s = time.monotonic()
        if self._folder is None:
            return
        for rows in self._rows.values():
            if isinstance(rows, np.memmap):
                rows.flush()
        arrays: dict[str, Any] = {
            f"{self._requests.index(request)}/{name}": array
            for request, moments in self._moments.items()
            for name, array in moments.arrays().items()
        }
        arrays |= {f"{self._requests.index(request)}/crc32": crc for request, crc in self._checksums.items()}
        try:
            with atomic_write(self._folder / _STATE) as file:
                np.savez(file, **arrays, done=self.num_done)
        except OSError as error:
            _logger.warning("%s: not written, so that an interrupted pass starts again (%s)", self._folder, error)

    def stats(self) -> dict[FeatureRequest, FeatureStats]:
        """The requested statistics."""
        return {**self._moments, **self._rows}

    def _new_rows(self, request: FeatureRequest, shape: tuple[int, int]) -> Rows:
        """Array for rows: a file in the folder, or in memory where there is no room for it."""
        if self._folder is not None:
            file = self._rows_file(request)
            try:
                return _new_memmap(file, shape)
            except OSError as error:
                _logger.warning("%s: not written; rows stay in memory (%s)", file, error)
                self._folder = None  # a saved state would be one without its rows
        return np.empty(shape, np.float32)

    def _rows_file(self, request: FeatureRequest) -> Path:
        return cast(Path, self._folder) / f"{self._requests.index(request)}.npy"

    def _restore(self) -> bool:
        """Restore the saved state; return False if there is none, or if it is damaged, which is logged."""
        if self._folder is None or not (state := self._folder / _STATE).exists():
            return False
        try:
            arrays = read_npz(state)
            num_done, moments, checksums = int(arrays["done"]), {}, {}
            rows: dict[FeatureRequest, Rows] = {}
            for request in self._moments:
                prefix = f"{self._requests.index(request)}/"
                named = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
                moments[request] = Moments.from_arrays(named)
            for request in self._checksums:
                rows[request] = read_npy(self._rows_file(request), "r+")
                checksums[request] = int(arrays[f"{self._requests.index(request)}/crc32"])
                if zlib.crc32(rows[request][:num_done].data) != checksums[request]:
                    raise ValueError(f"{self._rows_file(request).name} has changed since it was written")
        except (OSError, ValueError, LookupError) as error:
            _logger.warning("%s: damaged, so that an interrupted pass starts again (%s)", state, error)
            return False
        self.num_done, self._moments, self._rows, self._checksums = num_done, moments, rows, checksums
        return True


def _new_memmap(file: Path, shape: tuple[int, int]) -> Rows:
    """An array on disk whose room is reserved: a disk that fills up later would end the process with SIGBUS."""
    rows = np.lib.format.open_memmap(file, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with open(file, "r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return rows
