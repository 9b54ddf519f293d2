"""Patches of Laplacian pyramids, for the sliced Wasserstein distance (arXiv 1710.10196, section 5)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from sg3tf.metrics.detectors.files import check_size, uint8_to_rgb
from sg3tf.utils.resolution import Resolution, size_of

PATCHES = 128  # of each level of an image
SIZE = 7  # of a patch, in pixels
CHANNELS = 3
PATCH_VALUES = SIZE * SIZE * CHANNELS
MIN_RESOLUTION = 16  # of the last level, the low-pass residual

_SECOND_AXIS = 2**16  # added to the seed if columns are drawn separately from rows
_BLUR = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # Burt and Adelson (1983)


class LaplacianPatches:
    """128 patches of 7 x 7 pixels from each level of the Laplacian pyramid, from the image size down to 16 pixels.

    Where the patches of an image are depends on its number alone, because rounding, which differs between batches and
    machines, changes single pixels of generated images.

    Args:
        resolution: side of square images, or their Size (width, height); at least 16 each way.
    """

    digest = "laplacian pyramid, 5 taps, 128 patches of 7 x 7 pixels, version 2"
    min_side = MIN_RESOLUTION
    resize = "none"

    def __init__(self, resolution: Resolution) -> None:
        check_size(resolution, self.min_side)
        self._levels = (size_of(resolution).shorter // MIN_RESOLUTION).bit_length()
        self.outputs = {"patches": self._levels * PATCHES * PATCH_VALUES}

    def __call__(self, images: tf.Tensor, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return {"patches": float32 [N, levels * 128 * 7 * 7 * 3]}.

        Args:
            images: uint8 [N, H, W, 3] or [N, H, W, 1].
            numbers: int32 [N], the images' positions among those that are measured.
        """
        seeds = tf.stack([numbers, tf.zeros_like(numbers)], axis=1)
        patches = [
            _patches(level, seeds + [0, i]) for i, level in enumerate(pyramid(uint8_to_rgb(images), self._levels))
        ]
        return {"patches": tf.reshape(tf.stack(patches, axis=1), [-1, self.outputs["patches"]])}


def pyramid(images: tf.Tensor, levels: int) -> list[tf.Tensor]:
    """Return the Laplacian pyramid of images float32 [N, H, W, C].

    Returns:
        `levels` tensors, each half the size of the previous one. All but the last are differences between an image and
        its reconstruction from half the size. Borders are mirrored about the outermost pixels.
    """
    result = []
    for _ in range(levels - 1):
        half = _blur(images)[:, ::2, ::2]
        result.append(images - _blur(4 * _insert_zeros(half)))
        images = half
    return [*result, images]


def _blur(x: tf.Tensor) -> tf.Tensor:
    height, width = x.shape[1:3]
    x = tf.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]], mode="REFLECT")
    x = tf.add_n([tap * x[:, i : i + height] for i, tap in enumerate(_BLUR)])
    return tf.add_n([tap * x[:, :, i : i + width] for i, tap in enumerate(_BLUR)])


def _insert_zeros(x: tf.Tensor) -> tf.Tensor:
    """Return [N, 2 H, 2 W, C] with the values of [N, H, W, C] at even positions."""
    _, height, width, channels = x.shape
    x = tf.pad(x[:, :, None, :, None], [[0, 0], [0, 0], [0, 1], [0, 0], [0, 1], [0, 0]])
    return tf.reshape(x, [-1, 2 * height, 2 * width, channels])


def _patches(level: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Return patches [N, 128 * 7 * 7 * C] of a level [N, H, W, C]."""
    rows, columns = (side - SIZE + 1 for side in level.shape[1:3])  # positions of a patch along an axis

    def draw(seed: tf.Tensor, count: int, below: int) -> tf.Tensor:
        return tf.random.stateless_uniform([PATCHES, count], seed, 0, below, tf.int32, alg="philox")

    def corners(seed: tf.Tensor) -> tf.Tensor:
        if rows == columns:
            return draw(seed, 2, rows)
        return tf.concat([draw(seed, 1, rows), draw(seed + [0, _SECOND_AXIS], 1, columns)], axis=1)

    offsets = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij"), axis=-1)  # [7, 7, 2]
    positions = tf.map_fn(corners, seeds)[:, :, None, None] + offsets.astype(np.int32)
    return tf.reshape(tf.gather_nd(level, positions, batch_dims=1), [-1, PATCHES * PATCH_VALUES])
