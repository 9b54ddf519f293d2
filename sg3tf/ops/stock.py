"""Resampling in stock TensorFlow operations: two lowerings, one with and one without XLA.

`PolyphaseLowering` never multiplies by an inserted zero, and XLA fuses it best; without XLA, each of its small
operations is a separate pass over memory. `BandedMatmulLowering` multiplies by banded matrices, tile by tile: more
arithmetic, but in a few large operations. docs/adr/0002 has the measurements.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from sg3tf.ops._tf_private import optimization_barrier
from sg3tf.ops.geometry import Axis

# --- Polyphase signals ------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class PolyphaseSignal:
    """Images [N, height, width, C] stored as polyphase components, which resample without inserted zeros.

    parts[py][px][:, i, j] = image[:, i * Py + py, j * Px + px], for Py x Px components.
    """

    parts: list[list[tf.Tensor]]
    height: int
    width: int

    @classmethod
    def from_dense(cls, x: tf.Tensor) -> PolyphaseSignal:
        """Return images [N, H, W, C] as a signal with one component."""
        return cls([[x]], x.shape[1], x.shape[2])

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of components along (y, x)."""
        return len(self.parts), len(self.parts[0])

    def map(self, function: Callable[..., tf.Tensor], *others: PolyphaseSignal) -> PolyphaseSignal:
        """Apply an elementwise function to this signal and others with the same components."""
        parts = [
            [function(*components) for components in zip(*rows, strict=True)]
            for rows in zip(self.parts, *(other.parts for other in others), strict=True)
        ]
        return PolyphaseSignal(parts, self.height, self.width)

    def interleave(self) -> tf.Tensor:
        """Return the images [N, height, width, C]."""
        rows = [_interleave(row, 2, self.width) for row in self.parts]
        return _interleave(rows, 1, self.height)


def _interleave(parts: list[tf.Tensor], dim: int, size: int) -> tf.Tensor:
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


# --- Lowerings --------------------------------------------------------------------------------------------------------

Axes = tuple[Axis, Axis]  # vertical, horizontal
Taps = tuple[Any, Any]  # vertical [terms, Ky] and horizontal [terms, Kx], NumPy or tensors
Counts = tuple[int, int]  # polyphase components, vertical and horizontal


class Lowering(Protocol):
    """A way to apply resamplings to polyphase signals."""

    def output_phases(self, axes: Axes) -> Counts:
        """Return the numbers of components of the result of `axes`."""

    def resample(self, x: PolyphaseSignal, taps: Taps, axes: Axes, phases: Counts) -> PolyphaseSignal:
        """Return x filtered with the sum over r of the outer products taps[0][r] taps[1][r], as `phases` components."""


