"""Native operations in a process of their own: TensorFlow fixes its threads and devices at the start.

Usage: python -m tests.helpers.native_worker OUT THREADS
OUT is an npz file with the results of `values_and_gradients`, and with the loss and the trained parameters after a
training step of two replicas ("replicas/...") and of one ("one/...").
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from sg3tf.models.filters import low_pass
from sg3tf.ops import filtered_lrelu, scale_channels, sum_pixels, upfirdn2d, use_backend
from sg3tf.ops.conv3x3 import conv3x3
from tests.helpers.numerics import Array

UP, DOWN = low_pass(12, 4, 12, 32), low_pass(12, 5, 11, 32)
SHAPE = (4, 33, 29, 21)  # enough for several tiles
GEOMETRY = {"up": 2, "down": 2, "pad": (9, 10, 9, 10), "clamp": 0.8}


def images(seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def value_and_gradient(operation: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return operation(x) and the gradient of half its sum of squares."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = operation(x)
    return y, tape.gradient(y, x, y)


def values_and_gradients() -> dict[str, Array]:
    """Values and gradients of all operations in two types."""
    results = {}
    for dtype in (tf.float32, tf.bfloat16):
        x = tf.cast(images(1), dtype)
        for name, operation in (
            ("upfirdn2d", lambda x: upfirdn2d(x, UP, up=2, down=3, pad=(3, 9, 4, 6), impl="native")),
            ("filtered_lrelu", lambda x: filtered_lrelu(x, UP, DOWN, x[0, 0, 0], **GEOMETRY, impl="native")),
            ("scale_channels", lambda x: scale_channels(x, x[:, 0, 0], impl="native")),
            ("sum_pixels", lambda x: sum_pixels(x, x, impl="native")),
        ):
            value, gradient = value_and_gradient(operation, x)
            results[f"{name}/{dtype.name}/value"] = np.float32(value)
            results[f"{name}/{dtype.name}/gradient"] = np.float32(gradient)
    x = tf.constant(images(1))
    kernel = tf.constant(np.random.default_rng(2).normal(size=(3, 3, SHAPE[3], 40)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = conv3x3(x, kernel, pad=2)
    results["conv3x3/value"] = y.numpy()
    results["conv3x3/by x"], results["conv3x3/by kernel"] = map(np.float32, tape.gradient(y, [x, kernel], y))
    return results


def training_step(strategy: tf.distribute.Strategy) -> dict[str, Array]:
    """One step, in a graph: a 1x1 convolution, then both operations."""
    with strategy.scope():
        kernel, bias = tf.Variable(np.eye(SHAPE[3], dtype=np.float32)), tf.Variable(tf.zeros(SHAPE[3]))

    def replica(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            y = filtered_lrelu(x @ kernel, UP, DOWN, bias, **GEOMETRY)
            loss = tf.reduce_sum(upfirdn2d(y, DOWN, down=2, pad=(5, 5, 5, 5)) ** 2) / SHAPE[0]
        for variable, gradient in zip((kernel, bias), tape.gradient(loss, (kernel, bias)), strict=True):
            total = tf.distribute.get_replica_context().all_reduce("sum", gradient)
            variable.assign_sub(1e-3 * total)
        return loss

    @tf.function
    def step(x: tf.distribute.DistributedValues) -> tf.Tensor:
        return strategy.reduce("sum", strategy.run(replica, (x,)), axis=None)

    count = strategy.num_replicas_in_sync
    parts = np.split(images(1), count)
    x = strategy.experimental_distribute_values_from_function(lambda c: parts[c.replica_id_in_sync_group])
    with use_backend("native"):
        return {"loss": step(x).numpy(), "kernel": kernel.numpy(), "bias": bias.numpy(), "count": np.int64(count)}


def main(out: str, threads: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    mirrored = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.HierarchicalCopyAllReduce(num_packs=1)
    )
    arrays = values_and_gradients()
    for name, strategy in (("replicas", mirrored), ("one", tf.distribute.get_strategy())):
        arrays |= {f"{name}/{key}": value for key, value in training_step(strategy).items()}
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
