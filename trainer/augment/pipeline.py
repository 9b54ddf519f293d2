"""The augmentation pipeline (arXiv 2006.06676, appendix B)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.augment import color, corruption, filtering, geometry
from trainer.augment.augment_params import AugmentParams
from trainer.augment.pipes import PIPES
from trainer.augment.random_params import COLUMNS

#: Pipes and single transforms; "noise" and "cutout" are both.
_NAMES = {**{transform: (transform,) for transform in PIPES["bgcfnc"]}, **PIPES}


class Augment:
    """Random transforms of images, independent for each image.

    Args:
        names: pipes such as "bgc" and single transforms such as "hue"; all of their transforms are used.

    Raises:
        ValueError: an unknown name, or no name.

    Examples:
        >>> from trainer.augment.random_params import sample_params
        >>> images = tf.random.uniform([4, 16, 16, 3], -1, 1)
        >>> params = sample_params(np.random.default_rng(0), count=4)
        >>> Augment("bgc")(images, params, probability=0.5).shape
        TensorShape([4, 16, 16, 3])
    """

    def __init__(self, *names: str) -> None:
        for name in names:
            if name not in _NAMES:
                raise ValueError(f"augmentation {name!r}: choose from {', '.join(_NAMES)}")
        if not names:
            raise ValueError("no augmentation: name at least one, such as 'bgc'")
        self.transforms = frozenset(transform for name in names for transform in _NAMES[name])

    def __call__(self, images: tf.Tensor, params: tf.Tensor, probability: tf.Tensor | float) -> tf.Tensor:
        """Return augmented images; an image without any active transform is returned bit for bit.

        Args:
            images: float32 or float64 [N, H, W, C] in [-1, 1], H, W and C static; C 1, 3 or 4 for color transforms.
            params: float32 [N, len(COLUMNS)], from random_params.sample_params.
            probability: float [] or [N], 0 or more: probability of each transform, independently; 1 or more: always.

        Returns:
            Images of the same shape and type.

        Raises:
            ValueError: an argument is invalid; the message gives its name, its value and the remedy.

        Gradient with respect to images: of any order; this is an affine function of them.
        """
        images, values, probability = _checked(images, params, probability)
        chosen = AugmentParams(values, probability, images.dtype)
        if self.transforms & set(geometry.TRANSFORMS):
            inverse = geometry.inverse_transformations(self.transforms, chosen, (images.shape[1], images.shape[2]))
            images = geometry.transform(images, inverse)
        if self.transforms & set(color.TRANSFORMS):
            images = color.apply_color_matrices(images, color.color_matrices(self.transforms, chosen))
        if "imgfilter" in self.transforms:
            images = filtering.filter_bands(images, filtering.band_gains(chosen))
        if "noise" in self.transforms:
            images = corruption.add_noise(images, chosen)
        if "cutout" in self.transforms:
            images = corruption.cut_out(images, chosen)
        return images


def _checked(
    images: tf.Tensor, params: tf.Tensor, probability: tf.Tensor | float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    images, params = tf.convert_to_tensor(images), tf.convert_to_tensor(params, tf.float32)
    if images.shape.rank != 4 or None in images.shape[1:]:
        raise ValueError(f"images of shape {images.shape}: give [N, H, W, C] with H, W and C known")
    if images.dtype not in (tf.float32, tf.float64):
        raise ValueError(f"images of type {images.dtype.name}: cast them to float32, from -1 to 1")
    if min(images.shape[1:3]) < geometry.SMALLEST:
        raise ValueError(
            f"images of shape {images.shape}: augmentation needs at least {geometry.SMALLEST} pixels each way"
        )
    rows = images.shape[0] if images.shape[0] is not None else params.shape[0]
    if not params.shape.is_compatible_with([rows, len(COLUMNS)]):
        raise ValueError(
            f"params of shape {params.shape}: give the result of trainer.augment.random_params.sample_params for "
            f"{'N' if rows is None else rows} images, [N, {len(COLUMNS)}]"
        )
    if not tf.is_tensor(probability) and not np.all(np.asarray(probability) >= 0):
        raise ValueError(f"probability {probability}: must be 0 or more")
    probability = tf.convert_to_tensor(probability, tf.float32)
    if probability.shape.rank != 0 and not probability.shape.is_compatible_with([rows]):
        raise ValueError(f"probability of shape {probability.shape}: give one number, or one for each image, [{rows}]")
    return images, params, probability
