"""Band gains against their formula, and filtering against a direct sum and against pure tones."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.helpers.forced_params import drawn, forced
from tests.helpers.numerics import relative_error
from trainer.augment.augment_params import AugmentParams
from trainer.augment.filtering import band_gains, filter_bands, octave_bands
from trainer.augment.random_params import COLUMNS

POWER = np.array([10, 1, 1, 1]) / 13


def gains(values, probability=1.0):
    return band_gains(AugmentParams(tf.constant(values), tf.constant(probability, tf.float32), tf.float64)).numpy()


def test_gains():
    """Appendix B: the bands are amplified one after another, and all are scaled back to the expected power."""
    values = drawn(20)
    expected = np.ones([20, 4])
    for i in range(4):
        t = np.ones([20, 4])
        t[:, i] = 2.0 ** values[:, COLUMNS.index(f"band{i}")].astype(np.float64)
        expected *= t / np.sqrt(np.sum(POWER * t**2, axis=1, keepdims=True))
    assert relative_error(gains(values), expected) < 1e-14


def test_one_band_keeps_the_expected_power():
    for i in range(4):
        one = gains(forced(only=(f"band{i}",), **{f"band{i}": 1.3}))
        assert np.sum(POWER * one**2) == pytest.approx(1, abs=1e-14)
        assert one[0, i] / one[0, (i + 1) % 4] == pytest.approx(2**1.3, rel=1e-6)


def test_distribution():
    only = forced(4000, only=("band2",))
    only[:, COLUMNS.index("band2")] = drawn(4000)[:, COLUMNS.index("band2")]
    got = gains(only)
    assert stats.kstest(np.log2(got[:, 2] / got[:, 1]), "norm").pvalue > 1e-4


def test_share_of_images_changed():
    p, n = 0.3, 10000
    changed = np.any(gains(drawn(n), p) != 1, axis=1).mean()
    expected = 1 - (1 - p) ** 4
    assert abs(changed - expected) < 5 * np.sqrt(expected * (1 - expected) / n)


@pytest.mark.parametrize("size", [(8, 8), (13, 30), (32, 6)])
def test_against_a_direct_sum(size):
    rng = np.random.RandomState(0)
    images, g = rng.randn(2, *size, 3), np.exp(rng.randn(2, 4))
    taps = g @ octave_bands()
    expected = images
    for axis in (1, 2):
        padded = np.pad(expected, [(21, 21) if a == axis else (0, 0) for a in range(4)], mode="reflect")
        shifted = [np.take(padded, np.arange(k, k + images.shape[axis]), axis) for k in range(43)]
        expected = sum(taps[:, k, None, None, None] * shifted[k] for k in range(43))
    assert relative_error(filter_bands(tf.constant(images), tf.constant(g)), expected) < 1e-13


@pytest.mark.parametrize("periods", [(0, 0), (1, 0), (3, 5), (15, 9), (16, 16)])
def test_tones_are_multiplied_by_the_gain_at_their_frequency(periods):
    """A cosine that is its own mirror image at the edges stays one."""
    g = np.array([[0.5, 2.0, 3.0, 0.25]])
    y, x = (np.pi * p / 16 for p in periods)
    offset = np.arange(-21, 22)
    gain_y, gain_x = (np.sum(g @ octave_bands() * np.cos(f * offset)) for f in (y, x))
    tone = np.cos(y * np.arange(17))[:, None] * np.cos(x * np.arange(17))[None, :]
    got = filter_bands(tf.constant(tone[None, ..., None]), tf.constant(g))
    np.testing.assert_allclose(got[0, ..., 0], gain_y * gain_x * tone, atol=1e-13)
