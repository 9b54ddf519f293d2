"""Colour transformations as one matrix for every image (appendix B, "color transformations").

A colour (red, green, blue, 1) in [-1, 1] is a column; matrices are [N, 4, 4]. The luma axis is the grey one.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import tensorflow as tf

from trainer.augment.geometry import product
from trainer.augment.random_params import AugmentParams

BRIGHTNESS = 0.2  # standard deviation of what is added
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


def colour_matrices(transforms: Collection[str], numbers: AugmentParams) -> tf.Tensor:
    """All of `transforms` after another, in the paper's order."""
    matrix = _combination(numbers["brightness"], (1.0, _RGB), (1.0, _ONE))
    for transform, step in _STEPS.items():
        if transform in transforms:
            matrix = product(step(numbers), matrix)
    return matrix


def recolour(images: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Images [N, H, W, C] through `matrix` [N, 4, 4], by what C says they are.

    C = 3: colours. C = 4: colours and, untouched, opacity. C = 1: greys, each the mean of the colour that comes of
    it, so that hue and saturation do nothing.

    Raises:
        ValueError: another C.
    """
    channels = images.shape[3]
    if channels == 1:
        # Of every row the factor of a grey and its shift, then their means.
        factor = tf.reduce_sum(matrix[:, :3, :3], axis=[1, 2]) / 3
        shift = tf.reduce_sum(matrix[:, :3, 3], axis=1) / 3
        return images * factor[:, None, None, None] + shift[:, None, None, None]
    if channels not in (3, 4):
        raise ValueError(f"images of {channels} channels: colour transforms need 1, 3 or 4; leave them out")
    # Three products and a shift, written out: a matrix product might be in reduced precision.
    m = matrix[:, None, None, :, :]
    colours = m[..., :3, 3] + sum(m[..., :3, i] * images[..., i : i + 1] for i in range(3))
    return tf.concat([colours, images[..., 3:]], axis=3)


def _combination(like: tf.Tensor, *terms: tuple[tf.Tensor | float, tuple[tuple[float, ...], ...]]) -> tf.Tensor:
    """The sum of factors, [N] or numbers, times constant matrices."""
    factors = [(tf.convert_to_tensor(f, like.dtype) + tf.zeros_like(like))[:, None, None] for f, _ in terms]
    return tf.add_n([f * tf.constant(m, like.dtype) for f, (_, m) in zip(factors, terms, strict=True)])


def _brightness(numbers: AugmentParams) -> tf.Tensor:
    shift = numbers.if_happens("brightness", BRIGHTNESS * numbers["brightness"], 0.0)
    return _combination(shift, (1.0, _RGB), (1.0, _ONE), (shift, _SHIFT))


def _contrast(numbers: AugmentParams) -> tf.Tensor:
    factor = numbers.if_happens("contrast", tf.pow(2.0, CONTRAST_OCTAVES * numbers["contrast"]), 1.0)
    return _combination(factor, (factor, _RGB), (1.0, _ONE))


def _luma_flip(numbers: AugmentParams) -> tf.Tensor:
    """Negates the luma and keeps the rest."""
    flipped = numbers.if_happens("lumaflip", tf.floor(2 * numbers["lumaflip"]), 0.0)
    return _combination(flipped, (1.0, _RGB), (1.0, _ONE), (-2 * flipped, _LUMA))


def _hue(numbers: AugmentParams) -> tf.Tensor:
    """Turns colours about the luma axis, by Rodrigues' formula."""
    angle = numbers.if_happens("hue", (2 * numbers["hue"] - 1) * math.pi, 0.0)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    return _combination(angle, (cosine, _RGB), (1.0, _ONE), (sine, _CROSS), (1 - cosine, _LUMA))


def _saturation(numbers: AugmentParams) -> tf.Tensor:
    """Scales what is not luma."""
    factor = numbers.if_happens("saturation", tf.pow(2.0, SATURATION_OCTAVES * numbers["saturation"]), 1.0)
    return _combination(factor, (factor, _RGB), (1.0, _ONE), (1 - factor, _LUMA))


_STEPS = {
    "brightness": _brightness,
    "contrast": _contrast,
    "lumaflip": _luma_flip,
    "hue": _hue,
    "saturation": _saturation,
}
TRANSFORMS = tuple(_STEPS)
