"""Forms of a convolution's weight gradient, against a sum in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from custom_ops.gpu import weight_gradients
from custom_ops.gpu.weight_gradients import FORMS, Shape, predicted_ms


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_the_gradient(form):
    random = np.random.RandomState(0)
    x, dy = random.randn(2, 7, 5, 3), random.randn(2, 9, 7, 4)
    exact = np.zeros([3, 3, 3, 4])
    padded = np.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]])
    for i in range(3):
        for j in range(3):
            exact[i, j] = np.einsum("nhwi,nhwo->io", padded[:, i : i + 9, j : j + 7], dy)
    got = FORMS[form](tf.constant(x, tf.float32), tf.constant(dy, tf.float32), 3)
    # Sums of 70 products of numbers of unit variance: each rounding is at most 2^-24 of about sqrt(70).
    assert np.abs(got - exact).max() < 70 * 2.0**-24 * 70**0.5


def test_shapes_are_those_of_the_networks():
    shapes = {shape.name: shape for shape in weight_gradients.shapes()}
    assert shapes["t256_L2"].dtype == "float32" and shapes["t256_L2"].side == 36
    assert shapes["t1024_L13"].dtype == "float16" and shapes["t1024_L13"].batch == 4


def test_prediction_of_a_memory_bound_shape():
    shape = Shape("thin", 1, 1000, 8, 8, "float16")
    bytes_moved = 2 * 8 * (1000**2 + 1002**2)
    assert predicted_ms(shape, "transposed") == pytest.approx(bytes_moved / 4.25e12 * 1e3)
