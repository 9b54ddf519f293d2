"""Image-space corruptions: noise and cutout (appendix B)."""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.augment.random_params import AugmentParams

NOISE = 0.1  # scale of the half-normal standard deviation of the noise
CUTOUT = 0.5  # share of the width and height that is cut out


def add_noise(images: tf.Tensor, numbers: AugmentParams) -> tf.Tensor:
    """Gaussian noise, independent for every pixel and channel, as strong as the image's numbers say."""
    sigma = numbers.if_happens("noise", NOISE * tf.abs(numbers["noise"]), 0.0)
    keys = tf.stack([numbers.bits("noise_key0"), numbers.bits("noise_key1")], axis=1)
    return images + sigma[:, None, None, None] * _normal(keys, images.shape[1:], numbers.dtype)


def _normal(keys: tf.Tensor, shape: tf.TensorShape, dtype: tf.DType) -> tf.Tensor:
    """Standard normal numbers [N, *shape], of each image by its own key, wherever it stands in the batch."""
    two = tf.TensorSpec([2, *shape], tf.int32)
    # From bits, and by a named algorithm: TensorFlow's normal numbers are others where XLA compiles them.
    bits = tf.map_fn(
        lambda key: tf.random.stateless_uniform(two.shape, key, None, None, tf.int32, alg="philox"),
        keys,
        fn_output_signature=two,
    )
    uniform = tf.cast(bits, dtype) * 2.0**-32 + 0.5
    # The transform of Box and Muller; the bound is half of the least that float32 tells from 0 here.
    radius = tf.sqrt(-2 * tf.math.log(tf.maximum(uniform[:, 0], 2.0**-26)))
    return radius * tf.cos(2 * math.pi * uniform[:, 1])


def cut_out(images: tf.Tensor, numbers: AugmentParams) -> tf.Tensor:
    """A rectangle of half the width and height set to 0; its centre is anywhere in the image."""
    half = numbers.if_happens("cutout", CUTOUT / 2 + tf.zeros_like(numbers["cutout_x"]), 0.0)[:, None]

    def inside(centre: tf.Tensor, size: int) -> tf.Tensor:
        pixels = (tf.range(size, dtype=numbers.dtype) + 0.5) / size
        return tf.abs(pixels[None, :] - centre[:, None]) < half

    rows, columns = inside(numbers["cutout_y"], images.shape[1]), inside(numbers["cutout_x"], images.shape[2])
    hole = tf.logical_and(rows[:, :, None, None], columns[:, None, :, None])
    return tf.where(hole, tf.zeros_like(images), images)
