"""Rotating images, and leaving of an image what a rotation leaves (arXiv 2106.12423, appendix E.3).

A rotated pixel grid can carry the frequencies of a rotated square. What an image and its rotation can both carry is
the intersection of two squares, an octagon; the rotation passes it through a filter windowed by two Lanczos windows,
one along either grid's axes. Taps are sampled, cut and normalised such that the numbers compare with published ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.fft import next_fast_len

from sg3tf.latents import transform_matrix

Array = NDArray[np.float64]
Drawn = dict[str, Any]

LOBES = 3  # of each Lanczos window, on either side
REACH = 2 * LOBES  # pixels where the filters are cut, on either side
UPSAMPLING = 4  # samples per pixel that are computed; between them, images are interpolated linearly


def draw(rng: np.random.Generator, resolution: int) -> Drawn:  # resolution: as for translations
    """A random rotation; see `at`."""
    return at(rng.uniform(-np.pi, np.pi))


def at(angle: float) -> Drawn:
    """The rotation by `angle` radians, clockwise on the screen.

    Returns:
        "transform": float32 [3, 3] for the generator.
        "up_taps": float32 [47, 47], the filter of the rotation, along the axes of the image to be rotated.
        "taps": float32 [11, 11], the filter of the pseudo-rotation, along the axes of a rotated image.
    """
    return {
        "transform": transform_matrix(angle),
        "up_taps": _octagon_taps(angle).astype(np.float32),
        "taps": _square_taps(-angle).astype(np.float32),
    }


def rotate(x: tf.Tensor, drawn: Drawn) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotated images, and where they are right.

    Args:
        x: float32 [N, R, R, C].
        drawn: N rotations as from `at`, stacked.

    Returns:
        float32 [N, R, R, C]; only defined where the mask is 1.
        float32 [N, R, R, 1], 1 where no sample beyond the image was needed, else 0.
    """
    size = x.shape[1]
    zeros = UPSAMPLING - 1
    x = tf.pad(x[:, :, None, :, None], [[0, 0], [0, 0], [0, zeros], [0, 0], [0, zeros], [0, 0]])
    x = _convolve(tf.reshape(x, [-1, size * UPSAMPLING, size * UPSAMPLING, x.shape[-1]]), drawn["up_taps"])

    # In float64, as a position of some thousand samples leaves a float32 few digits of what lies between them.
    centres = tf.range(size, dtype=tf.float64) - (size - 1) / 2
    grid = tf.stack(tf.meshgrid(centres, centres), axis=-1)  # (x, y) in pixels from the middle
    source = tf.einsum("nij,hwj->nhwi", tf.cast(drawn["transform"][:, :2, :2], tf.float64), grid)
    sample = (source + (size - 1) / 2) * UPSAMPLING
    nearest = tf.floor(sample + 0.5) / UPSAMPLING - (size - 1) / 2
    bound = size / 2 - REACH
    inside = tf.reduce_all((nearest >= -bound) & (nearest < bound), axis=-1, keepdims=True)
    return _interpolate(x, sample + REACH * UPSAMPLING - 1), tf.cast(inside, tf.float32)


def pseudo_rotate(x: tf.Tensor, drawn: Drawn) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotated images less what a rotation would have removed; arguments and results as of `rotate`."""
    size, margin = x.shape[1], REACH - 1
    inside = tf.pad(tf.ones([size - 2 * margin, size - 2 * margin]), [[margin, margin], [margin, margin]])
    return _convolve(x, drawn["taps"])[:, margin:-margin, margin:-margin], inside[None, :, :, None]


def compare(still: tf.Tensor, moved: tf.Tensor, drawn: Drawn) -> tuple[tf.Tensor, tf.Tensor]:
    """Generated rotation minus rotated image, [N, R, R, C], and a mask [N, R, R, 1] of where it counts."""
    expected, mask = rotate(still, drawn)
    generated, inside = pseudo_rotate(moved, drawn)
    return generated - expected, mask * inside


def _convolve(x: tf.Tensor, taps: tf.Tensor) -> tf.Tensor:
    """x [N, S, S, C] with taps [N, K, K] in full, [N, S + K - 1, S + K - 1, C], by Fourier transforms."""
    size = x.shape[1] + taps.shape[1] - 1
    length = [next_fast_len(size, real=True)] * 2
    spectrum = tf.signal.rfft2d(tf.transpose(x, [0, 3, 1, 2]), length) * tf.signal.rfft2d(taps, length)[:, None]
    return tf.transpose(tf.signal.irfft2d(spectrum, length)[..., :size, :size], [0, 2, 3, 1])


def _interpolate(x: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Bilinear samples of x [N, S, S, C] at float64 [N, R, R, 2], (x, y) from the first sample's centre."""
    corner = tf.clip_by_value(tf.floor(position), 0, x.shape[1] - 2)
    right, down = tf.split(tf.cast(position - corner, tf.float32), 2, axis=-1)
    column, row = tf.unstack(tf.cast(corner, tf.int32), axis=-1)

    def sample(dy: int, dx: int) -> tf.Tensor:
        return tf.gather_nd(x, tf.stack([row + dy, column + dx], axis=-1), batch_dims=1)

    top = sample(0, 0) * (1 - right) + sample(0, 1) * right
    bottom = sample(1, 0) * (1 - right) + sample(1, 1) * right
    return top * (1 - down) + bottom * down


