"""Operators on images: against reference numbers, and where the answer is plain to see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.latents import transform_matrix
from sg3tf.metrics import equivariance
from tests.conftest import Golden
from tests.helpers.numerics import nhwc, relative_error


def stacked(*drawn: dict[str, Any]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(np.stack([d[name] for d in drawn])) for name in drawn[0]}


def image(size: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(size).standard_normal([count, size, size, 2], np.float32)


class Expected:
    """Reference numbers of one operator, for both examples of its motion."""

    def __init__(self, golden: Golden, name: str) -> None:
        arrays = golden("equivariance")
        self.x = tf.constant(np.repeat(nhwc(arrays["x_nchw"]), 2, axis=0))
        self.y = np.concatenate([nhwc(arrays[f"{name}/{k}/y"]) for k in "01"])
        self.mask = np.concatenate([nhwc(arrays[f"{name}/{k}/mask"]) for k in "01"])[..., :1]
        self.shifts = [arrays[f"{name}/{k}/t"] * 48 for k in "01"] if f"{name}/0/t" in arrays else []
        self.angles = [-float(arrays[f"rotation/{k}/angle"]) for k in "01"]  # theirs is anticlockwise

    def check(self, moved: tuple[tf.Tensor, tf.Tensor], tolerance: float) -> None:
        y, mask = moved
        np.testing.assert_array_equal(np.broadcast_to(mask, self.mask.shape), self.mask)
        assert relative_error(y * mask, self.y * self.mask) <= tolerance


def test_integer_translation_reference(golden: Golden):
    want = Expected(golden, "integer")
    drawn = stacked(*(equivariance.translation_params_for(np.round(shift), 48) for shift in want.shifts))
    want.check(equivariance.translate(want.x, drawn), 0)


def test_fractional_translation_reference(golden: Golden):
    want = Expected(golden, "fractional")
    drawn = stacked(*(equivariance.translation_params_for(shift, 48, lobes=3) for shift in want.shifts))
    want.check(equivariance.translate(want.x, drawn), 1e-6)


def test_rotation_reference(golden: Golden):
    """The reference rounds positions to float32."""
    want = Expected(golden, "rotation")
    want.check(equivariance.rotate(want.x, stacked(*map(equivariance.rotation_params_for, want.angles))), 1e-5)


def test_pseudo_rotation_reference(golden: Golden):
    want = Expected(golden, "pseudo_rotation")
    want.check(equivariance.pseudo_rotate(want.x, stacked(*map(equivariance.rotation_params_for, want.angles))), 2e-6)


@pytest.mark.parametrize("quarters", [-3, -1, 0, 1, 2])
def test_quarter_turns_move_pixels_onto_pixels(quarters: int):
    """No frequency is lost, so that nothing is filtered; x is shown with y downwards, so clockwise is rot90's -1."""
    x, drawn = image(20), stacked(equivariance.rotation_params_for(quarters * np.pi / 2))
    y, mask = equivariance.rotate(x, drawn)
    assert np.sum(mask) >= 7 * 7
    np.testing.assert_allclose(y * mask, np.rot90(x, -quarters, axes=(1, 2)) * mask, atol=1e-5)
    y, mask = equivariance.pseudo_rotate(x, drawn)
    assert np.sum(mask) == 10 * 10
    np.testing.assert_allclose(y * mask, x * mask, atol=1e-5)


@pytest.mark.parametrize("lobes", [0, 3])
def test_whole_translations_move_pixels_onto_pixels(lobes: int):
    x = image(16, 2)
    y, mask = equivariance.translate(
        x,
        stacked(
            equivariance.translation_params_for((3, -2), 16, lobes),
            equivariance.translation_params_for((0, 1), 16, lobes),
        ),
    )
    np.testing.assert_allclose(y[0, :14, 3:], x[0, 2:, :13], atol=1e-6)
    np.testing.assert_allclose(y[1, 1:], x[1, :15], atol=1e-6)
    expected = np.zeros([2, 16, 16, 1])
    if lobes:  # the samples from 3 before a position to 2 behind must be there
        expected[0, 1:12, 6:16] = expected[1, 4:15, 3:14] = 1
    else:
        expected[0, :14, 3:] = expected[1, 1:] = 1
    np.testing.assert_array_equal(mask, expected)


def test_constants_stay_constant():
    """Taps are normalised between pixels too."""
    x = tf.ones([1, 32, 32, 1])
    for y, mask in (
        equivariance.translate(x, stacked(equivariance.translation_params_for((1.3, -2.6), 32, lobes=3))),
        equivariance.rotate(x, stacked(equivariance.rotation_params_for(0.7))),
        equivariance.pseudo_rotate(x, stacked(equivariance.rotation_params_for(0.7))),
    ):
        assert np.sum(mask) > 200
        np.testing.assert_allclose(y * mask, mask, atol=2e-6)


def test_draws_cover_what_the_paper_says():
    rng = np.random.default_rng(0)
    corners = [equivariance.sample_fractional_translation(rng, 64)["transform"][:2, 2] for _ in range(500)]
    assert 0.12 < np.max(corners) <= 1 / 8 and -1 / 8 <= np.min(corners) < -0.12
    whole = np.array([equivariance.sample_integer_translation(rng, 64)["transform"][:2, 2] for _ in range(500)]) * 64
    assert set(np.unique(whole)) == set(range(-8, 9))
    cosines = [equivariance.sample_rotation(rng, 64)["transform"][0, :2] for _ in range(500)]
    assert np.max(cosines) > 0.99 and np.min(cosines) < -0.99 and np.max(np.abs(np.mean(cosines, axis=0))) < 0.1


def test_transforms_are_those_of_the_generator():
    np.testing.assert_allclose(
        equivariance.translation_params_for((3, -5), 40)["transform"], transform_matrix(0, 3 / 40, -5 / 40), atol=1e-7
    )
    np.testing.assert_allclose(equivariance.rotation_params_for(0.4)["transform"], transform_matrix(0.4), atol=1e-7)
