"""What a metric that makes its own images has so far, on the disk, so that after a kill it goes on from there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.atomic import whole_file
from sg3tf.metrics.collection import SAVE_EVERY_S


class SoFar:
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
        with whole_file(self._file) as file:
            np.savez(file, **arrays)
        self._saved_s = time.monotonic()
