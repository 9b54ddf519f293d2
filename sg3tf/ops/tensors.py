"""Arguments, gradients and signatures of operations: checks, casts, static shapes."""

from __future__ import annotations

import tensorflow as tf


def check_images(x: tf.Tensor) -> tf.Tensor:
    """Return x as a floating-point tensor [N, H, W, C].

    Raises:
        ValueError: wrong rank; unknown height, width or channels; or not a floating dtype.
    """
    x = tf.convert_to_tensor(x)
    if x.shape.rank != 4 or None in x.shape[1:]:
        raise ValueError(f"x of shape {x.shape}: give [N, H, W, C] with H, W and C known")
    if not x.dtype.is_floating:
        raise ValueError(f"x of type {x.dtype.name}: cast it to a floating type first")
    return x


def with_shape_of(y: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
    """Return dy, the gradient of images y, with the static shape of y: those of tf.slice and others lack it."""
    return dy if dy.shape.rank == 4 and None not in dy.shape[1:] else tf.ensure_shape(dy, y.shape)


def at_least_float32(x: tf.Tensor) -> tf.Tensor:
    """Return x, cast to float32 if it is narrower, because 16-bit sums lose too much precision."""
    return tf.cast(x, tf.float32) if x.dtype.size < 4 else x


def batch_free_spec(images: tf.Tensor) -> tf.TensorSpec:
    """Return the signature of images [N, H, W, C] for any N."""
    return tf.TensorSpec([None, *images.shape[1:]], images.dtype)


def tensor_spec(tensor: tf.Tensor) -> tf.TensorSpec:
    """Return the signature of a tensor of fixed shape."""
    return tf.TensorSpec(tensor.shape, tensor.dtype)
