"""On-disk cache of data set statistics and of intermediate results of interrupted metrics.

The key of an entry is the SHA-256 of everything its content depends on, so entries never become stale. Folders of
images are identified by file names, sizes and modification times.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.metrics.feature_stats import SAVE_INTERVAL_S, FeatureStats, Moments
from sg3tf.utils import files
from sg3tf.utils.arrays import read_npz, save_npy
from sg3tf.utils.checksums import digest_file
from sg3tf.utils.file_lock import locked_file
from sg3tf.utils.files import atomic_directory, atomic_write, scratch_folder

FORMAT = 1  # of files and features; increase it when a detector's output changes for the same weights
ABOUT = "about.json"
MAX_UNFINISHED_AGE_S = 7 * 24 * 3600.0
PAUSE_S = 0.2  # while another process computes the same

KeyFields = dict[str, Any]

_logger = logging.getLogger(__name__)


def default_cache_dir() -> Path | None:
    """Return the cache folder, $XDG_CACHE_HOME/sg3tf/metrics or ~/.cache/sg3tf/metrics; None without a home folder."""
    folder = files.cache_folder()
    return folder / "metrics" if folder else None


def cache_key(fields: KeyFields) -> str:
    """SHA-256 of the fields as JSON."""
    text = json.dumps({"format": FORMAT, **fields}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class ProgressFile:
    """Arrays that a metric saves periodically, to resume after an interruption.

    Args:
        folder: folder for the file; None to save nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = None if folder is None else folder / "progress.npz"
        self._saved_s = time.monotonic()

    def load(self) -> dict[str, NDArray[Any]]:
        """Return the arrays saved last; empty at the start."""
        if self._file is None or not self._file.exists():
            return {}
        try:
            return read_npz(self._file)
        except (OSError, ValueError) as error:
            _logger.warning("%s: damaged, so that the metric starts again (%s)", self._file, error)
            return {}

    def save_periodically(self, **arrays: Any) -> None:
        """Save the arrays, at most once every SAVE_INTERVAL_S."""
        if self._file is None or time.monotonic() - self._saved_s < SAVE_INTERVAL_S:
            return
        try:
            with atomic_write(self._file) as file:
                np.savez(file, **arrays)
        except OSError as error:
            _logger.warning("%s: not written, so that an interrupted metric starts again (%s)", self._file, error)
        self._saved_s = time.monotonic()


class Cache:
    """Feature statistics by key. If the folder is not writable, results are recomputed, with a warning.

    Args:
        folder: folder for the entries; None to store nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, fields: KeyFields) -> FeatureStats | None:
        """Return the entry of a key; None if it is missing or damaged. Damage is logged."""
        if self._folder is None or not (entry := self._folder / "features" / cache_key(fields)).is_dir():
            return None
        try:
            digests = json.loads((entry / ABOUT).read_text())["sha256"]
            arrays = {name.removesuffix(".npy"): _load_array(entry / name, sha) for name, sha in digests.items()}
            return arrays["rows"] if "rows" in arrays else Moments.from_arrays(arrays)
        except (OSError, ValueError, LookupError, TypeError) as error:
            _logger.warning("%s: damaged, computed again (%s)", entry, error)
            shutil.rmtree(entry, ignore_errors=True)
            return None

    def store(self, fields: KeyFields, stats: FeatureStats) -> None:
        """Store an entry atomically."""
        if self._folder is None:
            return
        arrays = stats.arrays() if isinstance(stats, Moments) else {"rows": stats}
        try:
            with atomic_directory(self._folder / "features" / cache_key(fields), replace=True) as entry:
                for name, array in arrays.items():
                    with open(entry / f"{name}.npy", "wb") as file:
                        save_npy(file, array)
                digests = {file.name: digest_file(file) for file in sorted(entry.iterdir())}
                (entry / ABOUT).write_text(json.dumps({**fields, "sha256": digests}, indent=1) + "\n")
        except OSError as error:
            _logger.warning("%s: not written, so that it is computed again next time (%s)", self._folder, error)

    @contextmanager
    def unfinished(self, fields: KeyFields, waiting: Callable[[], object] = lambda: None) -> Iterator[Path | None]:
        """Yield a folder for intermediate results. It is removed on success, and kept after an error or a kill.

        It contains the files left by an interrupted process with the same key. Other processes with the same key wait.
        If the cache is not writable, the folder is a temporary one; None if that fails, too.

        Args:
            fields: fields of the key.
            waiting: called every PAUSE_S while another process has the folder; an error it raises ends the wait.
        """
        with contextlib.ExitStack() as stack:
            yield self._enter_kept(stack, fields, waiting) or _enter_temporary(stack)

    def _enter_kept(self, stack: contextlib.ExitStack, fields: KeyFields, waiting: Callable[[], object]) -> Path | None:
        """Enter the context of a folder in the cache; return None if there is no cache, or it is not writable."""
        if self._folder is None:
            return None
        parent = self._folder / "unfinished"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(parent)
            return stack.enter_context(_locked_folder(parent / cache_key(fields), waiting))
        except OSError as error:
            _logger.warning("%s: cannot be written; an interrupted metric starts again (%s)", self._folder, error)
            return None


def _enter_temporary(stack: contextlib.ExitStack) -> Path | None:
    """Enter the context of a temporary folder; return None if none can be created."""
    try:
        return stack.enter_context(scratch_folder())
    except OSError as error:
        _logger.warning("no temporary folder; intermediate results of metrics stay in memory (%s)", error)
        return None


@contextmanager
def _locked_folder(folder: Path, waiting: Callable[[], object]) -> Iterator[Path]:
    """Yield a folder that no other process uses; it is removed unless there is an error."""
    with contextlib.ExitStack() as stack:
        _wait_for_lock(stack, folder.with_suffix(".lock"), waiting)
        folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_lock(stack: contextlib.ExitStack, path: Path, waiting: Callable[[], object]) -> None:
    """Lock a file within `stack`; call `waiting` repeatedly until no other process has it."""
    warned = False
    while True:
        try:
            stack.enter_context(locked_file(path))
            return
        except BlockingIOError:
            if not warned:
                _logger.warning("waiting for another process that computes the same (%s)", path)
            warned = True
            waiting()
            time.sleep(PAUSE_S)


def _load_array(file: Path, digest: str) -> NDArray[Any]:
    if digest_file(file) != digest:
        raise ValueError(f"the content of {file.name} has changed since it was written")
    return np.load(file, mmap_mode="r")


def _remove_abandoned(parent: Path) -> None:
    """Remove intermediate results that no process has used for MAX_UNFINISHED_AGE_S.

    Results in use are kept, even if they appear old after a clock change.
    """
    for folder in parent.iterdir():
        if folder.is_dir() and time.time() - folder.stat().st_mtime > MAX_UNFINISHED_AGE_S:
            with contextlib.suppress(BlockingIOError), locked_file(folder.with_suffix(".lock")):
                shutil.rmtree(folder, ignore_errors=True)
