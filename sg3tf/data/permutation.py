"""Random permutation of any size, evaluated lazily in constant memory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

#: Rounds of the network, each with a 64-bit key.
ROUNDS = 8


class Permutation:
    """Feistel network on positions as two-digit numbers, with cycle walking.

    A position is `high * b + low`, with high < a and low < b, where a and b are just large enough. Each round adds a
    hash of one digit to the other. This is invertible, so the network permutes the a * b numbers. A result of `size` or
    more goes through the network again until it is smaller. For fewer than a hundred images, eight rounds do not make
    all orders equally frequent; sort random numbers instead.

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
    """Hash every word of an array (not a scalar) with the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
