"""Color transforms against their formulas in float64; grays and opacity."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.helpers.forced_params import drawn, forced, smooth_images
from tests.helpers.numerics import assert_normal, relative_error
from trainer.augment.augment_params import AugmentParams
from trainer.augment.color import TRANSFORMS, apply_color_matrices, color_matrices


def matrices(values, transforms=TRANSFORMS, probability=1.0, dtype=tf.float64):
    return color_matrices(transforms, AugmentParams(tf.constant(values), tf.constant(probability, tf.float32), dtype))


def applied(values, images, transforms=TRANSFORMS):
    of_images = matrices(values, transforms, dtype=tf.as_dtype(images.dtype))
    return apply_color_matrices(tf.constant(images), of_images).numpy()


@pytest.fixture
def images():
    return np.random.RandomState(0).uniform(-1, 1, [2, 5, 6, 3])


def luma(images):
    return images.mean(axis=3, keepdims=True)


@pytest.mark.parametrize(
    "transform, strength, formula",
    [
        ("brightness", 1.5, lambda x: x + 0.3),
        ("contrast", -2.0, lambda x: x / 2),
        ("lumaflip", 0.7, lambda x: x - 2 * luma(x)),
        ("lumaflip", 0.3, lambda x: x),
        ("saturation", 2.0, lambda x: luma(x) + 4 * (x - luma(x))),
        ("hue", 0.5 + 1 / 3, lambda x: np.roll(x, 1, axis=3)),  # 120 degrees: red becomes green
        ("hue", 0.5 - 1 / 3, lambda x: np.roll(x, -1, axis=3)),
        ("hue", 0.0, lambda x: 2 * luma(x) - x),  # half a turn
    ],
)
def test_formula(images, transform, strength, formula):
    got = applied(forced(2, **{transform: strength}), images, (transform,))
    assert relative_error(got, formula(images)) < 2e-7  # the numbers are float32


def test_hue_turns_by_its_angle_and_keeps_luma(images):
    got = applied(forced(2, hue=0.6), images, ("hue",))
    np.testing.assert_allclose(luma(got), luma(images), atol=1e-7)
    before, after = images - luma(images), got - luma(got)
    lengths = np.linalg.norm(before, axis=3) * np.linalg.norm(after, axis=3)
    np.testing.assert_allclose(np.sum(before * after, axis=3), lengths * np.cos(0.2 * np.pi), atol=1e-6)


def test_order(images):
    """Brightness, contrast, luma flip, hue, saturation, each applied to the result of the one before."""
    values = drawn(2)
    expected = images
    for transform in TRANSFORMS:
        expected = applied(values, expected, (transform,))
    assert relative_error(applied(values, images), expected) < 1e-14
    reversed_order = images
    for transform in reversed(TRANSFORMS):
        reversed_order = applied(values, reversed_order, (transform,))
    assert relative_error(reversed_order, expected) > 1e-3


def test_distributions():
    values = drawn(4000)

    assert_normal(matrices(values, ("brightness",)).numpy()[:, 0, 3], 0.2)
    assert_normal(np.log2(matrices(values, ("contrast",)).numpy()[:, 0, 0]), 0.5)
    # Of the part that sums to zero, such as (1, -1, 0), saturation is the factor.
    assert_normal(np.log2(matrices(values, ("saturation",)).numpy()[:, 0, :2] @ [1, -1]), 1.0)
    hue = matrices(values, ("hue",)).numpy()
    cosine, sine = (3 * hue[:, 0, 0] - 1) / 2, (hue[:, 1, 0] - hue[:, 0, 1]) * np.sqrt(3) / 2
    assert stats.kstest(np.arctan2(sine, cosine), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-4


@pytest.mark.parametrize("transform, share", [(t, 0.5 if t == "lumaflip" else 1.0) for t in TRANSFORMS])
def test_share_of_images_changed(transform, share):
    p, n = 0.4, 10000
    changed = np.any(matrices(drawn(n), (transform,), p) != np.eye(4), axis=(1, 2)).mean()
    assert abs(changed - share * p) < 5 * np.sqrt(share * p * (1 - share * p) / n)


def test_nothing_happens_at_probability_zero():
    got = matrices(drawn(50), probability=0.0, dtype=tf.float32)
    assert np.array_equal(got, np.tile(np.eye(4), [50, 1, 1]))


def test_gray_is_the_mean_of_the_color_that_comes_of_it():
    values, gray = drawn(8), smooth_images(8, 6, 1, np.float64)
    colors = applied(values, np.tile(gray, [1, 1, 1, 3]))
    np.testing.assert_allclose(applied(values, gray), luma(colors), atol=1e-13)
    assert np.ptp(colors, axis=3).max() < 1e-12  # no transform gives a gray a hue


def test_hue_and_saturation_do_nothing_to_gray():
    gray = smooth_images(8, 6, 1, np.float64)
    np.testing.assert_allclose(applied(drawn(8), gray, ("hue", "saturation")), gray, atol=1e-14)


def test_opacity_is_untouched(images):
    values, opacity = drawn(2), np.random.RandomState(1).uniform(-1, 1, [2, 5, 6, 1])
    got = applied(values, np.concatenate([images, opacity], axis=3))
    assert np.array_equal(got[..., 3:], opacity)
    assert np.array_equal(got[..., :3], applied(values, images))


@pytest.mark.parametrize("channels", [2, 5])
def test_other_channels_are_refused(channels):
    with pytest.raises(ValueError, match=f"images of {channels} channels: color transforms need 1, 3 or 4; leave"):
        applied(drawn(1), np.zeros([1, 6, 6, channels]))
