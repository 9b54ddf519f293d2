"""Errors of a run, each with a one-line message that gives the remedy."""

from __future__ import annotations

from sg3tf.utils.errors import ExpectedError


class OptionError(ValueError):
    """Options that contradict each other, the data or the machine; raised before anything is written."""


class TrainingError(ExpectedError):
    """Run that had to stop; its last checkpoint is intact."""


class StopRequestedError(Exception):
    """Metrics that a signal to stop has interrupted."""
