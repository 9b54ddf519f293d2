"""Text of errors in one-line messages."""

from __future__ import annotations

import re


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if the message is empty.

    The node of a graph, with which TensorFlow's messages may begin, is left out.

    Examples:
        >>> first_line(OSError("no space\\nin folder"))
        'no space'
        >>> first_line(ValueError("{{node save}} no space"))
        'no space'
        >>> first_line(MemoryError())
        'MemoryError'
    """
    message = re.sub(r"^\{\{.*?\}\}\s*", "", str(error))
    return next(iter(message.strip().splitlines()), type(error).__name__)
