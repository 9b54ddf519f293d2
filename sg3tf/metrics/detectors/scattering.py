"""Wavelet scattering: image features that need no trained network (Bruna and Mallat 2013, arXiv 1203.1513).

docs/adr/0026-self-contained-distances.md explains the choices.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.metrics.detectors.files import check_size, uint8_to_rgb
from sg3tf.utils.resolution import Resolution, size_of

SCALES = 3  # octaves
ANGLES = 4
CELLS = 4  # rows and columns of averaging cells
MAX_RESOLUTION = 64  # larger images are averaged over boxes first
_MARGIN = 2**SCALES  # pixels of mirrored border: the transform is periodic
_LUMA = (0.299, 0.587, 0.114)
_FLOOR = 1 / 255  # lower bound on amplitudes: less is rounding of 8-bit values

_PAIRS = [(first, second) for second in range(SCALES) for first in range(second)]
_COLORS, _AMPLITUDES = CELLS**2 * 3, CELLS**2 * (SCALES * ANGLES + len(_PAIRS) * ANGLES**2)
FEATURES = _COLORS + _AMPLITUDES
#: [FEATURES], half of what one gray level, or noise of one gray level in a flat area, adds to a feature. Smaller
#: deviations are not image content.
SMALLEST_DEVIATIONS = np.repeat([1 / 255, 0.1], [_COLORS, _AMPLITUDES])


class Scattering:
    """Colors, and log scattering coefficients of orders 1 and 2 of the luma, averaged over 4 x 4 cells.

    Args:
        resolution: side of square images, or their Size (width, height); at least 8 each way.
    """

    digest = "Morlet scattering, 3 octaves, 4 angles, 4 x 4 cells, version 2"
    min_side = _MARGIN  # the width of the mirrored border
    resize = "none"

    def __init__(self, resolution: Resolution) -> None:
        check_size(resolution, self.min_side)
        self.outputs = {"coefficients": FEATURES}
        width, height = size_of(resolution)
        self._box = max(width // MAX_RESOLUTION, height // MAX_RESOLUTION, 1)
        sides = [side // self._box + 2 * _MARGIN for side in (height, width)]
        self._filters = tf.constant(morlet_filters(*sides), tf.complex64)  # [scale, angle, H, W], over frequencies

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return {"coefficients": float32 [N, 1008]} for images uint8 [N, H, W, 3] or [N, H, W, 1]."""
        colors = uint8_to_rgb(images) / 127.5 - 1
        colors = tf.nn.avg_pool2d(colors, self._box, self._box, "VALID")
        luma = tf.pad(tf.tensordot(colors, _LUMA, 1), [[0, 0], [_MARGIN] * 2, [_MARGIN] * 2], mode="SYMMETRIC")
        first = self._amplitudes(luma[:, None, None], 0)  # [N, scale, angle, H, W]
        orders = [first]
        for scale in range(SCALES - 1):
            orders.append(self._amplitudes(first[:, scale, :, None, None], scale + 1))  # [N, angle, scale, angle, H, W]
        sides = luma.shape[1:]
        maps = tf.concat([tf.reshape(order, [-1, int(np.prod(order.shape[1:-2])), *sides]) for order in orders], 1)
        inner = maps[:, :, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
        amplitudes = _cell_means(tf.transpose(inner, [0, 2, 3, 1]))
        return {"coefficients": tf.concat([_cell_means(colors), tf.math.log(amplitudes + _FLOOR)], axis=1)}

    def _amplitudes(self, x: tf.Tensor, scale: int) -> tf.Tensor:
        """Return amplitudes [..., scales, angles, H, W] of x [..., 1, 1, H, W], for scales from `scale` on."""
        frequencies = tf.signal.fft2d(tf.cast(x, tf.complex64))
        return tf.abs(tf.signal.ifft2d(frequencies * self._filters[scale:]))


def morlet_filters(height: int, width: int) -> NDArray[np.float64]:
    """Return Morlet wavelets in the frequency domain, real, [SCALES, ANGLES, height, width].

    A wavelet of scale j is a plane wave of frequency 3 pi / 4 / 2^j radians per pixel, windowed by a Gaussian with a
    standard deviation of 0.8 * 2^j pixels along the wave and 2^j across. A multiple of the window is subtracted to make
    its mean 0. Its peak response is 1.
    """
    y, x = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(side) for side in (height, width)), indexing="ij")
    filters = np.empty([SCALES, ANGLES, height, width])
    for scale in range(SCALES):
        for angle in range(ANGLES):
            theta = np.pi * angle / ANGLES
            along, across = x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)
            deviation, center = 0.8 * 2**scale, 0.75 * np.pi / 2**scale

            window_across = np.exp(-((2**scale * across) ** 2) / 2)
            shifted, window = (np.exp(-((deviation * (along - shift)) ** 2) / 2) for shift in (center, 0))
            wave = window_across * (shifted - np.exp(-((deviation * center) ** 2) / 2) * window)
            filters[scale, angle] = wave / wave.max()
    return filters


def _cell_means(x: tf.Tensor) -> tf.Tensor:
    """Return cell means [N, 4 * 4 * C] of [N, H, W, C]; rows and columns beyond a multiple of 4 are dropped."""
    cell = [side // CELLS for side in x.shape[1:3]]
    x = x[:, : cell[0] * CELLS, : cell[1] * CELLS]
    return tf.reshape(tf.nn.avg_pool2d(x, cell, cell, "VALID"), [-1, CELLS**2 * x.shape[3]])
