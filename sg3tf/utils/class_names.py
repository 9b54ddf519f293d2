"""Convert text, such as class names and numbers, to labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# What an export's tf.strings.strip removes; without it, str.strip would remove other spaces too.
_SPACES = " \t\n\v\f\r"


def class_numbers(classes: Sequence[str], dim: int) -> dict[str, int]:
    """Return {text: class number} for every name, and for every number that is not the name of another class.

    Args:
        classes: the `dim` class names; () if the classes have none.
        dim: number of classes.

    Examples:
        >>> class_numbers(["tabby", "1", "manx"], 3)
        {'0': 0, '1': 1, '2': 2, 'tabby': 0, 'manx': 2}
    """
    return {str(number): number for number in range(dim)} | {name: number for number, name in enumerate(classes)}


def label_of(text: str, classes: Sequence[str], dim: int) -> NDArray[np.float32] | None:
    """Return the label of a class, by name or number, or of several classes, by names separated by commas.

    Args:
        text: text such as "tabby", "2" or "tabby,manx"; not "0,2", which could mean a vector.
        classes, dim: as in `class_numbers`.

    Returns:
        float32 [dim] of 0 and 1; None if a class is unknown, or there are more names than classes.

    Examples:
        >>> label_of("manx, tabby", ["tabby", "persian", "manx"], 3)
        array([1., 0., 1.], dtype=float32)
    """
    known = class_numbers(classes, dim)
    if text in known:
        parts = [text]
    elif text.count(",") >= len(classes):  # checked first: a text from a request can have millions of parts
        return None
    else:
        parts = [part.strip(_SPACES) for part in text.split(",")]
        if not set(parts) <= set(classes):
            return None
    label = np.zeros(dim, np.float32)
    label[[known[part] for part in parts]] = 1
    return label


def is_number(classes: Sequence[str], dim: int) -> bool:
    """Return True if a label is a single number, such as an age; a single unnamed class would be meaningless.

    Args:
        classes, dim: as in `class_numbers`.
    """
    return dim == 1 and not classes


def describe_classes(classes: Sequence[str], dim: int) -> str:
    """Return a phrase that describes the texts that `label_of` accepts, for messages.

    Examples:
        >>> describe_classes(["tabby", "manx"], 2)
        'a number from 0 to 1, or names with commas: tabby, manx'
    """
    numbers = f"a number from 0 to {dim - 1}"
    if not classes:
        return numbers
    return f"{numbers}, or names with commas: {', '.join(classes[:8])}" + (", ..." if len(classes) > 8 else "")


def describe_class_name(classes: Sequence[str], dim: int) -> str:
    """Return a phrase that describes valid texts for the input class_name of a served network, for messages.

    Without names, labels may be vectors instead of classes; the network does not record which.

    Examples:
        >>> describe_class_name([], 3)
        'a number from 0 to 2, of a class; a vector of 3 numbers is given as label, to a signature without _class'
    """
    texts = describe_classes(classes, dim)
    if classes:
        return texts
    return f"{texts}, of a class; a vector of {dim} numbers is given as label, to a signature without _class"
