"""Pixel blitting and geometric transforms of images (arXiv 2006.06676, appendix B, figure 17).

All transforms of an image are combined into one matrix, which is applied with hardly any aliasing. The matrix is the
inverse, [N, 3, 3]: it maps a position in the result to one in the image, in pixels from the center, x to the right and
y down. Positions (x, y, 1) are columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
import tensorflow as tf

from sg3tf.ops.upfirdn2d import upfirdn2d
from trainer.augment.augment_params import AugmentParams

# --- Resampling of images under affine transformations ----------------------------------------------------------------

#: Low-pass filter of the wavelet sym6, with a sum of 1: the most nearly symmetric of the orthogonal 12-tap filters with
#: six zeros at the Nyquist frequency. Upsampling by 2 with it and downsampling with its mirror image is the identity.
SYM6 = (
    0.01089235016329234,
    0.002468306185923318,
    -0.08343160770607297,
    -0.03416156079328601,
    0.34722898647921774,
    0.556946391962869,
    0.2389521856664347,
    -0.051362484930839246,
    -0.014891875649269698,
    0.031625281330021744,
    0.0012499610463979226,
    -0.005515933754688751,
)

#: Smaller images are narrower than the reach of the filter beyond their edges.
SMALLEST = 6
_REACH = len(SYM6) // 4  # of the filter to either side, in pixels of the image
#: The filter is not quite symmetric: it delays by 5.1 taps, not by 5.5. Samples at twice the rate are therefore placed
#: at its tap 5, with every other sample on a pixel; otherwise rotating an image would also shift it.
_CENTER = 5


def transform(images: tf.Tensor, inverse: tf.Tensor) -> tf.Tensor:
    """Transform images [N, H, W, C] by the inverse matrices [N, 3, 3]; beyond the edge an image is mirrored.

    Images are upsampled by 2 with sym6, sampled bilinearly at the transformed positions, and downsampled with sym6.
    Images whose matrix is the identity are returned bit for bit.

    Gradient with respect to images: of any order.
    """
    height, width = images.shape[1:3]
    tile, origin_y, origin_x = _mirrored_tile(images)
    x, y = _positions(inverse, height, width)
    # From pixels relative to the center to samples of the tile.
    found = _look_up(tile, 2 * (y + ((height - 1) / 2 + origin_y)), 2 * (x + ((width - 1) / 2 + origin_x)))
    resampled = upfirdn2d(found, SYM6, down=2, flip_filter=True)
    moved = tf.reduce_any(inverse != tf.eye(3, dtype=inverse.dtype), axis=[1, 2])
    return tf.where(moved[:, None, None, None], resampled, images)


def _mirrored_tile(images: tf.Tensor) -> tuple[tf.Tensor, int, int]:
    """One period of the periodically mirrored images at twice their rate, and the pixels (y, x) before the first one.

    Mirrored about its first and last pixels, a row of W pixels repeats after 2 (W - 1). So the tile suffices for every
    transformation, and its size is static, unlike that of a margin that depends on the matrices.
    """
    (before_y, after_y), (before_x, after_x) = (_mirror_pad(size) for size in images.shape[1:3])
    mirrored = tf.pad(images, [[0, 0], [before_y, after_y], [before_x, after_x], [0, 0]], mode="REFLECT")
    # The first sample has its tap _CENTER on pixel _REACH; one sample after the period is cropped.
    tile = upfirdn2d(mirrored, SYM6, up=2, pad=(0, -1, 0, -1), gain=4.0)
    return tile, before_y - _REACH, before_x - _REACH


def _mirror_pad(size: int) -> tuple[int, int]:
    """Padding before and after `size` pixels: one period, and the reach of the filter at both ends."""
    total = 2 * (size - 1) + 2 * _REACH - size
    return total // 2, total - total // 2


def _positions(inverse: tf.Tensor, height: int, width: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Positions x and y, [N, 2 H + 10, 2 W + 10], of the samples that the downsampling filter reads."""
    x = tf.constant(_pixels(width), inverse.dtype)[None, None, :]
    y = tf.constant(_pixels(height), inverse.dtype)[None, :, None]
    a = inverse[:, :, :, None, None]
    return a[:, 0, 0] * x + a[:, 0, 1] * y + a[:, 0, 2], a[:, 1, 0] * x + a[:, 1, 1] * y + a[:, 1, 2]


def _pixels(size: int) -> np.ndarray:
    """Samples of the downsampling filter, in pixels from the center; its tap _CENTER is on the result's pixels."""
    return (np.arange(2 * size + len(SYM6) - 2) - _CENTER) / 2 - (size - 1) / 2


