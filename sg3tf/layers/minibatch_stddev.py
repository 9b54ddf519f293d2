"""Minibatch standard deviation: lets the discriminator see variety (arXiv 1710.10196, section 3)."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("sg3tf")
class MinibatchStddev(keras.layers.Layer):
    """Appends, as constant channels, how much the images of a group differ.

    Image n belongs to group n modulo (N / group size). Under a distribution strategy groups form within a replica.

    Args:
        group_size: images per group, at most; the batch, where it is smaller, is one group.
        num_channels: statistics per group, each over its share of the channels.

    Call: x [N, H, W, C] -> [N, H, W, C + num_channels]; N must be a multiple of the group size.
    """

    def __init__(self, group_size: int, num_channels: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group_size = group_size
        self.num_channels = num_channels

    def call(self, x: tf.Tensor) -> tf.Tensor:
        batch = x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]
        _, height, width, channels = x.shape
        group = min(self.group_size, batch) if isinstance(batch, int) else tf.minimum(self.group_size, batch)
        if isinstance(batch, int) and batch and batch % group:
            raise ValueError(
                f"batch of {batch} images is not a multiple of mbstd_group_size={self.group_size}: "
                "change one of the two"
            )
        shape = [group, -1, height, width, self.num_channels, channels // self.num_channels]
        y = tf.reshape(tf.cast(x, tf.float32), shape)
        y = y - tf.reduce_mean(y, axis=0, keepdims=True)
        y = tf.sqrt(tf.reduce_mean(tf.square(y), axis=0) + 1e-8)
        y = tf.cast(tf.reduce_mean(y, axis=[1, 2, 4]), x.dtype)  # [N / group, num_channels]
        y = tf.tile(y[:, None, None, :], [group, height, width, 1])
        return tf.concat([x, y], axis=3)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        *outer, channels = input_shape
        return (*outer, channels and channels + self.num_channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "group_size": self.group_size, "num_channels": self.num_channels}
