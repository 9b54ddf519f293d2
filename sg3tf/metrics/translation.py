"""Translating images, by whole pixels or between them (arXiv 2106.12423, appendix E.1 and E.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from sg3tf.latents import transform_matrix

Drawn = dict[str, Any]

LOBES = 3  # of the Lanczos filter, on either side
LONGEST = 1 / 8  # of a translation along either axis, in image widths


def draw_integer(rng: np.random.Generator, resolution: int) -> Drawn:
    """A random translation by whole pixels; see `at`."""
    return at(np.round(_uniform(rng) * resolution), resolution)


def draw_fractional(rng: np.random.Generator, resolution: int) -> Drawn:
    """A random translation, interpolated by a Lanczos filter; see `at`."""
    return at(_uniform(rng) * resolution, resolution, LOBES)


def _uniform(rng: np.random.Generator) -> Any:
    return rng.uniform(-LONGEST, LONGEST, size=2)


def at(shift: Any, resolution: int, lobes: int = 0) -> Drawn:
    """The translation by `shift`.

    Args:
        shift: pixels to the right and down.
        resolution: side of the image.
        lobes: of the Lanczos filter on either side; 0 for none, where the shift must be whole.

    Returns:
        "transform": float32 [3, 3] for the generator.
        "whole": int32 [2], shift rounded down.
        "weights": float32 [2, K], of the K samples that surround a position, along x and y.
    """
    shift = np.asarray(shift, np.float64)
    whole = np.floor(shift)
    distance = _steps(max(2 * lobes, 1)) - (shift - whole)[:, None]
    weights = np.sinc(distance) * (np.sinc(distance / lobes) if lobes else 1)
    weights /= weights.sum(axis=1, keepdims=True)
    return {
        "transform": transform_matrix(0.0, *(shift / resolution)),
        "whole": whole.astype(np.int32),
        "weights": weights.astype(np.float32),
    }


def translate(x: tf.Tensor, drawn: Drawn) -> tuple[tf.Tensor, tf.Tensor]:
    """Translated images, and where they are right.

    Args:
        x: float32 [N, R, R, C].
        drawn: N translations as from `at`, stacked.

    Returns:
        float32 [N, R, R, C]; zero beyond the image.
        float32 [N, R, R, 1], 1 where no sample beyond the image was needed, else 0.
    """
    whole, weights = drawn["whole"], drawn["weights"]
    x, inside_x = _along(x, 2, whole[:, 0], weights[:, 0])
    x, inside_y = _along(x, 1, whole[:, 1], weights[:, 1])
    return x, (inside_y[:, :, None] * inside_x[:, None, :])[..., None]


def compare(still: tf.Tensor, moved: tf.Tensor, drawn: Drawn) -> tuple[tf.Tensor, tf.Tensor]:
    """Generated translation minus translated image, [N, R, R, C], and a mask [N, R, R, 1] of where it counts."""
    expected, mask = translate(still, drawn)
    return moved - expected, mask


def _along(x: tf.Tensor, axis: int, whole: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Translates along one axis; whole [N], weights [N, K]. The mask is [N, R]."""
    size = x.shape[axis]
    result, mask = tf.zeros_like(x), tf.constant(1.0)
    for tap, step in enumerate(_steps(weights.shape[1])):
        source = tf.range(size)[None] - whole[:, None] - int(step)
        inside = tf.cast((source >= 0) & (source < size), tf.float32)
        weight = tf.expand_dims(weights[:, tap, None] * inside, -1)  # [N, R, 1]
        sample = tf.gather(x, tf.clip_by_value(source, 0, size - 1), axis=axis, batch_dims=1)
        result += sample * tf.expand_dims(weight, 3 - axis)
        mask *= inside
    return result, mask


def _steps(taps: int) -> Any:
    """Where samples lie, counted towards the left from the one at a position rounded down, `taps` around it."""
    return np.arange(taps) - (taps - 1) // 2
