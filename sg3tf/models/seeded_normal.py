"""Random numbers per image, each from its own seed and independent of its position in the batch."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def random_bits(seeds: tf.Tensor, shape: tf.TensorShape | list[int], dtype: tf.DType) -> tf.Tensor:
    """Uniform integers [N, *shape] over the full range of int32 or uint32, from seeds int32 [N, 2].

    The algorithm is explicit because tf.random.stateless_normal gives different numbers when XLA compiles it. The loop
    produces int32, the same bits, because TensorFlow has no uint32 lists on GPUs: it would keep them on the host.
    """
    bits = tf.map_fn(
        lambda seed: tf.random.stateless_uniform(shape, seed, None, None, tf.int32, alg="philox"),
        seeds,
        fn_output_signature=tf.TensorSpec(shape, tf.int32),
    )
    return bits if dtype == tf.int32 else tf.bitcast(bits, dtype)


def standard_normal(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """Standard normal numbers, float32 [N, count], by the Box-Muller transform, from seeds int32 [N, 2].

    Args:
        seeds: one per row.
        count: numbers per row.
    """
    bits = random_bits(seeds, [2, (count + 1) // 2], tf.uint32)  # in pairs
    uniform = (tf.cast(bits, tf.float32) + 0.5) * 2.0**-32  # in (0, 1]
    radius, angle = tf.sqrt(-2 * tf.math.log(uniform[:, 0])), 2 * np.pi * uniform[:, 1]
    return tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)[:, :count]
