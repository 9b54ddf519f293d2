"""TensorFlow 1's bilinear resize in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def resized(images: Array, size: int) -> Array:
    """[N,size,size,C]: pixel i of the result is at i * (old size / new size), without antialiasing."""
    x = images.astype(np.float64)
    for axis in (1, 2):
        at = np.arange(size) * (x.shape[axis] / size)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        part = (at - low).reshape([-1 if i == axis else 1 for i in range(4)])
        x = x.take(low, axis) * (1 - part) + x.take(high, axis) * part
    return x
