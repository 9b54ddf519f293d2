"""Random permutation of any size that is computed where it is read, in memory that does not depend on the size."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

#: Rounds of the network, each with a key of 64 bits.
ROUNDS = 8


class Permutation:
    """A Feistel network on the positions as two-digit numbers, with cycle walking.

    A position is `high * b + low`, with high below a and low below b, where a and b are just large enough. Each round
    adds a hash of one digit to the other, which can be undone, so that the network permutes the a * b numbers. A result
    that is not below `size` goes through it again until it is. Not all orders of less than a hundred images are equally
    frequent after eight rounds: sort random numbers for those.

    Args:
      size: number of positions.
      keys: uint64 [ROUNDS], random.

    Examples:
      >>> permutation = Permutation(5, np.arange(ROUNDS, dtype=np.uint64))
      >>> sorted(permutation(np.arange(5)).tolist())
      [0, 1, 2, 3, 4]
    """

    def __init__(self, size: int, keys: Words) -> None:
        a = math.isqrt(size - 1) + 1
        self._size, self._keys = np.uint64(size), keys
        self._a, self._b = np.uint64(a), np.uint64(-(-size // a))

    def __call__(self, positions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the image at each of `positions`, int64 [N]."""
        result = self._network(positions.astype(np.uint64))
        while len(outside := np.flatnonzero(result >= self._size)):
            result[outside] = self._network(result[outside])
        return result.astype(np.int64)

    def _network(self, numbers: Words) -> Words:
        high, low = numbers // self._b, numbers % self._b
        for even, odd in zip(self._keys[::2], self._keys[1::2], strict=True):
            high = (high + mix(low ^ even)) % self._a
            low = (low + mix(high ^ odd)) % self._b
        return high * self._b + low


def mix(words: Words) -> Words:
    """Hash every word of an array, not a scalar: the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
