"""Images as detectors take them."""

from __future__ import annotations

import tensorflow as tf

from sg3tf.metrics.detectors.files import DetectorError


def rgb(images: tf.Tensor) -> tf.Tensor:
    """float32 [N,H,W,3] of images [N,H,W,3] or grey ones [N,H,W,1]; the range is kept."""
    images = tf.convert_to_tensor(images)
    channels = images.shape[-1] if images.shape.rank == 4 else None
    if channels not in (1, 3):
        raise DetectorError(f"images of shape {images.shape}: must be [N, height, width, 3 or 1]")
    images = tf.cast(images, tf.float32)
    return images if channels == 3 else tf.repeat(images, 3, axis=-1)


def rgb_of_bytes(images: tf.Tensor) -> tf.Tensor:
    """float32 [N,H,W,3] from 0 to 255 of images uint8 [N,H,W,3] or [N,H,W,1]."""
    images = tf.convert_to_tensor(images)
    if images.dtype != tf.uint8:
        raise DetectorError(f"images are {images.dtype.name}: must be uint8")
    return rgb(images)
