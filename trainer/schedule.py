"""Schedule of a run: when ticks, snapshots and checkpoints are due, and when the run is finished."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.config import Options


@dataclasses.dataclass(frozen=True)
class Due:
    """Actions that are due after a step."""

    tick: bool = False
    snapshot: bool = False
    checkpoint: bool = False


class Schedule:
    """Schedules by the number of images since the beginning of the run, so a resumed run acts at the same points.

    Args:
        options: options of the run: kimg, and the intervals tick (in kimg), snap and checkpoint (in ticks).
        cur_nimg: images seen when the process starts.

    Examples:
        >>> from types import SimpleNamespace
        >>> schedule = Schedule(SimpleNamespace(kimg=100, tick=4, snap=50, checkpoint=10), cur_nimg=0)
        >>> schedule.due(3968), schedule.due(4000)
        (Due(tick=False, snapshot=False, checkpoint=False), Due(tick=True, snapshot=False, checkpoint=False))
    """

    def __init__(self, options: Options, cur_nimg: int) -> None:
        self._options = options
        self._tick = tick_number(cur_nimg, options)
        #: {action: images seen when it was last due}; a run that ends before its first step saves its state
        self._latest = {"tick": cur_nimg, "snapshot": -1, "checkpoint": -1}

    def is_finished(self, cur_nimg: int) -> bool:
        return cur_nimg >= self._options.kimg * 1000

    def due(self, cur_nimg: int) -> Due:
        """Return the actions due after a step; every snapshot comes with a checkpoint."""
        before, self._tick = self._tick, tick_number(cur_nimg, self._options)

        def is_passed(interval: int) -> bool:
            return self._tick // interval > before // interval  # a step may be longer than a tick

        snapshot = is_passed(self._options.snap)
        return self._noted(Due(is_passed(1), snapshot, snapshot or is_passed(self._options.checkpoint)), cur_nimg)

    def due_at_end(self, cur_nimg: int) -> Due:
        """Return the actions due when the run ends or stops: those that were not due after the last step."""
        return self._noted(Due(**{action: nimg != cur_nimg for action, nimg in self._latest.items()}), cur_nimg)

    def _noted(self, due: Due, cur_nimg: int) -> Due:
        self._latest |= {action: cur_nimg for action, is_due in vars(due).items() if is_due}
        return due


def tick_number(cur_nimg: int, options: Options) -> int:
    """Number of complete ticks after `cur_nimg` images."""
    return int(cur_nimg / (options.tick * 1000) + 1e-9)
