"""Progress bars of commands."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], count: int, unit: str = "images", done: int = 0) -> Iterable[Item]:
    """Wrap `items` in a progress bar on stderr.

    Args:
        items: remaining items.
        count: number of items in total, including those done before.
        unit: plural noun for the items.
        done: number of items done before.
    """
    # The delay of 0.1 s keeps the bar from showing before an immediate error.
    return tqdm(items, total=count, initial=done, unit=f" {unit}", file=sys.stderr, delay=0.1)
