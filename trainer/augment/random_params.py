"""The random numbers of the augmentation: a row for every image, a column for every number.

They are drawn in NumPy for the global batch, as latents are, and travel with it: neither the number of replicas nor
the device nor what compiles the graph changes them.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

BANDS = 4

_BANDS = tuple(f"band{i}" for i in range(BANDS))
#: What happens to an image or not, each decided alone.
_MOVES = ("xflip", "rotate90", "xint", "scale", "pre_rotate", "aniso", "post_rotate", "xfrac")
_COLOURS = ("brightness", "contrast", "lumaflip", "hue", "saturation")
_EVENTS = (*_MOVES, *_COLOURS, *_BANDS, "noise", "cutout")
_UNIFORM = (
    *("xflip", "rotate90", "xint_x", "xint_y", "pre_rotate", "post_rotate", "lumaflip", "hue"),
    *("cutout_x", "cutout_y", "noise_key0", "noise_key1"),
)
_NORMAL = ("scale", "aniso", "xfrac_x", "xfrac_y", "brightness", "contrast", "saturation", *_BANDS, "noise")

#: Adding to them changes every number of a run: they decide what a checkpoint continues with.
COLUMNS = (*(f"{event}?" for event in _EVENTS), *_UNIFORM, *_NORMAL)
NORMAL_COLUMNS = frozenset(_NORMAL)


def sample_params(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Numbers for `count` images, float32 [count, len(COLUMNS)]: uniform in [0, 1), then standard normal."""
    uniform = rng.random([count, len(COLUMNS) - len(_NORMAL)], np.float32)
    normal = rng.standard_normal([count, len(_NORMAL)], np.float32)
    return np.concatenate([uniform, normal], axis=1)


class AugmentParams:
    """What `draw` drew, as tensors, together with the probability that decides what happens.

    Args:
        values: float32 [N, len(COLUMNS)].
        probability: float [] or [N], of every event of an image.
        dtype: of the numbers handed out.
    """

    def __init__(self, values: tf.Tensor, probability: tf.Tensor, dtype: tf.DType) -> None:
        self._values, self._probability, self.dtype = values, probability, dtype

    def __getitem__(self, name: str) -> tf.Tensor:
        """The number `name` of every image, [N]."""
        return tf.cast(self._raw(name), self.dtype)

    def if_happens(self, event: str, value: tf.Tensor, otherwise: float) -> tf.Tensor:
        """[N]: `value` [N] in images to which `event` happens, `otherwise` in the others."""
        return self._where(event, self._probability, value, otherwise)

    def if_either_happens(self, event: str, value: tf.Tensor, otherwise: float) -> tf.Tensor:
        """As if_happens, for one of two events of which together at least one shall happen with the probability."""
        # 1 - sqrt(1 - p), without the cancellation of small p.
        share = self._probability / (1 + tf.sqrt(tf.maximum(1 - self._probability, 0)))
        return self._where(event, share, value, otherwise)

    def bits(self, name: str) -> tf.Tensor:
        """int32 [N], different where the uniform number `name` is: a key for further draws."""
        return tf.bitcast(self._raw(name), tf.int32)

    def _raw(self, name: str) -> tf.Tensor:
        return self._values[:, COLUMNS.index(name)]

    def _where(self, event: str, probability: tf.Tensor, value: tf.Tensor, otherwise: float) -> tf.Tensor:
        # A draw is below 1, so that 1 is always and 0 is never.
        return tf.where(self._raw(f"{event}?") < probability, value, tf.constant(otherwise, value.dtype))
