"""Features that a pass over images leaves: collected image by image, on the disk while that is not over."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.atomic import whole_file
from sg3tf.metrics.moments import Moments

MOMENTS, ROWS = "moments", "rows"
SAVE_EVERY_S = 60.0

Rows = NDArray[np.float32]
Kept = Moments | Rows
#: Of one detector: (its name, the name of the output).
Output = tuple[str, str]


@dataclasses.dataclass(frozen=True, order=True)
class Wanted:
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

    def __init__(self, wanted: Sequence[Wanted], sizes: Mapping[Output, int], folder: Path) -> None:
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
        with whole_file(self._folder / "state.npz") as file:
            np.savez(file, **arrays, done=self.done)
        self._saved_s = time.monotonic()

    def kept(self) -> dict[Wanted, Kept]:
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

    def _file(self, w: Wanted) -> Path:
        return self._folder / f"{self._wanted.index(w)}.npy"
