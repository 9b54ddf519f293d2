"""Truncation, style mixing and transforms as TensorFlow functions; the NumPy versions are in sg3tf.latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def truncate(ws: tf.Tensor, w_avg: tf.Tensor, psi: Any = 1.0, cutoff: int | None = None) -> tf.Tensor:
    """Move style vectors toward the average w (arXiv 1812.04948, appendix B).

    Args:
        ws: float32 [N, num_ws, w_dim].
        w_avg: float32 [w_dim].
        psi: a number or [N]; 1 leaves them unchanged, 0 makes them the average.
        cutoff: number of leading style vectors to truncate; None for all.

    Returns:
        float32 [N, num_ws, w_dim].

    Raises:
        ValueError: psi is neither a number nor [N], or the cutoff is negative.
    """
    known = tf.get_static_value(cutoff)  # None for a tensor of a graph
    if known is not None and known < 0:
        raise ValueError(f"truncation_cutoff={known}: give 0 or more, or None for all")
    if isinstance(psi, (int, float)) and psi == 1:
        return ws
    average = tf.convert_to_tensor(w_avg)
    psi = tf.cast(psi, tf.float32)
    if ws.shape[0] is not None and psi.shape.num_elements() not in (None, 1, ws.shape[0]):
        raise ValueError(f"truncation_psi of shape {psi.shape}: give a number, or one for each of {ws.shape[0]} images")
    psi = tf.reshape(psi, [-1, 1, 1])
    truncated = average + psi * (ws - average)
    if cutoff is None:
        return truncated
    return tf.concat([truncated[:, :cutoff], ws[:, cutoff:]], axis=1)


def mix(ws_a: tf.Tensor, ws_b: tf.Tensor, from_b: tf.Tensor) -> tf.Tensor:
    """Mix styles: take the style vectors of `ws_b` where `from_b` is true, and those of `ws_a` elsewhere.

    Args:
        ws_a, ws_b: float32 [N, num_ws, w_dim].
        from_b: bool [N or 1, num_ws].

    Returns:
        float32 [N, num_ws, w_dim].
    """
    return tf.where(from_b[:, :, None], ws_b, ws_a)


def transform_matrix(motion: tf.Tensor) -> tf.Tensor:
    """Differentiable version of sg3tf.latents.transform_matrix.

    Args:
        motion: float32 [3]: angle in radians, clockwise on screen; then translation in image widths, right and down.

    Returns:
        float32 [1, 3, 3], the inverse of the motion, to pass as `transform`.
    """
    angle, tx, ty = tf.unstack(motion)
    cos, sin = tf.cos(angle), tf.sin(angle)
    zero, one = tf.zeros([]), tf.ones([])
    return stack_matrix([[cos, sin, -cos * tx - sin * ty], [-sin, cos, sin * tx - cos * ty], [zero, zero, one]])[None]


def stack_matrix(rows: Sequence[Sequence[tf.Tensor]]) -> tf.Tensor:
    """Stack elements [...] into matrices [..., rows, columns]."""
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)
