"""Lazily evaluated selections of images: evenly spread ones, which take no memory, and balanced classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sg3tf.data.permutation import mix

Index = TypeVar("Index", int, np.ndarray)


@dataclass(frozen=True)
class Spread:
    """`count` of the indices 0..total - 1, one from each of `count` segments of equal length.

    Args:
        total, count: numbers of indices; count is from 1 to total.
        random: use a pseudo-random index of each segment, the same in every process. If False, use the first, which can
            miss classes in periodic data.

    Examples:
        >>> [Spread(10, 3)(i) for i in range(3)], [Spread(10, 3, random=False)(i) for i in range(3)]
        ([1, 3, 9], [0, 3, 6])
    """

    total: int
    count: int
    random: bool = True

    def __len__(self) -> int:
        return self.count

    def __call__(self, i: Index) -> Index:
        """Return the i-th of them; i is an int or int64 [N]."""
        start, end = i * self.total // self.count, (i + 1) * self.total // self.count
        return start + _word(i) % (end - start) if self.random else start


@dataclass(frozen=True)
class AllBut:
    """The indices that a Spread leaves out.

    `spread` takes one index from each segment. Before segment j, that leaves floor(j * total / count) - j =
    floor(j * len(self) / count) indices. The i-th index left is in the last segment for which this is at most i.

    Examples:
        >>> [AllBut(Spread(10, 3))(i) for i in range(7)]
        [0, 2, 4, 5, 6, 7, 8]
    """

    spread: Spread

    def __len__(self) -> int:
        return self.spread.total - self.spread.count

    def __call__(self, i: Index) -> Index:
        """Return the i-th of them; i is an int or int64 [N]."""
        stretch = ((i + 1) * self.spread.count - 1) // len(self)
        index = i + stretch
        return index + (index >= self.spread(stretch))


def _word(i: Index) -> Index:
    """Return 62 pseudo-random bits for every i: SplitMix64 with the seed 0."""
    numbers = np.atleast_1d(i).astype(np.uint64) + np.uint64(1)
    words = mix(numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(2)
    return words.astype(np.int64) if isinstance(i, np.ndarray) else int(words[0])


class Balanced:
    """Every class as often as the largest: cycles through the classes and repeats images of small ones.

    Args:
        classes: class of every image, int64 [N].

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
    """Explicit indices.

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


Selection = Spread | AllBut | Balanced | Chosen
