"""Matrices against the paper's sequence in float64, distributions, and images against their analytic values."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from sg3tf.ops import use_backend
from tests.helpers.forced_params import drawn, forced
from tests.helpers.numerics import assert_normal, relative_error
from trainer.augment import geometry
from trainer.augment.augment_params import AugmentParams
from trainer.augment.geometry import TRANSFORMS, inverse_transformations, product
from trainer.augment.random_params import COLUMNS

HEIGHT, WIDTH = 40, 56


def inverses(values, transforms=TRANSFORMS, probability=1.0):
    numbers = AugmentParams(tf.constant(values), tf.constant(probability, tf.float32), tf.float32)
    return inverse_transformations(transforms, numbers, (HEIGHT, WIDTH)).numpy().astype(np.float64)


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def scaling(x, y):
    return np.diag([x, y, 1.0])


def translation(x, y):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def forward(row):
    """The sequence of figure 17 of the paper for one image, step by step."""
    u = dict(zip(COLUMNS, row.astype(np.float64), strict=True))
    steps = [
        scaling(1 - 2 * np.floor(2 * u["xflip"]), 1),
        rotation(-np.pi / 2 * np.floor(4 * u["rotate90"])),
        translation(*(np.round((2 * u[f"xint_{a}"] - 1) / 8 * s) for a, s in (("x", WIDTH), ("y", HEIGHT)))),
        scaling(*2 * [2 ** (0.2 * u["scale"])]),
        rotation(-np.pi * (2 * u["pre_rotate"] - 1)),
        scaling(2 ** (0.2 * u["aniso"]), 2 ** (-0.2 * u["aniso"])),
        rotation(-np.pi * (2 * u["post_rotate"] - 1)),
        translation(u["xfrac_x"] / 8 * WIDTH, u["xfrac_y"] / 8 * HEIGHT),
    ]
    return functools.reduce(lambda done, step: step @ done, steps)


def test_all_steps_in_the_papers_order():
    values = drawn(50)
    expected = np.linalg.inv([forward(row) for row in values])
    assert relative_error(inverses(values), expected) < 1e-6


def test_nothing_happens_at_probability_zero():
    assert np.array_equal(inverses(drawn(50), probability=0.0), np.tile(np.eye(3), [50, 1, 1]))


def test_blitting_moves_whole_pixels():
    values = inverses(drawn(200), ("xflip", "rotate90", "xint"))
    assert np.array_equal(values, np.round(values))


@pytest.mark.parametrize(
    "transform, choices",
    [("xflip", 2), ("rotate90", 4), ("scale", None), ("rotate", None), ("aniso", None), ("xfrac", None)],
)
def test_share_of_images_moved(transform, choices):
    """Shares of changed images: p, less the share of choices that change nothing."""
    p, n = 0.4, 10000
    moved = np.any(inverses(drawn(n), (transform,), p) != np.eye(3), axis=(1, 2)).mean()
    expected = p * (1 - 1 / choices) if choices else p
    assert abs(moved - expected) < 5 * np.sqrt(expected * (1 - expected) / n)


def test_distributions():
    n = 4000
    values = drawn(n)

    def entry(transform, row, column):
        return inverses(values, (transform,))[:, row, column]

    assert_normal(np.log2(entry("scale", 0, 0)), 0.2)
    assert_normal(np.log2(entry("aniso", 0, 0)), 0.2)
    assert_normal(entry("xfrac", 0, 2), WIDTH / 8)
    assert_normal(entry("xfrac", 1, 2), HEIGHT / 8)
    matrices = inverses(values, ("rotate",))
    angle = np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-4
    shift = entry("xint", 0, 2)
    counts = np.array([np.sum(shift == s) for s in range(-7, 8)])
    assert counts.sum() == n  # round(-7..7), the ends with half the share
    assert stats.chisquare(counts, n * np.array([0.5, *13 * [1], 0.5]) / 14).pvalue > 1e-4
    turns = entry("rotate90", 0, 0) + 2 * entry("rotate90", 1, 0)
    assert stats.chisquare([np.sum(turns == t) for t in (1, 2, -1, -2)]).pvalue > 1e-4


def test_product_is_a_matrix_product():
    a, b = np.random.RandomState(0).randn(2, 5, 3, 3)
    assert relative_error(product(tf.constant(a), tf.constant(b)), a @ b) < 1e-14


def cosines(y, x, height, width):
    """Smooth, no two corners alike, and its own mirror image about the first and the last pixels."""
    y, x = np.pi * y / (height - 1), np.pi * x / (width - 1)
    return 0.5 * np.cos(x) + 0.3 * np.cos(y) * np.cos(x) + 0.2 * np.cos(2 * y)


def analytic(inverse, height, width):
    """The transformed cosines, evaluated at the source of each pixel, which may be beyond the edges."""
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    source = inverse @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    return cosines(source[1] + (height - 1) / 2, source[0] + (width - 1) / 2, height, width).reshape(height, width)


STEPS = {
    "by 30 degrees": rotation(np.pi / 6),
    "by a right angle": rotation(np.pi / 2),
    "mirrored": scaling(-1, 1),
    "larger": scaling(0.7, 0.7),
    "smaller, edges in view": scaling(1.9, 1.9),
    "squeezed": scaling(0.8, 1.25),
    "shifted by fractions": translation(3.3, -4.6),
    "shifted far out of the picture": translation(-5.2 * WIDTH, 3.7 * HEIGHT),
    "everything": translation(3.3, -4.6) @ rotation(0.4) @ scaling(1.2, 0.9) @ rotation(-1.3),
}


@pytest.mark.parametrize("impl", ["xla", "matmul"])
def test_images_against_analytic_values(impl):
    y, x = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")
    images = np.tile(cosines(y, x, HEIGHT, WIDTH)[None, ..., None], [len(STEPS), 1, 1, 1])
    with use_backend(impl):
        got = geometry.transform(tf.constant(images), tf.constant(np.stack(list(STEPS.values()))))
    for name, inverse, result in zip(STEPS, STEPS.values(), got.numpy()[..., 0], strict=True):
        # The filter's delay is 5.1 taps where 5 are made up for: 0.05 pixels, once before and once after the
        # transformation; the steepest slope is 0.1 per pixel.
        assert np.abs(result - analytic(inverse, HEIGHT, WIDTH)).max() < 0.012, name


@pytest.mark.parametrize("shift", [(3, 0), (0, -5), (-7, 4)])
def test_whole_pixels_are_copied(shift):
    images = np.random.RandomState(0).uniform(-1, 1, [1, HEIGHT, WIDTH, 3])
    got = geometry.transform(tf.constant(images), tf.constant(translation(*shift)[None]))
    rows = np.pad(np.arange(HEIGHT), 8, mode="reflect")[8 + shift[1] :][:HEIGHT]
    columns = np.pad(np.arange(WIDTH), 8, mode="reflect")[8 + shift[0] :][:WIDTH]
    np.testing.assert_allclose(got, images[:, rows][:, :, columns], atol=1e-12)


@pytest.mark.parametrize("size", [(6, 6), (6, 9), (7, 16)])
def test_small_and_odd_sizes(size):
    y, x = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    images = cosines(y, x, *size)[None, ..., None]
    got = geometry.transform(tf.constant(images), tf.constant(translation(*size)[None])).numpy()
    np.testing.assert_allclose(got[0, ..., 0], analytic(translation(*size), *size), atol=1e-12)


def test_upsampling_and_downsampling_is_the_identity():
    """A shift by one full period is the identity, but does not take the shortcut of the identity matrix."""
    images = np.random.RandomState(0).uniform(-1, 1, [1, 16, 16, 2])
    got = geometry.transform(tf.constant(images), tf.constant(translation(30, 30)[None]))
    np.testing.assert_allclose(got, images, atol=1e-12)


def test_direction_of_positive_numbers():
    """xint to the right and down; scale enlarges; aniso widens."""
    one = inverses(forced(xint_x=0.75, xint_y=0.9), ("xint",))[0]
    np.testing.assert_array_equal(one, translation(-4, -4))  # 0.5 / 8 * 56 = 3.5, to the even 4; 0.8 / 8 * 40 = 4
    assert inverses(forced(scale=1.0), ("scale",))[0, 0, 0] < 1
    wide = inverses(forced(aniso=1.0), ("aniso",))[0]
    assert wide[0, 0] < 1 < wide[1, 1]
