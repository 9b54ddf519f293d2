"""Images under affine transformations, with hardly any aliasing (appendix B, "general geometric transformations")."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from sg3tf.ops.upfirdn2d import upfirdn2d
from trainer.augment.wavelets import SYM6

#: Below this an image is narrower than what its filter reaches of its mirror image.
SMALLEST = 6
_REACH = len(SYM6) // 4  # of the filter to either side, in pixels of the image
#: The filter is not quite symmetric: it delays by 5.1 taps, not by 5.5. So samples of twice the rate are taken to be
#: where its tap 5 is, every other one of them on a pixel; otherwise turning an image would move it, too.
_CENTRE = 5


def transform(images: tf.Tensor, inverse: tf.Tensor) -> tf.Tensor:
    """Images [N, H, W, C] seen through `inverse` [N, 3, 3], see geometry; beyond its edge an image goes on mirrored.

    Upsampled twofold with sym6, looked up bilinearly at the transformed pixel positions of twice the rate, and
    downsampled with sym6. Images whose matrix is the identity pass unchanged, not even rounded.

    Gradient with respect to images: of any order.
    """
    height, width = images.shape[1:3]
    tile, origin_y, origin_x = _mirrored_tile(images)
    x, y = _positions(inverse, height, width)
    # From pixels from the centre to samples of the tile.
    found = _look_up(tile, 2 * (y + ((height - 1) / 2 + origin_y)), 2 * (x + ((width - 1) / 2 + origin_x)))
    resampled = upfirdn2d(found, SYM6, down=2, flip_filter=True)
    moved = tf.reduce_any(inverse != tf.eye(3, dtype=inverse.dtype), axis=[1, 2])
    return tf.where(moved[:, None, None, None], resampled, images)


def _mirrored_tile(images: tf.Tensor) -> tuple[tf.Tensor, int, int]:
    """One period of the endlessly mirrored images at twice their rate, and the pixels (y, x) before their first.

    Mirrored about its first and last pixels, a row of W repeats after 2 (W - 1). So the tile serves every
    transformation, and its size is static, unlike a margin that depends on the matrices.
    """
    (before_y, after_y), (before_x, after_x) = (_mirror_pad(size) for size in images.shape[1:3])
    mirrored = tf.pad(images, [[0, 0], [before_y, after_y], [before_x, after_x], [0, 0]], mode="REFLECT")
    # The first sample is that whose tap _CENTRE is on pixel _REACH; one after the period is cropped.
    tile = upfirdn2d(mirrored, SYM6, up=2, pad=(0, -1, 0, -1), gain=4.0)
    return tile, before_y - _REACH, before_x - _REACH


def _mirror_pad(size: int) -> tuple[int, int]:
    """Pixels before and after `size` that make a period and the reach of the filter at both of its ends."""
    total = 2 * (size - 1) + 2 * _REACH - size
    return total // 2, total - total // 2


def _positions(inverse: tf.Tensor, height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Where the samples that make the result are seen: x and y [N, 2 H + 10, 2 W + 10]."""
    x = tf.constant(_pixels(width), inverse.dtype)[None, None, :]
    y = tf.constant(_pixels(height), inverse.dtype)[None, :, None]
    a = inverse[:, :, :, None, None]
    return a[:, 0, 0] * x + a[:, 0, 1] * y + a[:, 0, 2], a[:, 1, 0] * x + a[:, 1, 1] * y + a[:, 1, 2]


def _pixels(size: int) -> np.ndarray:
    """Where the downsampling filter reads, in pixels from the centre; its tap _CENTRE is on the result's pixels."""
    return (np.arange(2 * size + len(SYM6) - 2) - _CENTRE) / 2 - (size - 1) / 2


def _look_up(tile: tf.Tensor, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Bilinear samples of a tile [N, P, Q, C] that repeats, at positions [N, h, w]; no gradient to the positions."""
    rows, columns = tile.shape[1:3]
    flat = tf.reshape(tile, [-1, rows * columns, tile.shape[3]])
    top, left = tf.floor(y), tf.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    top, left = tf.cast(top, tf.int32), tf.cast(left, tf.int32)

    def sample(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        return tf.gather(flat, row % rows * columns + column % columns, axis=1, batch_dims=1)

    upper = sample(top, left) * (1 - right) + sample(top, left + 1) * right
    lower = sample(top + 1, left) * (1 - right) + sample(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down
