"""The bar that shows how far a command is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], count: int, unit: str = "images", done: int = 0) -> Iterable[Item]:
    """`items`, of `count` of which `done` were there before, with a progress bar on stderr while they are taken."""
    # 0.1 s: not beside a refusal.
    return tqdm(items, total=count, initial=done, unit=f" {unit}", file=sys.stderr, delay=0.1)
