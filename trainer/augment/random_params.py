"""Random parameters of the augmentation: a row for every image, a column for every parameter.

They are drawn in NumPy for the global batch, as latents are, and are split with it: neither the number of replicas nor
the device nor the compiler of the graph changes them.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

BANDS = 4

_BANDS = tuple(f"band{i}" for i in range(BANDS))
#: Transforms that are active in an image or not, independently of each other.
_MOVES = ("xflip", "rotate90", "xint", "scale", "pre_rotate", "aniso", "post_rotate", "xfrac")
_COLORS = ("brightness", "contrast", "lumaflip", "hue", "saturation")
_EVENTS = (*_MOVES, *_COLORS, *_BANDS, "noise", "cutout")
_UNIFORM = (
    *("xflip", "rotate90", "xint_x", "xint_y", "pre_rotate", "post_rotate", "lumaflip", "hue"),
    *("cutout_x", "cutout_y", "noise_key0", "noise_key1"),
)
_NORMAL = ("scale", "aniso", "xfrac_x", "xfrac_y", "brightness", "contrast", "saturation", *_BANDS, "noise")

#: A new column changes all parameters of a run, also of one that is resumed from an older checkpoint.
COLUMNS = (*(f"{event}?" for event in _EVENTS), *_UNIFORM, *_NORMAL)
NORMAL_COLUMNS = frozenset(_NORMAL)


def sample_params(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Parameters of `count` images, float32 [count, len(COLUMNS)]: uniform in [0, 1), then standard normal."""
    uniform = rng.random([count, len(COLUMNS) - len(_NORMAL)], np.float32)
    normal = rng.standard_normal([count, len(_NORMAL)], np.float32)
    return np.concatenate([uniform, normal], axis=1)


class AugmentParams:
    """Parameters as tensors, with the probability that decides which transforms are active.

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
        # A draw is below 1, so that 1 is always and 0 is never.
        return tf.where(self._raw(f"{event}?") < probability, value, tf.constant(otherwise, value.dtype))
