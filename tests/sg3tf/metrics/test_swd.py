"""The sliced Wasserstein distance and its patches against SciPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

from sg3tf.data.selection import Spread
from sg3tf.metrics import ArrayImages, Evaluation, compute, detectors
from sg3tf.metrics.detectors import DetectorError
from sg3tf.metrics.detectors.laplacian_patches import PATCHES, SIZE, LaplacianPatches, pyramid
from sg3tf.metrics.detectors.scattering import Scattering
from sg3tf.metrics.swd import DIRECTIONS, sliced_wasserstein_distance
from sg3tf.utils.resolution import Size, to_resolution
from tests.helpers.metric_stubs import Colors, MeanColor


def images(count: int, height: int, width: int | None = None, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, [count, height, width or height, 3], np.uint8)


def reference_pyramid(image: np.ndarray, levels: int) -> list[np.ndarray]:
    """Of an image [H, W, 3], in float64."""

    def blur(x: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            x = scipy.ndimage.correlate1d(x, np.array([1, 4, 6, 4, 1]) / 16, axis, mode="mirror")
        return x

    result, image = [], image.astype(np.float64)
    for _ in range(levels - 1):
        half = blur(image)[::2, ::2]
        expanded = np.zeros_like(image)
        expanded[::2, ::2] = half
        result.append(image - blur(4 * expanded))
        image = half
    return [*result, image]


def test_pyramid():
    """All values are below 512, so that a level's few operations round by less than 2^-12 in all."""
    x = images(2, 64)
    levels = [level.numpy() for level in pyramid(tf.constant(x, tf.float32), 3)]
    assert [level.shape[1] for level in levels] == [64, 32, 16]
    for i in range(2):
        for actual, expected in zip(levels, reference_pyramid(x[i], 3), strict=True):
            np.testing.assert_allclose(actual[i], expected, atol=2**-12)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 48)])