def _look_up(tile: tf.Tensor, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Bilinear samples of a repeating tile [N, P, Q, C] at positions [N, h, w]; no gradient for the positions."""
    rows, columns = tile.shape[1:3]
    flat = tf.reshape(tile, [-1, rows * columns, tile.shape[3]])
    top, left = tf.floor(y), tf.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    # TensorFlow has no int32 arithmetic on GPUs: it would compute these arrays on the host.
    top, left = tf.cast(top, tf.int64), tf.cast(left, tf.int64)

    def sample(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        return tf.gather(flat, row % rows * columns + column % columns, axis=1, batch_dims=1)

    upper = sample(top, left) * (1 - right) + sample(top, left + 1) * right
    lower = sample(top + 1, left) * (1 - right) + sample(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down


# --- Inverse transformation matrices ----------------------------------------------------------------------------------

#: Largest shift of xint, and standard deviation of xfrac, as a share of the image's width and height.
TRANSLATION = 0.125
#: Standard deviation of the binary logarithm of both scalings.
SCALE_OCTAVES = 0.2

HeightWidth = tuple[int, int]


def inverse_transformations(transforms: Collection[str], params: AugmentParams, height_width: HeightWidth) -> tf.Tensor:
    """Inverse of the product of `transforms` in the paper's order, for images of this height and width."""
    inverse = affine(x=1.0, y=1.0, like=params["scale"])
    for transform, step in _STEPS:
        if transform in transforms:
            # The inverse of "A, then B" is "B's inverse, then A's".
            inverse = product(inverse, step(params, height_width))
    return inverse


def affine(
    *,
    x: tf.Tensor | float,
    y: tf.Tensor | float,
    skew: tf.Tensor | float = 0.0,
    shift_x: tf.Tensor | float = 0.0,
    shift_y: tf.Tensor | float = 0.0,
    like: tf.Tensor,
) -> tf.Tensor:
    """Matrix [N, 3, 3] with x and y on the diagonal, skew below it and -skew above; `like` is [N]."""
    rows = (x, -skew, shift_x, skew, y, shift_y, 0.0, 0.0, 1.0)
    entries = [tf.convert_to_tensor(entry, like.dtype) + tf.zeros_like(like) for entry in rows]
    return tf.reshape(tf.stack(entries, axis=1), [-1, 3, 3])


def product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Matrix product in full precision, unlike tf.matmul on some devices: coordinates reach thousands of pixels."""
    return tf.reduce_sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def _x_flip(params: AugmentParams, height_width: HeightWidth) -> tf.Tensor:
    mirror = 1 - 2 * tf.floor(2 * params["xflip"])
    return affine(x=params.where_active("xflip", mirror, 1.0), y=1.0, like=mirror)


def _quarter_turns(params: AugmentParams, height_width: HeightWidth) -> tf.Tensor:
    turns = params.where_active("rotate90", tf.floor(4 * params["rotate90"]), 0.0)
    turns = tf.cast(turns, tf.int32)
    # From a table, because the cosine of pi / 2 is not exactly 0 in floating point.
    cosine = tf.gather(tf.constant([1, 0, -1, 0], params.dtype), turns)
    sine = tf.gather(tf.constant([0, 1, 0, -1], params.dtype), turns)
    return affine(x=cosine, y=cosine, skew=sine, like=cosine)


def _integer_translation(params: AugmentParams, height_width: HeightWidth) -> tf.Tensor:
    def pixels(name: str, extent: int) -> tf.Tensor:
        return params.where_active("xint", tf.round((2 * params[name] - 1) * (TRANSLATION * extent)), 0.0)

    height, width = height_width
    return _translation(pixels("xint_x", width), pixels("xint_y", height))


def _fractional_translation(params: AugmentParams, height_width: HeightWidth) -> tf.Tensor:
    def pixels(name: str, extent: int) -> tf.Tensor:
        return params.where_active("xfrac", params[name] * (TRANSLATION * extent), 0.0)

    height, width = height_width
    return _translation(pixels("xfrac_x", width), pixels("xfrac_y", height))


def _translation(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return affine(x=1.0, y=1.0, shift_x=-x, shift_y=-y, like=x)


def _isotropic_scale(params: AugmentParams, height_width: HeightWidth) -> tf.Tensor:
    shrunk = params.where_active("scale", tf.pow(2.0, -SCALE_OCTAVES * params["scale"]), 1.0)
    return affine(x=shrunk, y=shrunk, like=shrunk)


def _anisotropic_scale(params: AugmentParams, height_width: HeightWidth) -> tf.Tensor:
    """Scale the width and the height by inverse factors."""
    shrunk = params.where_active("aniso", tf.pow(2.0, -SCALE_OCTAVES * params["aniso"]), 1.0)
    return affine(x=shrunk, y=1 / shrunk, like=shrunk)


def _rotation(name: str) -> Callable[[AugmentParams, HeightWidth], tf.Tensor]:
    def step(params: AugmentParams, height_width: HeightWidth) -> tf.Tensor:
        angle = params.where_either_active(name, (2 * params[name] - 1) * math.pi, 0.0)
        return affine(x=tf.cos(angle), y=tf.cos(angle), skew=tf.sin(angle), like=angle)

    return step


#: (transform, matrix). Rotation has two matrices, before and after the anisotropic scaling, so that the scaling can act
#: along any direction.
_STEPS = (
    ("xflip", _x_flip),
    ("rotate90", _quarter_turns),
    ("xint", _integer_translation),
    ("scale", _isotropic_scale),
    ("rotate", _rotation("pre_rotate")),
    ("aniso", _anisotropic_scale),
    ("rotate", _rotation("post_rotate")),
    ("xfrac", _fractional_translation),
)
TRANSFORMS = tuple(dict.fromkeys(transform for transform, _ in _STEPS))
