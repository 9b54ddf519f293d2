"""Image-space filtering: octave bands of frequencies, amplified or damped (appendix B)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.augment.geometry import octave_bands
from trainer.augment.random_params import BANDS, AugmentParams

TRANSFORMS = ("imgfilter",)

GAIN_OCTAVES = 1.0  # standard deviation of the binary logarithm of an amplified band's gain
#: What share of an image's power the bands have, if power falls with the square of frequency.
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)


def band_gains(numbers: AugmentParams) -> tf.Tensor:
    """Gain of every band, [N, 4]: amplified each by chance, and all scaled each time to keep the expected power."""
    gains = tf.ones([1, BANDS], numbers.dtype)
    for i in range(BANDS):
        gain = numbers.if_happens(f"band{i}", tf.pow(2.0, GAIN_OCTAVES * numbers[f"band{i}"]), 1.0)
        # The power of gain on band i and 1 on the others; exactly 1 where gain is.
        keep = tf.math.rsqrt(1 + POWER[i] * (tf.square(gain) - 1))
        one_hot = tf.one_hot(i, BANDS, dtype=numbers.dtype)
        gains *= keep[:, None] * (1 + (gain[:, None] - 1) * one_hot)
    return gains


def filter_bands(images: tf.Tensor, gains: tf.Tensor) -> tf.Tensor:
    """Images [N, H, W, C], mirrored at their edges, with `gains` [N, 4] on their bands, vertically and horizontally.

    Images whose gains are all 1 pass unchanged, not even rounded.

    Gradient with respect to images: of any order.
    """
    taps = tf.reduce_sum(gains[:, :, None] * tf.constant(octave_bands(), gains.dtype), axis=1)
    filtered = tf.einsum("nip,npwc->niwc", _banded(taps, images.shape[1]), _mirrored(images, axis=1))
    filtered = tf.einsum("njp,nhpc->nhjc", _banded(taps, images.shape[2]), _mirrored(filtered, axis=2))
    changed = tf.reduce_any(gains != 1, axis=1)
    return tf.where(changed[:, None, None, None], filtered, images)


def _mirrored(images: tf.Tensor, axis: int) -> tf.Tensor:
    """Half a filter more at both ends of `axis`; mirrored as often as a small image needs."""
    half = octave_bands().shape[1] // 2
    return tf.gather(images, np.pad(np.arange(images.shape[axis]), half, mode="reflect"), axis=axis)


def _banded(taps: tf.Tensor, size: int) -> tf.Tensor:
    """The matrices [N, size, size + K - 1] that apply taps [N, K]."""
    count = taps.shape[1]
    offset = tf.range(size + count - 1)[None, :] - tf.range(size)[:, None]
    return tf.gather(tf.pad(taps, [[0, 0], [1, 1]]), tf.clip_by_value(offset + 1, 0, count + 1), axis=1)