def _octagon_taps(turn: float) -> Array:
    """Taps of the rotation, of sum 1 for each position between pixels: a constant stays one."""
    x, y = _grid(REACH, UPSAMPLING)
    taps = _octagon(x, y, turn) * _window(turn, UPSAMPLING)
    for row in range(UPSAMPLING):
        for column in range(UPSAMPLING):
            phase = taps[row::UPSAMPLING, column::UPSAMPLING]
            phase /= phase.sum()
    return taps


def _square_taps(turn: float) -> Array:
    """Taps of the pseudo-rotation, of sum 1: on the pixels themselves, the unturned sinc is an impulse."""
    x, y = _turned(*_grid(REACH, 1), turn)
    taps = np.sinc(x) * np.sinc(y) * _window(turn, 1)
    return taps / taps.sum()


def _octagon(x: Array, y: Array, turn: float) -> Array:
    """The convolution of sinc(x) sinc(y) and the same turned: the Fourier transform of two squares' intersection.

    By the divergence theorem it is a sum over the octagon's edges. All touch a circle of radius 1/2, so that the
    tangent of half the angle between their normals says how far they go; opposite ones make a sine.
    """
    gap = -turn % (np.pi / 2)  # between a normal of the unturned square and the next of the turned one
    short, long = np.tan(gap / 2) / 2, np.tan((np.pi / 2 - gap) / 2) / 2
    length, middle = short + long, (short - long) / 2
    squared = (2 * np.pi) ** 2 * (x**2 + y**2)
    total = np.zeros_like(x)
    for normal, centre in ((0, middle), (gap, -middle), (np.pi / 2, middle), (np.pi / 2 + gap, -middle)):
        across, along = (2 * np.pi * v for v in _turned(x, y, -normal))
        total += 2 * across * length * np.sinc(along * length / (2 * np.pi)) * np.sin(across / 2 + along * centre)
    area = 2 * length
    return np.where(squared > 0, total / np.where(squared > 0, squared, 1), area)


def _window(turn: float, per_pixel: int) -> Array:
    """The convolution of a Lanczos window in x and y and the same turned."""
    further = 2  # pixels; the convolution ends within REACH + further, so that nothing wraps around
    x, y = _grid(REACH + further, per_pixel)
    spectra = [np.fft.rfft2(_lanczos(u) * _lanczos(v)) for u, v in ((x, y), _turned(x, y, turn))]
    window = np.fft.ifftshift(np.fft.irfft2(spectra[0] * spectra[1], x.shape))  # of what is centred twice
    crop = slice(further * per_pixel, -further * per_pixel)
    return window[crop, crop]


def _lanczos(x: Array) -> Array:
    return np.sinc(x / LOBES) * (np.abs(x) < LOBES)


def _grid(reach: int, per_pixel: int) -> tuple[Array, Array]:
    """x and y of the taps closer to 0 than `reach` pixels, along each axis."""
    last = reach * per_pixel - 1
    axis = np.arange(-last, last + 1) / per_pixel
    x, y = np.meshgrid(axis, axis)
    return x, y


def _turned(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * x - sin * y, sin * x + cos * y
