"""An image's position as numbers that can be optimised."""

from __future__ import annotations

import tensorflow as tf


def transform_of(motion: tf.Tensor) -> tf.Tensor:
    """What sg3tf.latents.transform_matrix gives, with a gradient.

    Args:
        motion: float32 [3]: angle in radians, clockwise on the screen; then image widths to the right, and down.

    Returns:
        float32 [1, 3, 3], the inverse of the motion, for `transform`.
    """
    angle, tx, ty = tf.unstack(motion)
    cos, sin = tf.cos(angle), tf.sin(angle)
    zero, one = tf.zeros([]), tf.ones([])
    rows = [[cos, sin, -cos * tx - sin * ty], [-sin, cos, sin * tx - cos * ty], [zero, zero, one]]
    return tf.stack([tf.stack(row) for row in rows])[None]
