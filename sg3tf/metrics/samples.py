"""What a metric generates images from: random numbers that depend on nothing but the seed and an image's position."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Labels = Callable[[int], FloatArray]

# Second word of Philox's key; small numbers belong to the trainer.
_LATENT, _MOTION, _CLASS = 1001, 1002, 1003


@dataclasses.dataclass(frozen=True)
class Samples:
    """The images of one metric.

    Attributes:
        count: how many.
        z_dim: size of a latent.
        seed: of every draw.
        labels: position -> float32 [label_dim]; None for a generator without labels.
    """

    count: int
    z_dim: int
    seed: int
    labels: Labels | None

    def latents(self, index: NDArray[np.int64]) -> FloatArray:
        """float32 [N, z_dim] for N positions."""
        return np.stack([_rng(self.seed, _LATENT, i).standard_normal(self.z_dim, np.float32) for i in index])

    def label(self, index: NDArray[np.int64]) -> FloatArray | None:
        """float32 [N, label_dim] for N positions."""
        return None if self.labels is None else np.stack([self.labels(int(i)) for i in index])

    def motion(self, position: int) -> np.random.Generator:
        """Where the motion of the image at `position` is drawn from."""
        return _rng(self.seed, _MOTION, position)


def uniform_classes(label_dim: int, seed: int) -> Labels:
    """Labels of classes drawn uniformly: position -> float32 [label_dim], 1 at the class and else 0."""
    classes = np.eye(label_dim, dtype=np.float32)
    return lambda position: classes[_rng(seed, _CLASS, position).integers(label_dim)]


def _rng(seed: int, purpose: int, position: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, 0, position]))
