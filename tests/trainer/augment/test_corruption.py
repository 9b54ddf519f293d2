"""Noise and cutout."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.helpers.forced_params import drawn, forced
from trainer.augment.augment_params import AugmentParams
from trainer.augment.corruption import add_noise, cut_out
from trainer.augment.random_params import COLUMNS


def numbers(values, probability=1.0):
    return AugmentParams(tf.constant(values), tf.constant(probability, tf.float32), tf.float32)


def noise(values, shape=(24, 24, 3), probability=1.0):
    zeros = tf.zeros([len(values), *shape])
    return add_noise(zeros, numbers(values, probability)).numpy().astype(np.float64)


def test_noise_has_the_strength_drawn():
    values = drawn(20)
    expected = 0.1 * np.abs(values[:, COLUMNS.index("noise")])
    np.testing.assert_allclose(noise(values, (64, 64, 3)).std(axis=(1, 2, 3)), expected, rtol=0.04)  # 6 deviations


def test_noise_is_normal_and_independent():
    one = noise(forced(1, noise=1.0, noise_key0=0.123))[0] / 0.1
    assert stats.kstest(one.ravel(), "norm").pvalue > 1e-4
    for a, b in [(one[1:], one[:-1]), (one[:, 1:], one[:, :-1]), (one[..., 1:], one[..., :-1])]:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.14  # at least 1104 pairs


def test_noise_of_every_image_is_its_own_and_stays_with_it():
    values = drawn(6)
    together = noise(values)
    assert len({image.tobytes() for image in together}) == 6
    for i in range(6):
        assert np.array_equal(noise(values[i : i + 1])[0], together[i])


def test_share_of_noisy_images():
    p, n = 0.3, 1000
    changed = np.any(noise(drawn(n), (6, 6, 1), p) != 0, axis=(1, 2, 3)).mean()
    assert abs(changed - p) < 5 * np.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("size", [(32, 32), (9, 20)])
def test_cutout_is_a_rectangle_of_half_the_size(size):
    values = drawn(50)
    got = cut_out(tf.ones([50, *size, 2]), numbers(values)).numpy()
    for row, image in zip(values, got, strict=True):
        expected = np.ones([*size, 2])
        for y in range(size[0]):
            for x in range(size[1]):
                far_y = abs((y + 0.5) / size[0] - row[COLUMNS.index("cutout_y")]) >= 0.25
                far_x = abs((x + 0.5) / size[1] - row[COLUMNS.index("cutout_x")]) >= 0.25
                expected[y, x] = far_y or far_x
        np.testing.assert_array_equal(image, expected)


def test_cutout_in_the_middle():
    cut = cut_out(tf.ones([1, 16, 16, 1]), numbers(forced()))[0, ..., 0].numpy()
    assert np.array_equal(np.argwhere(cut == 0).min(axis=0), [4, 4])
    assert np.sum(cut == 0) == 64


def test_share_of_cut_images():
    p, n = 0.3, 10000
    changed = np.any(cut_out(tf.ones([n, 6, 6, 1]), numbers(drawn(n), p)) == 0, axis=(1, 2, 3)).mean()
    assert abs(changed - p) < 5 * np.sqrt(p * (1 - p) / n)
