"""Pixel blitting and general geometric transformations as one matrix for every image (appendix B, figure 17).

A transformation is its inverse, [N, 3, 3]: from a position in the result to the one in the image that is seen there,
in pixels from the centre, x to the right and y down. Positions (x, y, 1) are columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import tensorflow as tf

from trainer.augment.numbers import Numbers

#: Share of the image's width and height. xint: the largest shift; xfrac: the standard deviation.
TRANSLATION = 0.125
#: Standard deviation of the binary logarithm of both scalings.
SCALE_OCTAVES = 0.2

Size = tuple[int, int]


def inverse_transformations(transforms: Collection[str], numbers: Numbers, size: Size) -> tf.Tensor:
    """The inverse of all of `transforms` after another, in the paper's order, for images of `size` (height, width)."""
    inverse = affine(x=1.0, y=1.0, like=numbers["scale"])
    for transform, step in _STEPS:
        if transform in transforms:
            # The inverse of "A, then B" is "B's inverse, then A's".
            inverse = product(inverse, step(numbers, size))
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
    """[N, 3, 3] with x and y on the diagonal, skew below it and its opposite above; `like` is [N]."""
    rows = (x, -skew, shift_x, skew, y, shift_y, 0.0, 0.0, 1.0)
    entries = [tf.convert_to_tensor(entry, like.dtype) + tf.zeros_like(like) for entry in rows]
    return tf.reshape(tf.stack(entries, axis=1), [-1, 3, 3])


def product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Matrix product, never in the reduced precision that devices have for tf.matmul: pixels count in thousands."""
    return tf.reduce_sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def _x_flip(numbers: Numbers, size: Size) -> tf.Tensor:
    mirror = 1 - 2 * tf.floor(2 * numbers["xflip"])
    return affine(x=numbers.if_happens("xflip", mirror, 1.0), y=1.0, like=mirror)


def _quarter_turns(numbers: Numbers, size: Size) -> tf.Tensor:
    turns = numbers.if_happens("rotate90", tf.floor(4 * numbers["rotate90"]), 0.0)
    turns = tf.cast(turns, tf.int32)
    # A cosine is not exactly 0.
    cosine = tf.gather(tf.constant([1, 0, -1, 0], numbers.dtype), turns)
    sine = tf.gather(tf.constant([0, 1, 0, -1], numbers.dtype), turns)
    return affine(x=cosine, y=cosine, skew=sine, like=cosine)


def _integer_translation(numbers: Numbers, size: Size) -> tf.Tensor:
    def pixels(name: str, extent: int) -> tf.Tensor:
        return numbers.if_happens("xint", tf.round((2 * numbers[name] - 1) * (TRANSLATION * extent)), 0.0)

    return _translation(pixels("xint_x", size[1]), pixels("xint_y", size[0]))


def _fractional_translation(numbers: Numbers, size: Size) -> tf.Tensor:
    def pixels(name: str, extent: int) -> tf.Tensor:
        return numbers.if_happens("xfrac", numbers[name] * (TRANSLATION * extent), 0.0)

    return _translation(pixels("xfrac_x", size[1]), pixels("xfrac_y", size[0]))


def _translation(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return affine(x=1.0, y=1.0, shift_x=-x, shift_y=-y, like=x)


def _isotropic_scale(numbers: Numbers, size: Size) -> tf.Tensor:
    shrunk = numbers.if_happens("scale", tf.pow(2.0, -SCALE_OCTAVES * numbers["scale"]), 1.0)
    return affine(x=shrunk, y=shrunk, like=shrunk)


def _anisotropic_scale(numbers: Numbers, size: Size) -> tf.Tensor:
    """Wider by what it gets lower."""
    shrunk = numbers.if_happens("aniso", tf.pow(2.0, -SCALE_OCTAVES * numbers["aniso"]), 1.0)
    return affine(x=shrunk, y=1 / shrunk, like=shrunk)


def _rotation(name: str) -> Callable[[Numbers, Size], tf.Tensor]:
    def step(numbers: Numbers, size: Size) -> tf.Tensor:
        angle = numbers.if_either_happens(name, (2 * numbers[name] - 1) * math.pi, 0.0)
        return affine(x=tf.cos(angle), y=tf.cos(angle), skew=tf.sin(angle), like=angle)

    return step


#: The transform that asks for a step, and the step. Rotation before and after the anisotropic scaling lets that act
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
