"""Image-space filtering: octave bands of frequencies, amplified or attenuated (appendix B)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.augment.augment_params import AugmentParams
from trainer.augment.random_params import BANDS

Array = NDArray[np.float64]

GAIN_OCTAVES = 1.0  # standard deviation of the binary logarithm of an amplified band's gain
#: Share of each band in an image's power, if power is inversely proportional to the square of frequency.
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)


def octave_bands() -> Array:
    """Four symmetric filters [4, 43] that add up to a unit impulse: frequencies up to pi/8, pi/4, pi/2 and pi.

    Appendix B builds them from sym2, Daubechies' orthogonal 4-tap filter. With its power response P as a filter and
    Q = 1 - P, P keeps the lower half of the frequencies and Q the upper half. P and Q at twice the spacing then split
    the next octave off the part that P has kept.
    """
    root = np.sqrt(3)
    sym2 = np.array([1 + root, 3 + root, 3 - root, 1 - root]) / 8
    low = np.convolve(sym2, sym2[::-1])
    high = _unit_impulse(len(low)) - low
    bands, kept = [], np.ones(1)
    for octave in range(3):
        bands.append(np.convolve(kept, _spread(high, 2**octave)))
        kept = np.convolve(kept, _spread(low, 2**octave))
    bands.append(kept)
    width = len(kept)
    return np.stack([np.pad(band, (width - len(band)) // 2) for band in reversed(bands)])


def _unit_impulse(size: int) -> Array:
    return (np.arange(size) == size // 2).astype(np.float64)


def _spread(taps: Array, spacing: int) -> Array:
    """Taps of the filter f(z^spacing)."""
    spread = np.zeros((len(taps) - 1) * spacing + 1)
    spread[::spacing] = taps
    return spread


def band_gains(params: AugmentParams) -> tf.Tensor:
    """Gains [N, 4] of the bands: each is amplified at random, and all are then scaled to keep the expected power."""
    gains = tf.ones([1, BANDS], params.dtype)
    for i in range(BANDS):
        gain = params.where_active(f"band{i}", tf.pow(2.0, GAIN_OCTAVES * params[f"band{i}"]), 1.0)
        # Inverse root of the power with this gain on band i and 1 on the others; exactly 1 if the gain is 1.
        # tf.math.rsqrt(1) is 0.9999999 on some processors.
        keep = 1 / tf.sqrt(1 + POWER[i] * (tf.square(gain) - 1))
        one_hot = tf.one_hot(i, BANDS, dtype=params.dtype)
        gains *= keep[:, None] * (1 + (gain[:, None] - 1) * one_hot)
    return gains


def filter_bands(images: tf.Tensor, gains: tf.Tensor) -> tf.Tensor:
    """Apply `gains` [N, 4] to the bands of images [N, H, W, C], vertically and horizontally, mirroring at the edges.

    Images whose gains are all 1 pass unchanged, not even rounded.

    Gradient with respect to images: of any order.
    """
    taps = tf.reduce_sum(gains[:, :, None] * tf.constant(octave_bands(), gains.dtype), axis=1)
    filtered = tf.einsum("nip,npwc->niwc", _banded(taps, images.shape[1]), _mirrored(images, axis=1))
    filtered = tf.einsum("njp,nhpc->nhjc", _banded(taps, images.shape[2]), _mirrored(filtered, axis=2))
    changed = tf.reduce_any(gains != 1, axis=1)
    return tf.where(changed[:, None, None, None], filtered, images)


def _mirrored(images: tf.Tensor, axis: int) -> tf.Tensor:
    """Pad by half a filter at both ends of `axis`; small images are mirrored repeatedly."""
    half = octave_bands().shape[1] // 2
    return tf.gather(images, np.pad(np.arange(images.shape[axis]), half, mode="reflect"), axis=axis)


def _banded(taps: tf.Tensor, size: int) -> tf.Tensor:
    """Matrices [N, size, size + K - 1] that apply taps [N, K]."""
    count = taps.shape[1]
    offset = tf.range(size + count - 1)[None, :] - tf.range(size)[:, None]
    return tf.gather(tf.pad(taps, [[0, 0], [1, 1]]), tf.clip_by_value(offset + 1, 0, count + 1), axis=1)
