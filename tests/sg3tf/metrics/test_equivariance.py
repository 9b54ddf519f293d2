"""Equivariance of generators for which it is known, and of a real one; its operators on images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from sg3tf import Generator, GeneratorConfig
from sg3tf.latents import transform_matrix
from sg3tf.metrics import compute, equivariance
from sg3tf.metrics.samples import Labels, Samples, uniform_classes
from sg3tf.utils.resolution import Size
from tests.conftest import Golden
from tests.helpers.analytic_images import AMPLITUDE, WAVES, Waves
from tests.helpers.numerics import nhwc, relative_error

NAMES = ["eqt50k_int", "eqt50k_frac", "eqr50k"]


def decibel(squared_difference: float) -> float:
    return float(10 * np.log10(4 / squared_difference))


def test_equivariant_generator():
    """What remains: float32; Lanczos filters of three lobes, which attenuate this wave by some 1e-3."""
    values = compute(NAMES, Waves(), num_samples=20)
    assert values["eqt50k_int"] > 120 and values["eqt50k_frac"] > 60 and values["eqr50k"] > 60, values


@pytest.mark.parametrize("resolution", ["48x32", "32x48"])
def test_equivariant_pictures_that_are_not_square(resolution: str):
    values = compute(NAMES, Waves(GeneratorConfig(resolution, z_dim=2)), num_samples=20)
    assert values["eqt50k_int"] > 120 and values["eqt50k_frac"] > 60 and values["eqr50k"] > 60, values


@pytest.mark.parametrize("name", NAMES)
def test_images_that_fade_when_transformed(name: str):
    """The difference is a fifth of an image, and an image's mean square half its amplitude's square.

    0.1 dB: twice what the filters leave (above), over a difference of a fifth. Seed 1 leaves no image where it is.
    """
    value = compute([name], Waves(gain=0.8), num_samples=20, seed=1)[name]
    assert value == pytest.approx(decibel(0.2**2 * AMPLITUDE**2 / 2), abs=0.1)


def test_wrong_direction():
    """Images are apart by twice the shift, of which the component along the wave counts."""
    samples = Samples(count=12, z_dim=2, seed=5, labels=None)
    directions = samples.latents(np.arange(12)).astype(np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    squares = values = 0.0
    for i, direction in enumerate(directions):
        shift = -equivariance.sample_integer_translation(samples.params_rng(i), 32)["transform"][:2, 2].astype(
            np.float64
        )
        pixels = np.prod(32 - np.abs(np.round(shift * 32)))
        squares += pixels * AMPLITUDE**2 * (1 - np.cos(2 * np.pi * WAVES * 2 * (shift @ direction)))
        values += pixels
    value = compute(["eqt50k_int"], Waves(inverted=True), num_samples=12, seed=5)["eqt50k_int"]
    assert value == pytest.approx(decibel(squares / values), abs=1e-3)
    others = compute(NAMES, Waves(inverted=True), num_samples=12)
    assert max(others.values()) < 20


def test_noise():
    """Two images' noise is in a difference; 0.1 dB is over three standard errors of 40 x 800 pixels' mean square."""
    value = compute(["eqt50k_int"], Waves(noise=0.03), num_samples=40)["eqt50k_int"]
    assert value == pytest.approx(decibel(2 * 0.03**2), abs=0.1)


def test_value_depends_on_seed_and_count_and_not_on_batch():
    def values(names: list[str] = NAMES[:1], **kwargs: Any) -> list[float]:
        return list(compute(names, Waves(inverted=True), **kwargs).values())

    first = values(NAMES, num_samples=7, batch=7)
    for batch in (3, 16):
        assert values(NAMES, num_samples=7, batch=batch) == pytest.approx(first, abs=1e-5)
    assert values(num_samples=7, batch=7) == first[:1]
    for others in (values(num_samples=7, seed=1), values(num_samples=6)):
        assert others != pytest.approx(first[:1], abs=1e-2)


def test_progress():
    seen: list[tuple[str, int, int]] = []
    compute(NAMES[:1], Waves(), num_samples=5, batch=2, progress=lambda *done: seen.append(done))
    assert seen == [(NAMES[0], 2, 5), (NAMES[0], 4, 5), (NAMES[0], 5, 5)]


def test_labels():
    """Every third image is of the class that fades; batches run across them, the last beyond them."""
    G = Waves(GeneratorConfig(32, z_dim=2, label_dim=2), gain=0.8)
    classes = np.eye(2, dtype=np.float32)[[0, 0, 1] * 3]
    value = compute(NAMES[:1], G, num_samples=9, batch=4, labels=Labels("every third", lambda i: classes[i]))[NAMES[0]]
    samples = Samples(9, 2, 0, None)
    shifts = [equivariance.sample_integer_translation(samples.params_rng(i), 32)["whole"] for i in range(9)]
    pixels = np.prod(32 - np.abs(shifts), axis=1)
    assert value == pytest.approx(decibel(0.2**2 * AMPLITUDE**2 / 2 * pixels[2::3].sum() / pixels.sum()), abs=1e-3)


def test_images_that_are_not_finite():
    """Even outside the mask."""
    for name in NAMES:
        with pytest.raises(FloatingPointError, match="samples 0 to 1 are not finite"):
            compute([name], Waves(nan=True), num_samples=4, batch=2)


class Backwards:
    """A generator that transforms images the opposite way."""

    def __init__(self, G: Generator) -> None:
        self.config, self.variables, self.dtype_policy = G.config, G.variables, G.dtype_policy
        self.mapping, self._synthesis = G.mapping, G.synthesis

    def synthesis(self, ws: tf.Tensor, transform: tf.Tensor) -> tf.Tensor:
        return self._synthesis(ws, transform=tf.linalg.inv(transform))


@pytest.mark.parametrize(
    ("preset", "num_layers", "eqr"), [("stylegan3-t", 6, (10, 40)), ("stylegan3-r", 14, (55, 100))]
)
def test_alias_free_generators(preset: str, num_layers: int, eqr: tuple[float, float]):
    """With statistics as in training, shifts are followed closely, rotations by config R only; labels are used."""
    keras.utils.set_random_seed(0)
    size = {"channel_base": 512, "channel_max": 16, "z_dim": 16, "w_dim": 16, "num_layers": num_layers}
    G = Generator.from_preset(preset, resolution=32, label_dim=3, magnitude_ema_beta=0.0, **size)
    labels = uniform_classes(3, seed=0)
    samples = Samples(8, 16, 7, labels)
    G({"z": samples.latents(np.arange(8)), "label": samples.label(np.arange(8))}, update_emas=True)
    values = compute(NAMES, G, num_samples=8, labels=labels)
    assert 55 < values["eqt50k_int"] < 100 and 55 < values["eqt50k_frac"] < 100, values
    assert eqr[0] < values["eqr50k"] < eqr[1], values
    if preset == "stylegan3-t":
        assert compute(NAMES[:1], Backwards(G), num_samples=8, labels=labels)[NAMES[0]] < 30


# --- Operators on images ----------------------------------------------------------------------------------------------


def stacked(*drawn: dict[str, Any]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(np.stack([d[name] for d in drawn])) for name in drawn[0]}


def image(size: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(size).standard_normal([count, size, size, 2], np.float32)


class Expected:
    """Reference numbers of one operator, for two examples of its transform."""

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


@pytest.mark.parametrize(("height", "width"), [(24, 40), (40, 24)])
def test_moving_a_part_of_an_image_moves_what_it_shows(height: int, width: int):
    """Both transforms of the middle of a square, in its own units, are the middle of those of the whole square.

    Where no sample beyond the part is needed, they are the same sums of the same products, in another order.
    """
    x, shift = image(40), (2.3, -1.6)
    rows, columns = slice((40 - height) // 2, (40 + height) // 2), slice((40 - width) // 2, (40 + width) // 2)
    for move, whole, part in (
        (
            equivariance.translate,
            equivariance.translation_params_for(shift, 40, lobes=3),
            equivariance.translation_params_for(shift, width, lobes=3),
        ),
        (equivariance.rotate, *[equivariance.rotation_params_for(0.7)] * 2),
        (equivariance.pseudo_rotate, *[equivariance.rotation_params_for(0.7)] * 2),
    ):
        y, mask = move(x[:, rows, columns], stacked(part))
        expected, outer = move(x, stacked(whole))
        assert np.sum(mask) >= 100 and np.all(outer[:, rows, columns] >= mask)
        np.testing.assert_allclose(y * mask, expected[:, rows, columns] * mask, atol=1e-5)
    np.testing.assert_allclose(
        equivariance.translation_params_for(shift, width)["transform"],
        transform_matrix(0, shift[0] / width, shift[1] / width),
        atol=1e-7,
    )


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
    """Taps are normalized between pixels too."""
    x = tf.ones([1, 32, 32, 1])
    for y, mask in (
        equivariance.translate(x, stacked(equivariance.translation_params_for((1.3, -2.6), 32, lobes=3))),
        equivariance.rotate(x, stacked(equivariance.rotation_params_for(0.7))),
        equivariance.pseudo_rotate(x, stacked(equivariance.rotation_params_for(0.7))),
    ):
        assert np.sum(mask) > 200
        np.testing.assert_allclose(y * mask, mask, atol=2e-6)


@pytest.mark.parametrize(("side", "every"), [(equivariance.MIN_SIDE_ROTATED, True), (12, False)])
def test_every_rotation_leaves_valid_pixels(side: int, every: bool):
    """Of the smallest images that are measured, and of none that are smaller."""
    angles = np.linspace(-np.pi, np.pi, 25)
    params = equivariance.stack_params([equivariance.rotation_params_for(angle) for angle in angles])
    _, mask = equivariance.compare_rotated(*[tf.ones([25, side, side + 3, 1])] * 2, params)
    assert bool(np.all(np.sum(mask, axis=(1, 2, 3)) > 0)) == every


def test_ranges_of_random_transforms():
    rng = np.random.default_rng(0)
    corners = [equivariance.sample_fractional_translation(rng, 64)["transform"][:2, 2] for _ in range(500)]
    assert 0.12 < np.max(corners) <= 1 / 8 and -1 / 8 <= np.min(corners) < -0.12
    whole = np.array([equivariance.sample_integer_translation(rng, 64)["transform"][:2, 2] for _ in range(500)]) * 64
    assert set(np.unique(whole)) == set(range(-8, 9))
    wide = np.array([equivariance.sample_fractional_translation(rng, Size(64, 32))["transform"] for _ in range(500)])
    reach = np.abs(wide[:, :2, 2]).max(axis=0)  # in image widths: 1/8 of the width, and of the height
    assert 0.12 < reach[0] <= 1 / 8 and 0.06 < reach[1] <= 1 / 16
    cosines = [equivariance.sample_rotation(rng, 64)["transform"][0, :2] for _ in range(500)]
    assert np.max(cosines) > 0.99 and np.min(cosines) < -0.99 and np.max(np.abs(np.mean(cosines, axis=0))) < 0.1


def test_transforms_are_those_of_the_generator():
    np.testing.assert_allclose(
        equivariance.translation_params_for((3, -5), 40)["transform"], transform_matrix(0, 3 / 40, -5 / 40), atol=1e-7
    )
    np.testing.assert_allclose(equivariance.rotation_params_for(0.4)["transform"], transform_matrix(0.4), atol=1e-7)
