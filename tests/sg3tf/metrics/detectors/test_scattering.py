"""Scattering coefficients against NumPy in float64, and the wavelets against their closed form."""

from __future__ import annotations

import numpy as np
import pytest

from sg3tf.metrics.detectors.scattering import (
    ANGLES,
    CELLS,
    FEATURES,
    SCALES,
    SMALLEST_DEVIATIONS,
    Scattering,
    morlet_filters,
)
from sg3tf.metrics.kid import kernel_distance, standardized_kernel_distance
from sg3tf.utils.resolution import to_resolution


def test_wavelets_are_windowed_waves_of_mean_zero():
    """Their inverse transform is the closed form in space, except for the part of it beyond Nyquist's frequency.

    That lies 3.1 and 8.2 standard deviations from the centers of scales 1 and 2: exp(-3.1^2 / 2) = 0.8 % of the largest
    response, and nothing. Scale 0 has a good part of its spectrum there.
    """
    size = 96
    assert np.abs(morlet_filters(size, size)[..., 0, 0]).max() < 1e-15
    for scale in (1, 2):
        for angle in range(ANGLES):
            wavelet = np.fft.fftshift(np.fft.ifft2(morlet_filters(size, size)[scale, angle]))
            y, x = np.mgrid[:size, :size] - size // 2
            theta = np.pi * angle / ANGLES
            along, across = x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)
            deviation, frequency = 0.8 * 2**scale, 0.75 * np.pi / 2**scale
            window = np.exp(-((along / deviation) ** 2 + (across / 2**scale) ** 2) / 2)
            offset = np.exp(-((deviation * frequency) ** 2) / 2)
            expected = window * (np.exp(1j * frequency * along) - offset)
            expected *= wavelet[size // 2, size // 2] / expected[size // 2, size // 2]
            tolerance = {1: 0.03, 2: 1e-9}[scale] * np.abs(wavelet).max()
            np.testing.assert_allclose(wavelet, expected, atol=tolerance)


def reference(image: np.ndarray) -> np.ndarray:
    """Features of an image uint8 [H, W, 3], coefficient by coefficient in float64."""
    colors = image / 127.5 - 1
    if max(colors.shape) > 64:
        box = max(colors.shape) // 64
        height, width = (side // box for side in colors.shape[:2])
        colors = colors[: height * box, : width * box].reshape(height, box, width, box, 3).mean((1, 3))
    luma = np.pad(colors @ [0.299, 0.587, 0.114], 8, mode="symmetric")
    filters = morlet_filters(*luma.shape)

    def amplitude(x: np.ndarray, scale: int, angle: int) -> np.ndarray:
        return np.abs(np.fft.ifft2(np.fft.fft2(x) * filters[scale, angle]))

    first = {(j, a): amplitude(luma, j, a) for j in range(SCALES) for a in range(ANGLES)}
    maps = list(first.values())
    for (j, _), x in first.items():
        maps += [amplitude(x, k, b) for k in range(j + 1, SCALES) for b in range(ANGLES)]

    def cells(x: np.ndarray) -> np.ndarray:
        height, width = (side // CELLS for side in x.shape[:2])
        x = x[: CELLS * height, : CELLS * width]
        return x.reshape(CELLS, height, CELLS, width, -1).mean((1, 3)).reshape(-1)

    stacked = np.stack(maps, axis=-1)[8:-8, 8:-8]
    return np.concatenate([cells(colors), np.log(cells(stacked) + 1 / 255)])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 64), (16, 16), (32, 32), (128, 128), (70, 128), (128, 70)])
def test_definition(height: int, width: int):
    """Errors of a float32 transform of amplitudes up to 1, divided by the smallest of 1/255 in the logarithm."""
    rng = np.random.default_rng(height)
    x = rng.integers(0, 256, [2, height, width, 3], np.uint8)
    x[1, : height // 2] = 200  # smooth: small amplitudes
    found = Scattering(to_resolution([width, height]))(x)["coefficients"].numpy()
    assert found.shape == (2, FEATURES)
    for i in range(2):
        np.testing.assert_allclose(found[i], reference(x[i]), atol=1e-6 * 255)


def test_standardized_distance():
    """Of features with any scale and offset that of the standardized ones."""
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal([40, 5]), rng.standard_normal([30, 5]) + 0.5
    real = (real - real.mean(0)) / real.std(0)
    expected = 1000 * kernel_distance(real, fake, np.random.default_rng(1), num_subsets=10)
    scale, offset = rng.uniform(0.1, 10, 5), rng.normal(0, 10, 5)
    real_scaled, fake_scaled = real * scale + offset, fake * scale + offset
    found = standardized_kernel_distance(real_scaled, fake_scaled, np.random.default_rng(1), np.full(5, 1e-9))
    assert found == pytest.approx(expected, rel=1e-9)
    # A sixth feature, which is constant in the real set and 1.5 more in the other, counts in units of 0.5.
    real_more, fake_more = (np.insert(x, 5, value, axis=1) for x, value in ((real_scaled, 7.0), (fake_scaled, 8.5)))
    by_hand = (np.insert(x, 5, value, axis=1) for x, value in ((real, 0.0), (fake, 3.0)))
    expected = 1000 * kernel_distance(*by_hand, np.random.default_rng(1), num_subsets=10)
    smallest = np.array([1e-9] * 5 + [0.5])
    found = standardized_kernel_distance(real_more, fake_more, np.random.default_rng(1), smallest)
    assert found == pytest.approx(expected, rel=1e-9)


def test_flat_backgrounds_do_not_decide():
    """Noise of one gray level on a background that is flat in all real images: 1e24 without smallest deviations."""
    rng = np.random.default_rng(0)

    def pictures(noise: int) -> np.ndarray:
        images = np.zeros([60, 64, 64, 1], np.int64)
        images[:, 20:44, 20:44] = rng.integers(0, 256, [60, 24, 24, 1])
        return np.clip(images + rng.integers(-noise, noise + 1, images.shape), 0, 255).astype(np.uint8)

    real, *others = (Scattering(64)(pictures(noise))["coefficients"].numpy() for noise in (0, 0, 1))
    same, noisy = (standardized_kernel_distance(real, x, rng, SMALLEST_DEVIATIONS) for x in others)
    assert abs(same) < 50 < noisy < 1e4
