"""A signal kept as its polyphase components, so that resampling it needs neither inserted zeros nor interleaving."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class Phased:
    """Images [N, height, width, C] as components: parts[py][px][:, i, j] = image[:, i * Py + py, j * Px + px]."""

    parts: list[list[tf.Tensor]]
    height: int
    width: int

    @classmethod
    def whole(cls, x: tf.Tensor) -> Phased:
        """x [N, H, W, C] as its own only component."""
        return cls([[x]], x.shape[1], x.shape[2])

    @property
    def counts(self) -> tuple[int, int]:
        """Components along (y, x)."""
        return len(self.parts), len(self.parts[0])

    def map(self, function: Callable[..., tf.Tensor], *others: Phased) -> Phased:
        """Applies an elementwise function to this signal, and others on the same grid."""
        parts = [
            [function(*components) for components in zip(*rows, strict=True)]
            for rows in zip(self.parts, *(other.parts for other in others), strict=True)
        ]
        return Phased(parts, self.height, self.width)

    def merged(self) -> tf.Tensor:
        """The images [N, height, width, C]."""
        rows = [_interleaved(row, 2, self.width) for row in self.parts]
        return _interleaved(rows, 1, self.height)


def _interleaved(parts: list[tf.Tensor], dim: int, size: int) -> tf.Tensor:
    if len(parts) == 1:
        return parts[0]
    longest = parts[0].shape[dim]
    padded = []
    for part in parts:
        paddings = [[0, 0]] * 4
        paddings[dim] = [0, longest - part.shape[dim]]
        padded.append(tf.pad(part, paddings) if part.shape[dim] < longest else part)
    y = tf.stack(padded, dim + 1)
    shape = [-1, *parts[0].shape[1:]]
    shape[dim] = longest * len(parts)
    y = tf.reshape(y, shape)
    return y[:, :size] if dim == 1 else y[:, :, :size]
