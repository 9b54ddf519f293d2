"""Text of errors in one-line messages."""

from __future__ import annotations

import re
from typing import Any


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


def shown(value: Any, length: int = 50) -> str:
    """Return a value from a file or a request for a message: text and numbers, cut short, or else only the type.

    The text of a list that contains another one twice, which does so in turn, doubles with every level.

    Examples:
        >>> shown("orthogonal", 5), shown(0.5), shown([[]])
        ("'ortho'...", '0.5', 'a list')
    """
    if isinstance(value, str | bytes):
        return repr(value[:length]) + ("..." if len(value) > length else "")
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**64):
        return repr(value)
    return f"a {type(value).__name__}"
