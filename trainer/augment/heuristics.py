"""Measures of overfitting, and the resulting probability of the augmentation (arXiv 2006.06676, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Thousands of images over which p rises from 0 to 1 if it only rises.
KIMG = 500.0
#: The same for a run that starts from a model, whose discriminator may overfit from the beginning.
KIMG_FROM_MODEL = 100.0
#: Kinds of augmentation whose probability follows the heuristic.
ADAPTIVE = ("ada", "apa")
INTERVAL = 4  # steps
TARGET = 0.6  # of the heuristic

#: Metrics of a step that enter the heuristics of the paper's equation 1.
SOURCES = {
    "rt": ("Loss/signs/real",),
    "rv": ("Loss/scores/real", "Loss/scores/validation", "Loss/scores/fake"),
}


def measure(heuristic: str, means: Sequence[float]) -> float:
    """Overfitting r_t or r_v, from the means of its SOURCES over an interval; NaN if it is not defined."""
    if heuristic == "rt":
        return float(means[0])
    train, validation, fake = (float(mean) for mean in means)
    return (train - validation) / (train - fake) if train != fake else math.nan


def direction(overfitting: float, target: float) -> int:
    """1 if the probability has to rise to bring the heuristic to its target, -1 if it has to fall, else 0.

    Also 0 if the heuristic is not finite: a diverged step is no evidence of overfitting.
    """
    return (overfitting > target) - (overfitting < target) if math.isfinite(overfitting) else 0


def next_probability(probability: float, move: float) -> float:
    """Probability after an interval.

    As published, there is no upper limit: the further p has risen above 1, the longer it takes to fall below it again.
    """
    return max(probability + move, 0.0)
