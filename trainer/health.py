"""Stops a run whose gradients overflow tick after tick, before it overwrites what was good."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainer.errors import TrainingError

BAD_SHARE = 0.5  # of the steps of a phase


class Health:
    """Counts bad ticks: those in which most steps of a phase had a gradient that is not finite, or a loss was not.

    Single overflows are usual with 16-bit numbers and harmless, as they are zeroed.

    Args:
        max_bad_ticks: so many in a row end the run.
    """

    def __init__(self, max_bad_ticks: int) -> None:
        self.max_bad_ticks = max_bad_ticks
        self.bad_ticks = 0

    @property
    def good(self) -> bool:
        """Whether what is there now is worth keeping."""
        return self.bad_ticks == 0

    def observe(self, values: Mapping[str, Mapping[str, float]]) -> str | None:
        """Takes in the statistics of a tick; returns what is wrong with it.

        Raises:
            TrainingError: it was one bad tick too many.
        """
        wrong = [_wrong(name, value["mean"]) for name, value in sorted(values.items())]
        problems = [problem for problem in wrong if problem]
        self.bad_ticks = self.bad_ticks + 1 if problems else 0
        if self.bad_ticks >= self.max_bad_ticks:
            raise TrainingError(
                f"{self.bad_ticks} bad ticks in a row (--max_bad_ticks={self.max_bad_ticks}): {problems[0]}; continue "
                "from the last good checkpoint with a smaller --glr and --dlr, a larger --gamma or --precision=fp32"
            )
        return problems[0] if problems else None


def _wrong(name: str, mean: float) -> str | None:
    if name.startswith("Loss/") and not math.isfinite(mean):
        return f"{name} is {mean}"
    if name.startswith("Gradients/") and name.endswith("/overflow") and mean > BAD_SHARE:
        return f"{mean:.0%} of the steps of phase {name.split('/')[1]} had gradients that are not finite"
    return None
