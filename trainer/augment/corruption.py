"""Image-space corruptions: noise and cutout (appendix B)."""

from __future__ import annotations

import math

import tensorflow as tf

from sg3tf.models.seeded_normal import random_bits
from trainer.augment.augment_params import AugmentParams

NOISE = 0.1  # scale of the half-normal standard deviation of the noise
CUTOUT = 0.5  # share of the width and height that is cut out


def add_noise(images: tf.Tensor, params: AugmentParams) -> tf.Tensor:
    """Add Gaussian noise, independent for every pixel and channel, with a random strength per image."""
    sigma = params.where_active("noise", NOISE * tf.abs(params["noise"]), 0.0)
    keys = tf.stack([params.bits("noise_key0"), params.bits("noise_key1")], axis=1)
    return images + sigma[:, None, None, None] * _normal(keys, images.shape[1:], params.dtype)


def _normal(keys: tf.Tensor, shape: tf.TensorShape, dtype: tf.DType) -> tf.Tensor:
    """Standard normal numbers [N, *shape]; those of an image depend on its key only, not on its place in the batch."""
    bits = random_bits(keys, [2, *shape], tf.int32)
    uniform = tf.cast(bits, dtype) * 2.0**-32 + 0.5
    # Box-Muller transform; the bound is half of the smallest uniform number above 0.
    radius = tf.sqrt(-2 * tf.math.log(tf.maximum(uniform[:, 0], 2.0**-26)))
    return radius * tf.cos(2 * math.pi * uniform[:, 1])


def cut_out(images: tf.Tensor, params: AugmentParams) -> tf.Tensor:
    """Set a rectangle of half the width and height to 0; its center is anywhere in the image."""
    half = params.where_active("cutout", CUTOUT / 2 + tf.zeros_like(params["cutout_x"]), 0.0)[:, None]

    def inside(center: tf.Tensor, size: int) -> tf.Tensor:
        pixels = (tf.range(size, dtype=params.dtype) + 0.5) / size
        return tf.abs(pixels[None, :] - center[:, None]) < half

    rows, columns = inside(params["cutout_y"], images.shape[1]), inside(params["cutout_x"], images.shape[2])
    hole = tf.logical_and(rows[:, :, None, None], columns[:, None, :, None])
    return tf.where(hole, tf.zeros_like(images), images)
