"""Cached statistics and interrupted work of metrics on disk."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.metrics.feature_stats import SAVE_EVERY_S, FeatureStats, Moments
from sg3tf.utils.files import atomic_directory, atomic_write, digest_file

# ---------------------------------------------------------------------------------------------------------------------
# What a metric that makes its own images has so far, on the disk, so that after a kill it goes on from there.
# ---------------------------------------------------------------------------------------------------------------------


class ProgressFile:
    """Arrays that are kept now and then.

    Args:
        folder: where; None for nowhere.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = None if folder is None else folder / "so_far.npz"
        self._saved_s = time.monotonic()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What was kept last; empty at the beginning."""
        if self._file is None or not self._file.exists():
            return {}
        with np.load(self._file) as arrays:
            return dict(arrays)

    def keep(self, **arrays: Any) -> None:
        """Puts the arrays on the disk, where the last time is SAVE_EVERY_S ago."""
        if self._file is None or time.monotonic() - self._saved_s < SAVE_EVERY_S:
            return
        with atomic_write(self._file) as file:
            np.savez(file, **arrays)
        self._saved_s = time.monotonic()


# ---------------------------------------------------------------------------------------------------------------------
# Features of data sets on the disk, and passes over images that were interrupted.
#
# Everything is named by the SHA-256 of a description of what decides its content, so that nothing is ever stale: what is
# there under a name is what would be computed.
# ---------------------------------------------------------------------------------------------------------------------

FORMAT = 1  # of files, and of features: another one where a detector computes something else from the same weights
ABOUT = "about.json"
FORGOTTEN_AFTER_S = 7 * 24 * 3600.0

Description = dict[str, Any]

_logger = logging.getLogger(__name__)


def default_folder() -> Path:
    """Where caches belong on this machine: $XDG_CACHE_HOME/sg3tf/metrics, or under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sg3tf" / "metrics"


def key(described: Description) -> str:
    """A name for what is described: SHA-256 of its JSON."""
    text = json.dumps({"format": FORMAT, **described}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Cache:
    """Kept features by description.

    Args:
        folder: where they are; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, described: Description) -> FeatureStats | None:
        """What is there; None where nothing is, or nothing whole, which is said."""
        if self._folder is None or not (entry := self._folder / "features" / key(described)).is_dir():
            return None
        try:
            digests = json.loads((entry / ABOUT).read_text())["sha256"]
            arrays = {name: _array(entry / name, digest) for name, digest in digests.items()}
            return arrays["rows.npy"] if "rows.npy" in arrays else Moments.from_arrays(_without_suffix(arrays))
        except (OSError, ValueError, LookupError, TypeError) as error:
            _logger.warning("%s: damaged, computed again (%s)", entry, error)
            shutil.rmtree(entry, ignore_errors=True)
            return None

    def store(self, described: Description, kept: FeatureStats) -> None:
        """Keeps features, whole or not at all."""
        if self._folder is None:
            return
        arrays = kept.arrays() if isinstance(kept, Moments) else {"rows": kept}
        with atomic_directory(self._folder / "features" / key(described), replace=True) as entry:
            for name, array in arrays.items():
                np.save(entry / f"{name}.npy", array)
            digests = {file.name: digest_file(file) for file in sorted(entry.iterdir())}
            (entry / ABOUT).write_text(json.dumps({**described, "sha256": digests}, indent=1) + "\n")

    @contextmanager
    def unfinished(self, described: Description) -> Iterator[Path]:
        """A folder for a pass over images: what an interrupted one left in it is there, and all goes when it is over.

        Another process that makes the same pass waits.
        """
        if self._folder is None:
            with tempfile.TemporaryDirectory(prefix="sg3tf-metrics-") as name:
                yield Path(name)
            return
        parent = self._folder / "unfinished"
        parent.mkdir(parents=True, exist_ok=True)
        _forget_old(parent)
        folder = parent / key(described)
        with _locked(folder.with_suffix(".lock")):
            folder.mkdir(exist_ok=True)
            yield folder
            shutil.rmtree(folder)


def _array(file: Path, digest: str) -> NDArray[Any]:
    if digest_file(file) != digest:
        raise ValueError(f"the content of {file.name} has changed since it was written")
    return np.load(file, mmap_mode="r")


def _without_suffix(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removesuffix(".npy"): array for name, array in arrays.items()}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock that goes with the process, however it ends; the file goes at the end."""
    while True:
        with open(path, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _logger.warning("waiting for another process that computes the same (%s)", path)
                fcntl.flock(file, fcntl.LOCK_EX)
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                continue  # it was the other's, and went with it
            try:
                yield
            finally:
                path.unlink()
            return


def _forget_old(parent: Path) -> None:
    """Passes that nobody went on with."""
    for folder in parent.iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > FORGOTTEN_AFTER_S:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)  # of a process that was killed
