"""The augmentation pipeline: which transforms, and their order (arXiv 2006.06676, appendix B)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.augment import color, corruption, filtering, geometry
from trainer.augment.random_params import COLUMNS, AugmentParams

_GROUPS = {
    "blit": ("xflip", "rotate90", "xint"),
    "geom": ("scale", "rotate", "aniso", "xfrac"),
    "color": color.TRANSFORMS,
    "filter": filtering.TRANSFORMS,
    "noise": ("noise",),
    "cutout": ("cutout",),
}


def _unions() -> dict[str, tuple[str, ...]]:
    """ "bg": blit and geom, "bgc": and color, and so on; the letters are those with which the groups begin."""
    names = list(_GROUPS)
    counts = range(2, len(names) + 1)
    return {"".join(n[0] for n in names[:i]): sum((_GROUPS[n] for n in names[:i]), ()) for i in counts}


#: Name: its transforms.
PIPES = {**_GROUPS, **_unions()}
#: What StyleGAN2-ADA found best, and what a run uses unless told otherwise.
PIPE = "bgc"
_NAMES = {**{transform: (transform,) for transform in PIPES["bgcfnc"]}, **PIPES}


class Augment:
    """Transforms images at random, each in its own way.

    Args:
        names: of pipes ("bgc") or of single transforms ("hue"); what they hold together.

    Raises:
        ValueError: an unknown name, or none.
    """

    def __init__(self, *names: str) -> None:
        for name in names:
            if name not in _NAMES:
                raise ValueError(f"augmentation {name!r}: choose from {', '.join(_NAMES)}")
        if not names:
            raise ValueError("no augmentation: name at least one, such as 'bgc'")
        self.transforms = frozenset(transform for name in names for transform in _NAMES[name])

    def __call__(self, images: tf.Tensor, numbers: tf.Tensor, probability: tf.Tensor | float) -> tf.Tensor:
        """Augmented images; one that nothing happens to is what it was, to the bit.

        Args:
            images: float32 or float64 [N, H, W, C] in [-1, 1], H, W and C static; C 1, 3 or 4 for colour transforms.
            numbers: float32 [N, len(COLUMNS)], what numbers.draw gave for these images.
            probability: float [] or [N], from 0 to 1: of each transform, independently.

        Returns:
            Of the shape and type of images.

        Raises:
            ValueError: naming the argument, its value and the remedy.

        Gradient with respect to images, of which this is an affine function: of any order.
        """
        images, values, probability = _checked(images, numbers, probability)
        drawn = AugmentParams(values, probability, images.dtype)
        if self.transforms & set(geometry.TRANSFORMS):
            inverse = geometry.inverse_transformations(self.transforms, drawn, (images.shape[1], images.shape[2]))
            images = geometry.transform(images, inverse)
        if self.transforms & set(color.TRANSFORMS):
            images = color.recolour(images, color.colour_matrices(self.transforms, drawn))
        if "imgfilter" in self.transforms:
            images = filtering.filter_bands(images, filtering.band_gains(drawn))
        if "noise" in self.transforms:
            images = corruption.add_noise(images, drawn)
        if "cutout" in self.transforms:
            images = corruption.cut_out(images, drawn)
        return images


def _checked(
    images: tf.Tensor, numbers: tf.Tensor, probability: tf.Tensor | float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    images, numbers = tf.convert_to_tensor(images), tf.convert_to_tensor(numbers, tf.float32)
    if images.shape.rank != 4 or None in images.shape[1:]:
        raise ValueError(f"images of shape {images.shape}: give [N, H, W, C] with H, W and C known")
    if images.dtype not in (tf.float32, tf.float64):
        raise ValueError(f"images of type {images.dtype.name}: cast them to float32, from -1 to 1")
    if min(images.shape[1:3]) < geometry.SMALLEST:
        raise ValueError(
            f"images of shape {images.shape}: augmentation needs at least {geometry.SMALLEST} pixels each way"
        )
    rows = images.shape[0] if images.shape[0] is not None else numbers.shape[0]
    if not numbers.shape.is_compatible_with([rows, len(COLUMNS)]):
        raise ValueError(
            f"numbers of shape {numbers.shape}: give what trainer.augment.random_params.draw gives for "
            f"{'N' if rows is None else rows} images, [N, {len(COLUMNS)}]"
        )
    if not tf.is_tensor(probability) and not np.all((np.asarray(probability) >= 0) & (np.asarray(probability) <= 1)):
        raise ValueError(f"probability {probability}: must be from 0 to 1")
    probability = tf.convert_to_tensor(probability, tf.float32)
    if probability.shape.rank != 0 and not probability.shape.is_compatible_with([rows]):
        raise ValueError(f"probability of shape {probability.shape}: give one number, or one for each image, [{rows}]")
    return images, numbers, probability
