"""Text of errors in one-line messages."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if the message is empty.

    Examples:
        >>> first_line(OSError("no space\\nin folder"))
        'no space'
        >>> first_line(MemoryError())
        'MemoryError'
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
