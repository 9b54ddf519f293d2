"""Random parameters as tensors, and the transforms that they activate."""

from __future__ import annotations

import tensorflow as tf

from trainer.augment.random_params import COLUMNS


class AugmentParams:
    """Parameters as tensors, with the probability that transforms are active.

    Args:
        values: float32 [N, len(COLUMNS)], from sample_params.
        probability: float [] or [N], probability of every transform of an image.
        dtype: type of the parameters returned.
    """

    def __init__(self, values: tf.Tensor, probability: tf.Tensor, dtype: tf.DType) -> None:
        self._values, self._probability, self.dtype = values, probability, dtype

    def __getitem__(self, name: str) -> tf.Tensor:
        """Parameter `name` of every image, [N]."""
        return tf.cast(self._raw(name), self.dtype)

    def where_active(self, event: str, value: tf.Tensor, otherwise: float) -> tf.Tensor:
        """`value` [N] for images in which the transform `event` is active, `otherwise` for the others; [N]."""
        return self._where(event, self._probability, value, otherwise)

    def where_either_active(self, event: str, value: tf.Tensor, otherwise: float) -> tf.Tensor:
        """Like where_active, for one of two events: the probability is that of at least one of the two."""
        # 1 - sqrt(1 - p), without the cancellation of small p.
        share = self._probability / (1 + tf.sqrt(tf.maximum(1 - self._probability, 0)))
        return self._where(event, share, value, otherwise)

    def bits(self, name: str) -> tf.Tensor:
        """Bits of the uniform parameter `name`, int32 [N]: a key for further random numbers."""
        return tf.bitcast(self._raw(name), tf.int32)

    def _raw(self, name: str) -> tf.Tensor:
        return self._values[:, COLUMNS.index(name)]

    def _where(self, event: str, probability: tf.Tensor, value: tf.Tensor, otherwise: float) -> tf.Tensor:
        # Draws are in [0, 1): a probability of 1 means always, and 0 means never.
        return tf.where(self._raw(f"{event}?") < probability, value, tf.constant(otherwise, value.dtype))
