"""Progress bars of commands."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

try:
    from tqdm import tqdm
except ModuleNotFoundError:  # the extras train and metrics install it
    tqdm = None

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], count: int, unit: str = "images", done: int = 0) -> Iterable[Item]:
    """Wrap `items` in a progress bar on stderr, where tqdm is installed.

    Args:
        items: what is left to do.
        count: number of items, those that are done already included.
        unit: name of the items.
        done: number of items that are done already.
    """
    if tqdm is None:
        return items
    # Not at once: an error in the first item should be the only line.
    return tqdm(items, total=count, initial=done, unit=f" {unit}", file=sys.stderr, delay=0.1)
