"""Two ways to say a one-dimensional resampling in stock TensorFlow operations.

`by_slices` never multiplies by an inserted zero and is what XLA fuses best; without XLA each of its small
operations passes over memory on its own. `by_matmul` multiplies by a banded matrix, tile by tile: more
arithmetic, but in few large operations, so that it is the faster one where nothing compiles the graph.
docs/adr/0002 has the measurements.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from sg3tf.ops.resampling import Axis

TILE = 32  # outputs per matrix product; the band fills a larger matrix worse, a smaller one costs more calls


Axes = tuple[Axis, Axis]  # (vertical, horizontal)
Taps = tuple[Any, Any]  # vertical [terms, Ky] and horizontal [terms, Kx], NumPy or tensors


class AxisLowering(Protocol):
    """Applies `axis` with correlation taps [K] along dimension `dim` (1 or 2) of x [N, H, W, C]."""

    def __call__(self, x: tf.Tensor, taps: Any, axis: Axis, dim: int) -> tf.Tensor: ...


def resample(x: tf.Tensor, taps: Taps, axes: Axes, lowering: AxisLowering) -> tf.Tensor:
    """Applies the sum over r of the separable filters taps[0][r] (vertical) and taps[1][r] (horizontal)."""
    terms = [
        lowering(lowering(x, taps_y, axes[0], 1), taps_x, axes[1], 2)
        for taps_y, taps_x in zip(_unstacked(taps[0]), _unstacked(taps[1]), strict=True)
    ]
    return sum(terms[1:], terms[0])


def _unstacked(taps: Any) -> list[Any]:
    return [taps[term] for term in range(taps.shape[0])]


def by_slices(x: tf.Tensor, taps: Any, axis: Axis, dim: int) -> tf.Tensor:
    """Polyphase form, for XLA only: every output phase is a sum of strided slices of the input times a tap."""
    # Else XLA computes the pass before this one again for every tap (ten times slower to compile with 2D filters).
    (x,) = gen_xla_ops.xla_optimization_barrier([x])
    in_size = x.shape[dim]
    out_size = axis.out_size(in_size)
    phases = axis.up // math.gcd(axis.up, axis.down)
    stride = phases * axis.down // axis.up
    count = -(-out_size // phases)  # outputs per phase

    # Output phase p, tap k reads input (p * down + k - before) / up + stride * q wherever that is whole.
    reads = [
        [
            (k, (p * axis.down + k - axis.before) // axis.up)
            for k in range(axis.num_taps)
            if (p * axis.down + k - axis.before) % axis.up == 0
        ]
        for p in range(phases)
    ]
    starts = [start for phase in reads for _, start in phase] or [0]
    first = min(starts)
    x = _window(x, dim, first, max(starts) - first + (count - 1) * stride + 1)

    def phase_sum(phase: list[tuple[int, int]]) -> tf.Tensor:
        slices = [_slice(x, dim, start - first, count, stride) * taps[k] for k, start in phase]
        return sum(slices[1:], slices[0]) if slices else tf.zeros_like(_slice(x, dim, 0, count, stride))

    outputs = [phase_sum(phase) for phase in reads]
    if phases == 1:
        return outputs[0]
    y = tf.stack(outputs, dim + 1)
    return _slice(_reshaped(y, x, dim, count * phases), dim, 0, out_size, 1)


def by_matmul(x: tf.Tensor, taps: Any, axis: Axis, dim: int) -> tf.Tensor:
    """Banded-matrix form; `taps` must be NumPy, for the matrix is made while the graph is traced."""
    out_size = axis.out_size(x.shape[dim])
    phases = axis.up // math.gcd(axis.up, axis.down)
    tile = min(-(-TILE // phases), -(-out_size // phases)) * phases
    tiles = -(-out_size // tile)
    step = tile * axis.down // axis.up  # input samples from one tile to the next

    first = -(axis.before // axis.up)
    last = ((tile - 1) * axis.down + axis.num_taps - 1 - axis.before) // axis.up
    reach = max(last - first + 1, 1)
    matrix = np.zeros([tile, reach])
    for out in range(tile):
        for k in range(axis.num_taps):
            position = out * axis.down + k - axis.before
            if position % axis.up == 0:
                matrix[out, position // axis.up - first] += taps[k]

    x = _window(x, dim, first, (tiles - 1) * step + reach)
    if tiles > 1:
        index = np.arange(tiles)[:, None] * step + np.arange(reach)
        x = tf.gather(x, index.ravel(), axis=dim)
    height, width, channels = x.shape[1:]
    inner = width * channels if dim == 1 else channels
    y = tf.matmul(tf.constant(matrix, x.dtype), tf.reshape(x, [-1, reach, inner]))
    y = tf.reshape(y, [-1, tiles * tile, width, channels] if dim == 1 else [-1, height, tiles * tile, channels])
    return _slice(y, dim, 0, out_size, 1)


def _window(x: tf.Tensor, dim: int, start: int, length: int) -> tf.Tensor:
    """Samples [start, start + length) along `dim`; zeros where x has none."""
    size = x.shape[dim]
    before, after = max(0, -start), max(0, start + length - size)
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


def _reshaped(y: tf.Tensor, like: tf.Tensor, dim: int, size: int) -> tf.Tensor:
    shape = [-1, *like.shape[1:]]
    shape[dim] = size
    return tf.reshape(y, shape)
