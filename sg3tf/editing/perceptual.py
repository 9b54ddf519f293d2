"""Distances between images: pixels at many scales, LPIPS, and features of a discriminator."""

from __future__ import annotations

import tensorflow as tf

from sg3tf.metrics import detectors
from sg3tf.metrics.detectors.lpips import Distance, reduce_by_boxes
from sg3tf.models.discriminator import Discriminator

_MIN_SIZE = 4


def pixels_and(compare: Distance) -> Distance:
    """Sum of `pixels` and another distance."""
    return lambda a, b: pixels(a, b) + compare(a, b)


def pixels(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Mean squared difference, averaged over scales: full size, half size, and so on down to 4 x 4.

    Coarse scales provide a gradient for objects that do not yet overlap with those in the other image.
    """
    difference, found = a - b, []
    while True:
        found.append(tf.reduce_mean(tf.square(difference), axis=[1, 2, 3]))
        if min(difference.shape[1:3]) <= _MIN_SIZE:
            return tf.add_n(found) / len(found)
        difference = tf.nn.avg_pool2d(difference, 2, 2, "VALID")


def perceptual(detector_dir: str) -> Distance:
    """LPIPS of images downsampled to at most 256 x 256 (arXiv 1912.04958, appendix D).

    Args:
        detector_dir: folder with the files of LPIPS (docs/detectors.md).

    Raises:
        DetectorError: a file is missing or has the wrong content.
    """
    lpips = detectors.load("lpips", detector_dir)
    return lambda a, b: lpips.distance(reduce_by_boxes(a), reduce_by_boxes(b))


def features(D: Discriminator) -> Distance:
    """Squared differences of unit-normalized activations of a discriminator's blocks, as in LPIPS."""

    def activations(images: tf.Tensor) -> list[tf.Tensor]:
        return [tf.math.l2_normalize(tf.cast(x, tf.float32), axis=3, epsilon=1e-8) for x in D.block_outputs(images)]

    def compared(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        pairs = [*zip(activations(a), activations(b), strict=True)]
        of_blocks = [tf.reduce_mean(tf.reduce_sum(tf.square(p - q), axis=3), axis=[1, 2]) for p, q in pairs]
        return tf.add_n(of_blocks) / len(of_blocks)

    return compared
