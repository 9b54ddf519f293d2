"""Image features, and the statistics of them that metrics need."""

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

MAX_LISTED_ROWS = 5  # in an error message

_logger = logging.getLogger(__name__)


# --- Mean and covariance ----------------------------------------------------------------------------------------------


def check_features(name: str, features: Features, dim: int) -> None:
    """Raise unless features are finite and have shape [N, dim].

    Raises:
        ValueError: wrong shape.
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


def check_pair(real: Features, fake: Features) -> None:
    """Raise like `check_features` unless both sets are finite and have the same number of features."""
    check_features("real", real, real.shape[-1])
    check_features("fake", fake, real.shape[-1])


class Moments:
    """Count, mean and covariance of feature vectors, accumulated block by block in float64.

    Each block is centered on its own mean before it is squared, and merged by the difference of the means. This avoids
    cancellation if the mean is large compared with the deviations.

    Args:
        dim: feature vector size D.

    Attributes:
        count: number of feature vectors added.
        mean: float64 [D].
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean: Array = np.zeros(dim)
        # Sum over vectors of (x - mean)(x - mean)^T, upper triangle, in the memory order that BLAS updates in place.
        self._squares: Array = np.zeros((dim, dim), order="F")

    def add(self, features: Features) -> None:
        """Add a block, float [N, D]. Larger blocks take less time per vector.

        Raises:
            ValueError: wrong shape.
            FloatingPointError: NaN or infinity; the message lists the rows, and the block is not added.
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

        TTUR (arXiv 1706.08500), StyleGAN and StyleGAN2 do the same; StyleGAN2-ADA and StyleGAN3 divide by count. For
        the distance D2 between M and N images whose covariances have the traces A and B, the difference is at most
        about D2 / min(M, N) + |1/M - 1/N| / 2 * sqrt(D2) * (sqrt(A) + sqrt(B)). For 70 000 and 50 000 images, traces of
        200 and D2 = 5, this is 3e-4.

        Raises:
            ValueError: fewer than two vectors.
        """
        if self.count < 2:
            raise ValueError(f"count={self.count}: a covariance needs at least 2 feature vectors; add more")
        upper = np.triu(self._squares)
        return (upper + np.triu(upper, 1).T) / (self.count - 1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays for `from_arrays`; adding more vectors does not change them."""
        return {"count": np.array(self.count), "mean": self.mean, "squares": self._squares.copy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Moments:
        """Create Moments from a copy of the result of `arrays`."""
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
#: (detector name, output name).
OutputName = tuple[str, str]


@dataclasses.dataclass(frozen=True, order=True)
class FeatureRequest:
    """Statistic of one detector output.

    Attributes:
        detector, output: their names.
        statistic: MOMENTS, or ROWS for the features themselves, float32 [count, D].
        count: number of images to use, from the first.
    """

    detector: str
    output: str
    statistic: str
    count: int

    @property
    def output_name(self) -> OutputName:
        return self.detector, self.output

    def cache_key_fields(self) -> dict[str, Any]:
        """Return the fields of the cache key; "kind" is the statistic's name in caches on disk."""
        return {"detector": self.detector, "output": self.output, "kind": self.statistic, "count": self.count}


class FeatureCollector:
    """Collects statistics of features in image order; resumes from the state saved in the folder.

    Args:
        requests: statistics to collect.
        sizes: D of every output.
        folder: folder for rows, which may be larger than memory, and for saved states; None to keep rows in memory and
            save nothing.

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
        self._checksums = {r: 0 for r in requests if r.statistic == ROWS}  # CRC-32 of the rows collected
        if not self._restore():
            self._rows = {r: self._new_rows(r, (r.count, sizes[r.output_name])) for r in self._checksums}
        self._saved_s = time.monotonic()

    def outputs_at(self, position: int) -> tuple[OutputName, ...]:
        """Outputs needed for the image at `position`; later positions need a subset of them."""
        return tuple(sorted({request.output_name for request in self._requests if request.count > position}))

    def add(self, features: Mapping[OutputName, Rows]) -> None:
        """Add the features of the next images, dropping those not needed; save every SAVE_INTERVAL_S."""
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
        """Create the array for rows: a file in the folder, or in memory if the file cannot be written."""
        if self._folder is not None:
            file = self._rows_file(request)
            try:
                return _new_memmap(file, shape)
            except OSError as error:
                _logger.warning("%s: not written; rows stay in memory (%s)", file, error)
                self._folder = None  # a saved state would lack the rows
        return np.empty(shape, np.float32)

    def _rows_file(self, request: FeatureRequest) -> Path:
        return cast(Path, self._folder) / f"{self._requests.index(request)}.npy"

    def _restore(self) -> bool:
        """Restore the saved state; return False if it is missing or damaged. Damage is logged."""
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
    """Create an array on disk with its space reserved; if the disk filled up later, SIGBUS would end the process."""
    rows = np.lib.format.open_memmap(file, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with open(file, "r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return rows
