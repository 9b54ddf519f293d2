"""The matrix that is optimised against the one that users give, and its gradient against finite differences."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from sg3tf.editing.projector import transform_matrix_tf
from sg3tf.latents import transform_matrix

MOTION = np.array([0.7, -0.2, 0.11])


def test_the_matrix_of_latents():
    np.testing.assert_allclose(
        transform_matrix_tf(tf.constant(MOTION, tf.float32))[0], transform_matrix(*MOTION), atol=1e-6
    )


def test_gradient():
    motion = tf.constant(MOTION, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(motion)
        matrix = transform_matrix_tf(motion)[0]
    step = 1e-3  # rounding of transform_matrix to 2**-24 makes errors of 1e-4
    for column, found in enumerate(tf.unstack(tape.jacobian(matrix, motion), axis=-1)):
        change = step * np.eye(3)[column]
        expected = (transform_matrix(*(MOTION + change)) - transform_matrix(*(MOTION - change))) / (2 * step)
        np.testing.assert_allclose(found, expected, atol=2e-4)