def test_patches_are_those_of_the_levels_and_of_the_number_alone(height: int, width: int):
    x = images(3, height, width)
    detector = LaplacianPatches(to_resolution([width, height]))
    rows = detector(x, tf.range(3))["patches"].numpy()
    patches = rows.reshape(3, 2, PATCHES, SIZE, SIZE, 3)
    drawn = {}
    for i in range(3):
        for level, expected in enumerate(reference_pyramid(x[i], 2)):
            windows = sliding_window_view(expected, (SIZE, SIZE), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
            corners = []
            for patch in patches[i, level]:
                distance = np.abs(windows - patch).max(axis=(2, 3, 4))
                corners.append(np.unravel_index(distance.argmin(), distance.shape))
                assert distance.min() < 2**-12
            # 128 draws leave out one of 26 rows with probability 26 * (25 / 26)^128 = 17 %; of 42, two on average.
            for axis, side in zip(zip(*corners, strict=True), windows.shape[:2], strict=True):
                assert set(axis) <= set(range(side)) and len(set(axis)) >= side - (2 if side < 40 else 7)
            drawn[i, level] = corners
    assert drawn[0, 0] != drawn[1, 0] != drawn[2, 0]
    alone = detector(x[1:2], tf.constant([1]))["patches"].numpy()
    np.testing.assert_array_equal(alone[0], rows[1])
    # A pixel that rounds to the next value, as on another machine, changes a pixel of 64 patches at most a little.
    rounded = x.copy()
    rounded[:, 5, 5] ^= 1
    change = detector(rounded, tf.range(3))["patches"].numpy() - rows
    assert 0 < np.abs(change).max() <= 1


def test_gray_images_are_three_equal_channels():
    gray = images(1, 16)[..., :1]
    rows, copy = (LaplacianPatches(16)(x, tf.constant([0]))["patches"].numpy() for x in (gray, np.repeat(gray, 3, -1)))
    assert rows.std() > 0
    np.testing.assert_array_equal(rows, copy)


def test_definition():
    """For each level and direction SciPy's distance in one dimension, of normalized patches in float64."""
    rng = np.random.default_rng(1)
    real = rng.normal(2, 3, [3, 2 * PATCHES * 147])
    fake = rng.gamma(2, size=[5, 2 * PATCHES * 147])  # of the larger set the first ones
    expected, directions_rng = [], np.random.default_rng(4)
    for level in range(2):
        pair = []
        for rows in (real, fake[:3]):
            patches = rows.reshape(3, 2, PATCHES * 49, 3)[:, level]
            patches = (patches - patches.mean((0, 1))) / patches.std((0, 1))
            pair.append(patches.reshape(-1, 147))
        for _ in range(DIRECTIONS // 64):
            directions = directions_rng.standard_normal([147, 64])
            for direction in (directions / np.linalg.norm(directions, axis=0)).T:
                expected.append(scipy.stats.wasserstein_distance(pair[0] @ direction, pair[1] @ direction))
    value = sliced_wasserstein_distance(real, fake, np.random.default_rng(4))
    # float32 projections of unit variance, sums of 147 terms: 147 * 2^-24 * 1000 at most.
    assert value == pytest.approx(1000 * np.mean(expected), abs=0.01)


def test_equal_sets_and_colors():
    """A channel's scale and offset do not count, which are normalized in either set."""
    x = np.random.default_rng(0).normal(size=[4, PATCHES * 49, 3]).astype(np.float32)
    other = x * [1, 2, 3] + [4, 5, 6]
    x, other = x.reshape(4, -1), other.reshape(4, -1)
    assert sliced_wasserstein_distance(x, x, np.random.default_rng(0)) == 0
    assert sliced_wasserstein_distance(x, other, np.random.default_rng(0)) < 0.01
    constant = np.ones_like(x)
    assert np.isfinite(sliced_wasserstein_distance(constant, x, np.random.default_rng(0)))


def test_refused():
    with pytest.raises(ValueError, match="0 real and 1 fake images"):
        sliced_wasserstein_distance(np.zeros([0, 147]), np.zeros([1, 147]), np.random.default_rng(0))
    with pytest.raises(DetectorError, match="images of 64x8: must be 16x16 at least"):
        LaplacianPatches(Size(64, 8))
    with pytest.raises(DetectorError, match="images of 4x4: must be 8x8 at least"):
        Scattering(4)


def test_real_images_are_spread_over_the_data_and_as_many_as_the_generated_ones(monkeypatch):
    """Data may be sorted by class. A metric beside it that takes the first images still does."""
    monkeypatch.setattr(detectors, "load", lambda name, folder: MeanColor())
    x, names = images(9, 16), ["swd", "kid_scattering"]
    values = compute(names, Colors(), ArrayImages(x), num_samples=3)
    one_of_each_third = Spread(9, 3)(np.arange(3))
    assert values == compute(names, Colors(), ArrayImages(x[one_of_each_third]), num_samples=3)
    assert values != compute(names, Colors(), ArrayImages(x[:3]), num_samples=3)
    together = Evaluation([*names, "kid50k"], Colors(), ArrayImages(x), num_samples=3, detector_dir="x")
    assert [(result.num_real, result.values) for result in together] == [
        (3, {"swd": values["swd"]}),
        (3, {"kid_scattering": values["kid_scattering"]}),
        (9, compute(["kid50k"], Colors(), ArrayImages(x), num_samples=3, detector_dir="x")),
    ]


def test_no_more_images_are_generated_than_there_are_real_ones():
    data = ArrayImages(images(5, 16))
    results = [*Evaluation(["swd", "kid_scattering"], Colors(), data, num_samples=8)]
    assert [(result.num_samples, result.num_real) for result in results] == [(5, 5), (5, 5)]
    same = [*Evaluation(["swd", "kid_scattering"], Colors(), data, num_samples=5)]
    assert [result.values for result in results] == [result.values for result in same]


def test_needs_no_files():
    values = compute(["swd", "kid_scattering"], Colors(), ArrayImages(images(8, 16)), num_samples=8)
    assert set(values) == {"swd", "kid_scattering"} and values["swd"] > 100
