"""Gradients where TensorFlow loses static shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tests.helpers.numerics import Array


def gradients_of_a_slice(operation: Callable[[tf.Tensor], tf.Tensor], x: Array) -> tuple[list[Array], list[Array]]:
    """Return first and second gradients of a loss on a slice of operation(x): in a graph without a batch size, eagerly.

    The gradient of tf.slice has no static shape if the batch is unknown.
    """

    def gradients(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(tf.slice(operation(x), [0, 1, 1, 0], [1, 2, 2, 3]) ** 2)
            gradient = inner.gradient(loss, x)
            loss = tf.reduce_sum(tf.slice(gradient, [0, 1, 1, 0], [1, 2, 2, 3]) ** 2)
        return gradient, outer.gradient(loss, x)

    images = tf.constant(x)
    in_graph = tf.function(
        gradients, autograph=False, input_signature=[tf.TensorSpec([None, *x.shape[1:]], images.dtype)]
    )
    return [np.asarray(g) for g in in_graph(images)], [np.asarray(g) for g in gradients(images)]
