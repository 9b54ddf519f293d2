"""Detection of a run that diverges."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainer.errors import TrainingError

BAD_SHARE = 0.5  # share of the steps of a phase


class DivergenceMonitor:
    """Stops a run whose gradients overflow tick after tick, before it overwrites its last good checkpoint.

    A tick is bad if most steps of a phase had a gradient that is not finite, or if a loss is not finite. Single
    overflows are common with 16-bit numbers and harmless, because they are zeroed. If a tick has a single step of a
    phase, that phase's step in the previous tick must have overflowed as well.

    Args:
        max_bad_ticks: number of consecutive bad ticks that stops the run.

    Examples:
        >>> from trainer.stats import as_summary
        >>> monitor = DivergenceMonitor(max_bad_ticks=3)
        >>> monitor.update({"Loss/G/loss": as_summary(math.nan)})
        'Loss/G/loss is nan'
        >>> monitor.is_healthy
        False
    """

    def __init__(self, max_bad_ticks: int) -> None:
        self.max_bad_ticks = max_bad_ticks
        self.bad_ticks = 0
        self._overflows: dict[str, float] = {}  # share of each phase's steps, in the last tick that had any

    @property
    def is_healthy(self) -> bool:
        """True if the last tick was not bad, so the weights are worth saving."""
        return self.bad_ticks == 0

    def update(self, statistics: Mapping[str, Mapping[str, float]]) -> str | None:
        """Check the statistics of a tick; return its first problem, or None.

        Raises:
            TrainingError: too many bad ticks in a row.
        """
        found = [self._problem(name, value) for name, value in sorted(statistics.items())]
        problems = [problem for problem in found if problem]
        self.bad_ticks = self.bad_ticks + 1 if problems else 0
        if self.bad_ticks >= self.max_bad_ticks:
            raise TrainingError(
                f"{self.bad_ticks} bad ticks in a row (--max_bad_ticks={self.max_bad_ticks}): {problems[0]}; continue "
                "from the last good checkpoint with a smaller --glr and --dlr, a larger --gamma or --precision=fp32"
            )
        return problems[0] if problems else None

    def _problem(self, name: str, value: Mapping[str, float]) -> str | None:
        mean = value["mean"]
        if name.startswith("Loss/") and not math.isfinite(mean):
            return f"{name} is {mean}"
        if name.startswith("Gradients/") and name.endswith("/overflow"):
            before, self._overflows[name] = self._overflows.get(name, 0.0), mean
            if value["num"] == 1:
                mean = min(mean, before)
            if mean > BAD_SHARE:
                return f"{mean:.0%} of the steps of phase {name.split('/')[1]} had gradients that are not finite"
        return None
