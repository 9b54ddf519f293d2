"""A generator whose images are known at every position: waves, with optional faults."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from sg3tf import GeneratorConfig
from sg3tf.utils.resolution import size_of

AMPLITUDE = 0.5
WAVES = 1.5  # cycles per image width, along any direction


@dataclasses.dataclass
class Waves:
    """A generator of images whose channels are waves of amplitude AMPLITUDE along the direction of z.

    As the three channels are a third of a cycle apart, their squares sum to the same at every position.

    Attributes:
        inverted: transforms images the opposite way.
        gain: factor on transformed images, only for samples of the last class where there are classes.
        noise: standard deviation, independent in each image.
        nan: puts a NaN into the corner of every image.
    """

    config: GeneratorConfig = dataclasses.field(default_factory=lambda: GeneratorConfig(32, z_dim=2))
    inverted: bool = False
    gain: float = 1.0
    noise: float = 0.0
    nan: bool = False
    variables: tuple[()] = ()
    dtype_policy = keras.DTypePolicy("float32")

    def mapping(self, z: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
        faulty = tf.ones_like(z[:, :1]) if label is None else label[:, -1:]
        return tf.concat([tf.math.l2_normalize(z, axis=1), faulty], axis=1)

    def synthesis(self, ws: tf.Tensor, transform: tf.Tensor) -> tf.Tensor:
        moves = tf.reduce_any(transform != tf.eye(3), axis=[1, 2])
        matrix = tf.cast(tf.linalg.inv(transform) if self.inverted else transform, tf.float64)
        width, height = size_of(self.config.resolution)
        x, y = np.meshgrid(*((np.arange(side) + 0.5 - side / 2) / width for side in (width, height)))  # in widths
        position = tf.einsum("nij,hwj->nhwi", matrix, np.stack([x, y, np.ones_like(x)], axis=-1))[..., :2]
        turns = WAVES * tf.einsum("nhwi,ni->nhw", position, tf.cast(ws[:, :2], tf.float64))
        images = AMPLITUDE * tf.sin(2 * np.pi * (turns[..., None] + np.arange(3) / 3))
        gain = 1 + (self.gain - 1) * tf.cast(moves, tf.float32) * ws[:, 2]
        images = tf.cast(images, tf.float32) * gain[:, None, None, None]
        images += self.noise * tf.random.stateless_normal(tf.shape(images), [0, 0])
        corner = np.zeros([height, width, 1], np.float32)
        corner[0, 0] = np.nan if self.nan else 0
        return images + corner
