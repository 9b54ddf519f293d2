"""Exported functions: what becomes an argument, what a result; run by JAX."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest
import tensorflow as tf

from custom_ops.gpu import stablehlo
from custom_ops.gpu.pjrt import Program
from sg3tf.models import layers
from sg3tf.ops import scale_channels, sum_pixels, upfirdn2d


def test_variables_are_arguments_and_their_new_values_results():
    scale, count, offset = tf.Variable([2.0, 3.0]), tf.Variable(5.0), tf.constant([10.0, 20.0])

    def function(inputs):
        count.assign_add(tf.reduce_sum(inputs["x"]))
        return {"y": inputs["x"] * scale + offset, "count": count.read_value()}

    x, empty = np.float32([1, 4]), np.zeros([2, 0], np.float32)
    exported = stablehlo.export(function, {"empty": empty, "x": x}, backend="matmul")
    assert exported.updated == [count] and count.numpy() == 5.0
    assert len(exported.captured) == 3 and {id(scale), id(count)} < {id(c) for c in exported.captured}
    program = Program(exported.text)
    arguments = jax.device_put([x, *(c.numpy() for c in exported.captured)])
    for _ in range(2):  # arguments are not donated
        now, y, updated = map(np.asarray, program(arguments))
        assert y.tolist() == [12.0, 32.0] and now == updated == 10.0


def test_products_are_exact():
    """In TF32, a GPU would round their operands to eleven bits."""
    kernel = np.ones([3, 3, 4, 4], np.float32)
    exported = stablehlo.export(
        lambda x: tf.nn.conv2d(x, kernel, 1, "SAME") @ kernel[0, 0], np.ones([1, 8, 8, 4], np.float32), backend="matmul"
    )
    assert "HIGHEST" in exported.text and "DEFAULT" not in exported.text


def test_backend_is_kept_under_xla():
    """Banded matrices for "matmul", which has dot products; neither those nor custom calls for "xla"."""

    def function(x):
        return upfirdn2d(x, [1.0, 3.0, 3.0, 1.0], up=2, pad=(2, 1, 2, 1))

    x = np.zeros([1, 8, 8, 4], np.float32)
    matmul, xla = (stablehlo.export(function, x, backend=backend).text for backend in ("matmul", "xla"))
    assert "stablehlo.dot" in matmul and "stablehlo.dot" not in xla
    assert "custom_call" not in matmul + xla


@pytest.mark.native
def test_native_operations_are_custom_calls():
    def function(x):
        return upfirdn2d(x, [1.0, 1.0], down=2)

    text = stablehlo.export(function, np.zeros([1, 8, 8, 4], np.float32), backend="native").text
    assert "custom_call @sg3_upfirdn2d" in text


@pytest.mark.native
def test_channels_need_no_custom_calls():
    """Machines with a GPU have none of them, in gradients either."""

    def function(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layers.add_bias(scale_channels(x, x[:, 0, 0]), tf.ones([4]))
            total = tf.reduce_sum(sum_pixels(y, y)) + tf.reduce_sum(sum_pixels(y))
        return tape.gradient(total, x)

    for dtype in (np.float32, np.float16):
        text = stablehlo.export(function, np.zeros([2, 8, 8, 4], dtype), backend="native").text
        assert "stablehlo.reduce" in text and "custom_call" not in text


@pytest.mark.native
def test_kernels_for_cpus_alone_are_not_exported():
    """The gradient of theirs is a convolution that takes long on GPUs (docs/adr/0023-weight-gradients.md)."""
    kernel = np.zeros([3, 3, 16, 16], np.float32)

    def function(x):
        with tf.GradientTape() as tape:
            tape.watch(weights := tf.constant(kernel))
            y = tf.reduce_sum(layers.conv2d(x, weights) ** 2)
        return tape.gradient(y, weights)

    x = np.zeros([2, 8, 8, 16], np.float32)
    native, xla = (stablehlo.export(function, x, backend=backend).text for backend in ("native", "xla"))
    assert re.sub(r"module @\S+", "", native) == re.sub(r"module @\S+", "", xla)


def test_float16_convolutions_stay_float16():
    kernel = np.zeros([3, 3, 2, 2], np.float32)
    x = np.zeros([1, 8, 8, 2], np.float16)
    exported = stablehlo.export(lambda x: layers.conv2d(x, kernel), x, backend="matmul")
    (convolution,) = [line for line in exported.text.splitlines() if "stablehlo.convolution" in line]
    assert "xf16>" in convolution and "f32" not in convolution


def test_programs_name_no_files():
    text = stablehlo.export(lambda x: tf.tanh(x) + 1, np.zeros([3], np.float32), backend="matmul").text
    assert ".py" not in text and "mhlo" not in text