class PolyphaseLowering:
    """Lowering that computes each output component as a sum of shifted input components times taps. For XLA only."""

    def output_phases(self, axes: Axes) -> Counts:
        y, x = (axis.up // math.gcd(axis.up, axis.down) for axis in axes)
        return y, x

    def resample(self, x: PolyphaseSignal, taps: Taps, axes: Axes, phases: Counts) -> PolyphaseSignal:
        height, width = axes[0].out_size(x.height), axes[1].out_size(x.width)
        terms = [
            self._horizontal(self._vertical(x, taps[0][r], axes[0], phases[0]), taps[1][r], axes[1], phases[1])
            for r in range(taps[0].shape[0])
        ]
        parts = [[sum(same[1:], same[0]) for same in zip(*rows, strict=True)] for rows in zip(*terms, strict=True)]
        return PolyphaseSignal(parts, height, width)

    def _vertical(self, x: PolyphaseSignal, taps: Any, axis: Axis, phases: int) -> PolyphaseSignal:
        columns = [_correlate(list(column), x.height, taps, axis, phases, 1) for column in zip(*x.parts, strict=True)]
        return PolyphaseSignal([list(row) for row in zip(*columns, strict=True)], axis.out_size(x.height), x.width)

    def _horizontal(self, x: PolyphaseSignal, taps: Any, axis: Axis, phases: int) -> list[list[tf.Tensor]]:
        return [_correlate(row, x.width, taps, axis, phases, 2) for row in x.parts]


def _correlate(parts: list[tf.Tensor], in_size: int, taps: Any, axis: Axis, phases: int, dim: int) -> list[tf.Tensor]:
    """Correlate along one axis.

    For tap k, output o = phases * j + r reads input (o * down + k - before) / up, if that is an integer.
    """
    # Without the barrier, XLA recomputes the previous pass for every tap, and radial filters take ten times as long to
    # compile.
    parts = optimization_barrier(parts)
    step = phases * axis.down // axis.up  # input samples between successive outputs of a component
    stride = step // len(parts)  # the same, within a component of the input
    out_size = axis.out_size(in_size)
    reads = [
        [(k, *divmod((r * axis.down + k - axis.before) // axis.up, len(parts))) for k in _taps_of_phase(axis, r)]
        if r < out_size  # otherwise the component has no samples
        else []
        for r in range(phases)
    ]  # per output component: (tap, first sample, input component)
    counts = [-(-(out_size - r) // phases) for r in range(phases)]
    windows = [
        _covering_window(
            part, dim, [(first, counts[r]) for r in range(phases) for _, first, p in reads[r] if p == source], stride
        )
        for source, part in enumerate(parts)
    ]

    def component(r: int) -> tf.Tensor:
        terms = [
            _slice(windows[p][0], dim, first - windows[p][1], counts[r], stride) * taps[k] for k, first, p in reads[r]
        ]
        if terms:
            return sum(terms[1:], terms[0])
        return _window(parts[0], dim, parts[0].shape[dim], counts[r])  # zeros: entirely beyond the end

    return [component(r) for r in range(phases)]


def _taps_of_phase(axis: Axis, r: int) -> list[int]:
    return [k for k in range(axis.num_taps) if (r * axis.down + k - axis.before) % axis.up == 0]


def _covering_window(x: tf.Tensor, dim: int, reads: list[tuple[int, int]], stride: int) -> tuple[tf.Tensor, int]:
    """Return x zero-padded to contain every read (first, count), and the index of its first sample."""
    if not reads:
        return x, 0
    start = min(first for first, _ in reads)
    end = max(first + (count - 1) * stride + 1 for first, count in reads)
    return _window(x, dim, start, end - start), start


class BandedMatmulLowering:
    """Lowering that multiplies by one banded matrix per axis. Taps must be NumPy: matrices are built while tracing.

    If all axes have at most MAX_DENSE samples, one matrix covers a whole axis: it multiplies by more zeros, but avoids
    copies. A filter that is a sum of separable ones still takes two products: the first computes the rows of all terms,
    and the second sums over terms and columns at once. docs/adr/0002 has the measurements.
    """

    MAX_DENSE = 192
    TILE = 32  # outputs per product on longer axes: larger matrices have more zeros, smaller ones mean more products

    def output_phases(self, axes: Axes) -> Counts:
        return 1, 1

    def resample(self, x: PolyphaseSignal, taps: Taps, axes: Axes, phases: Counts) -> PolyphaseSignal:
        dense = x.interleave()
        height, width = axes[0].out_size(x.height), axes[1].out_size(x.width)
        if max(height, width, x.height, x.width) <= self.MAX_DENSE:
            return PolyphaseSignal.from_dense(self._dense(dense, taps, axes, height, width))
        terms = [
            self._product(self._product(dense, taps[0][r], axes[0], 1), taps[1][r], axes[1], 2)
            for r in range(taps[0].shape[0])
        ]
        return PolyphaseSignal.from_dense(sum(terms[1:], terms[0]))

    def _dense(self, x: tf.Tensor, taps: Taps, axes: Axes, height: int, width: int) -> tf.Tensor:
        _, in_height, in_width, channels = x.shape
        terms = taps[0].shape[0]
        rows, columns = (
            np.stack([axis.matrix(term, size) for term in of_axis], axis=1)  # [out, terms, in]
            for of_axis, axis, size in zip(taps, axes, (in_height, in_width), strict=True)
        )
        x = tf.reshape(x, [-1, in_height, in_width * channels])
        x = tf.matmul(tf.constant(rows.reshape(height * terms, in_height), x.dtype), x)
        x = tf.reshape(x, [-1, height, terms * in_width, channels])
        return tf.matmul(tf.constant(columns.reshape(width, terms * in_width), x.dtype), x)

    def _product(self, x: tf.Tensor, taps: Any, axis: Axis, dim: int) -> tf.Tensor:
        out_size = axis.out_size(x.shape[dim])
        period = axis.up // math.gcd(axis.up, axis.down)
        tile = min(-(-self.TILE // period), -(-out_size // period)) * period
        tiles = -(-out_size // tile)
        step = tile * axis.down // axis.up  # input samples from one tile to the next
        matrix, first = _band(taps, axis, tile)
        reach = matrix.shape[1]

        x = _window(x, dim, first, (tiles - 1) * step + reach)
        if tiles > 1:
            index = np.arange(tiles)[:, None] * step + np.arange(reach)
            x = tf.gather(x, index.ravel(), axis=dim)
        height, width, channels = x.shape[1:]
        inner = width * channels if dim == 1 else channels
        y = tf.matmul(tf.constant(matrix, x.dtype), tf.reshape(x, [-1, reach, inner]))
        size = tiles * tile
        y = tf.reshape(y, [-1, size, width, channels] if dim == 1 else [-1, height, size, channels])
        return _slice(y, dim, 0, out_size, 1)


def _band(taps: Any, axis: Axis, tile: int) -> tuple[Any, int]:
    """Return the matrix [tile, reach] of the first `tile` outputs, and the input index of its first column."""
    first, before = -(axis.before // axis.up), axis.before % axis.up
    reach = max(((tile - 1) * axis.down + axis.num_taps - 1 - before) // axis.up + 1, 1)
    after = (tile - 1) * axis.down + axis.num_taps - before - reach * axis.up  # so that there are `tile` outputs
    return Axis(axis.up, axis.down, before, after, axis.num_taps).matrix(taps, reach), first


def _window(x: tf.Tensor, dim: int, start: int, length: int) -> tf.Tensor:
    """Return samples [start, start + length) along `dim`, zero outside x."""
    before, after = max(0, -start), max(0, start + length - x.shape[dim])
    if before or after:
        paddings = [[0, 0]] * 4
        paddings[dim] = [before, after]
        x = tf.pad(x, paddings)
    return _slice(x, dim, start + before, length, 1)


def _slice(x: tf.Tensor, dim: int, start: int, count: int, stride: int) -> tf.Tensor:
    if start == 0 and stride == 1 and count == x.shape[dim]:
        return x
    index = [slice(None)] * 4
    index[dim] = slice(start, start + (count - 1) * stride + 1, stride)
    return x[tuple(index)]
