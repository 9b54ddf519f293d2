"""What can go wrong with a run, each in one line with the remedy."""

from __future__ import annotations


class OptionError(ValueError):
    """Options that contradict each other, the data or the machine: refused before anything is made."""


class TrainingError(RuntimeError):
    """A run that cannot go on; its last checkpoint is intact."""


def summarize_error(error: BaseException) -> str:
    """What a library's many lines begin with."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
