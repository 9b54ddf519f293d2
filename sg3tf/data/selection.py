"""Selections of images, computed where they are read: evenly spaced ones, which take no memory; classes in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Index = TypeVar("Index", int, np.ndarray)


@dataclass(frozen=True)
class EvenlySpaced:
    """`count` of the indices 0..total - 1, evenly spaced.

    Examples:
      >>> [EvenlySpaced(10, 3)(i) for i in range(3)]
      [0, 3, 6]
    """

    total: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __call__(self, i: Index) -> Index:
        """Return the i-th of them; i is an int or int64 [N]."""
        return i * self.total // self.count


@dataclass(frozen=True)
class AllBut:
    """The indices 0..total - 1 without those of EvenlySpaced(total, count).

    Of the indices below m, ceil(m * count / total) are evenly spaced ones: floor(m * (total - count) / total) are left.
    The i-th one left is the largest index below the smallest m for which that is i + 1.

    Examples:
      >>> [AllBut(10, 3)(i) for i in range(7)]
      [1, 2, 4, 5, 7, 8, 9]
    """

    total: int
    count: int

    def __len__(self) -> int:
        return self.total - self.count

    def __call__(self, i: Index) -> Index:
        """Return the i-th of them; i is an int or int64 [N]."""
        return -(-(i + 1) * self.total // len(self)) - 1


class Balanced:
    """Every class as often as the largest: images of the classes in turn, those of small classes several times.

    Args:
      classes: of all images, int64 [N].

    Examples:
      >>> balanced = Balanced(np.array([0, 0, 0, 7]))
      >>> [balanced(i) for i in range(len(balanced))]
      [0, 3, 1, 3, 2, 3]
    """

    def __init__(self, classes: np.ndarray) -> None:
        self._images = np.argsort(classes, kind="stable")
        self._counts = np.unique(classes, return_counts=True)[1]
        self._starts = np.cumsum(self._counts) - self._counts

    def __len__(self) -> int:
        return len(self._counts) * int(self._counts.max())

    def __call__(self, i: Index) -> Index:
        """Return the i-th of them; i is an int or int64 [N]."""
        turn, number = divmod(i, len(self._counts))
        chosen = self._images[self._starts[number] + turn % self._counts[number]]
        return chosen if isinstance(i, np.ndarray) else int(chosen)


class Chosen:
    """Indices that are given.

    Args:
      indices: int64 [N].

    Examples:
      >>> Chosen(np.array([2, 5]))(1)
      5
    """

    def __init__(self, indices: np.ndarray) -> None:
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __call__(self, i: Index) -> Index:
        """Return the i-th of them; i is an int or int64 [N]."""
        chosen = self._indices[i]
        return chosen if isinstance(i, np.ndarray) else int(chosen)


Selection = EvenlySpaced | AllBut | Balanced | Chosen
