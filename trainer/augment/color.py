"""Color transformations as one matrix for every image (appendix B, "color transformations").

A color (red, green, blue, 1) in [-1, 1] is a column; matrices are [N, 4, 4]. The luma axis is the gray axis.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import tensorflow as tf

from trainer.augment.augment_params import AugmentParams
from trainer.augment.geometry import product

BRIGHTNESS = 0.2  # standard deviation of the shift
CONTRAST_OCTAVES = 0.5  # standard deviation of the factor's binary logarithm
SATURATION_OCTAVES = 1.0  # likewise

_RGB = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 0.0))
_ONE = ((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
_SHIFT = ((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 0.0))
#: Onto the luma axis v = (1, 1, 1) / sqrt(3): the matrix v v^T.
_LUMA = ((1 / 3, 1 / 3, 1 / 3, 0.0), (1 / 3, 1 / 3, 1 / 3, 0.0), (1 / 3, 1 / 3, 1 / 3, 0.0), (0.0, 0.0, 0.0, 0.0))
_V = 1 / math.sqrt(3)
#: Cross product with the luma axis.
_CROSS = ((0.0, -_V, _V, 0.0), (_V, 0.0, -_V, 0.0), (-_V, _V, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))


def color_matrices(transforms: Collection[str], params: AugmentParams) -> tf.Tensor:
    """Product [N, 4, 4] of all `transforms` in the paper's order."""
    matrix = _combination(params["brightness"], (1.0, _RGB), (1.0, _ONE))
    for transform, step in _STEPS.items():
        if transform in transforms:
            matrix = product(step(params), matrix)
    return matrix


def apply_color_matrices(images: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Apply `matrix` [N, 4, 4] to the colors of images [N, H, W, C].

    Three channels are colors, four are colors and opacity, which does not change. A single channel is gray: the result
    is the mean of its transformed color, so hue and saturation have no effect.

    Raises:
        ValueError: another number of channels.
    """
    channels = images.shape[3]
    if channels == 1:
        # Mean over the rows of a gray's factor and shift.
        factor = tf.reduce_sum(matrix[:, :3, :3], axis=[1, 2]) / 3
        shift = tf.reduce_sum(matrix[:, :3, 3], axis=1) / 3
        return images * factor[:, None, None, None] + shift[:, None, None, None]
    if channels not in (3, 4):
        raise ValueError(f"images of {channels} channels: color transforms need 1, 3 or 4; leave them out")
    # Three products and a shift, written out, because a matrix product might use reduced precision.
    m = matrix[:, None, None, :, :]
    colors = m[..., :3, 3] + sum(m[..., :3, i] * images[..., i : i + 1] for i in range(3))
    return tf.concat([colors, images[..., 3:]], axis=3)


def _combination(like: tf.Tensor, *terms: tuple[tf.Tensor | float, tuple[tuple[float, ...], ...]]) -> tf.Tensor:
    """Sum [N, 4, 4] of constant matrices, each times a factor [N] or a number."""
    factors = [(tf.convert_to_tensor(f, like.dtype) + tf.zeros_like(like))[:, None, None] for f, _ in terms]
    return tf.add_n([f * tf.constant(m, like.dtype) for f, (_, m) in zip(factors, terms, strict=True)])


def _brightness(params: AugmentParams) -> tf.Tensor:
    shift = params.where_active("brightness", BRIGHTNESS * params["brightness"], 0.0)
    return _combination(shift, (1.0, _RGB), (1.0, _ONE), (shift, _SHIFT))


def _contrast(params: AugmentParams) -> tf.Tensor:
    factor = params.where_active("contrast", tf.pow(2.0, CONTRAST_OCTAVES * params["contrast"]), 1.0)
    return _combination(factor, (factor, _RGB), (1.0, _ONE))


def _luma_flip(params: AugmentParams) -> tf.Tensor:
    """Negate the luma and keep the rest."""
    flipped = params.where_active("lumaflip", tf.floor(2 * params["lumaflip"]), 0.0)
    return _combination(flipped, (1.0, _RGB), (1.0, _ONE), (-2 * flipped, _LUMA))


def _hue(params: AugmentParams) -> tf.Tensor:
    """Rotate colors about the luma axis, by Rodrigues' formula."""
    angle = params.where_active("hue", (2 * params["hue"] - 1) * math.pi, 0.0)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    return _combination(angle, (cosine, _RGB), (1.0, _ONE), (sine, _CROSS), (1 - cosine, _LUMA))


def _saturation(params: AugmentParams) -> tf.Tensor:
    """Scale everything but the luma."""
    factor = params.where_active("saturation", tf.pow(2.0, SATURATION_OCTAVES * params["saturation"]), 1.0)
    return _combination(factor, (factor, _RGB), (1.0, _ONE), (1 - factor, _LUMA))


_STEPS = {
    "brightness": _brightness,
    "contrast": _contrast,
    "lumaflip": _luma_flip,
    "hue": _hue,
    "saturation": _saturation,
}
TRANSFORMS = tuple(_STEPS)
