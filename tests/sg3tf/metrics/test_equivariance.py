"""Metrics of generators for which the value is known, and of a real one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from sg3tf import ConfigError, Generator, GeneratorConfig, StyleGAN2Config
from sg3tf.metrics import METRICS, check, compute, equivariance
from sg3tf.metrics.samples import Labels, Samples, uniform_classes
from tests.helpers.analytic_images import AMPLITUDE, WAVES, Waves

NAMES = ["eqt50k_int", "eqt50k_frac", "eqr50k"]


def decibel(squared_difference: float) -> float:
    return float(10 * np.log10(4 / squared_difference))


def test_registry():
    for name in NAMES:
        assert METRICS[name].results == {name: True}
        assert METRICS[name].unit == "dB" and METRICS[name].num_samples == 50_000


def test_equivariant_generator():
    """What remains: float32; Lanczos filters of three lobes, which attenuate this wave by some 1e-3."""
    values = compute(NAMES, Waves(), num_samples=20)
    assert values["eqt50k_int"] > 120 and values["eqt50k_frac"] > 60 and values["eqr50k"] > 60, values


@pytest.mark.parametrize("name", NAMES)
def test_images_that_fade_when_moved(name: str):
    """The difference is a fifth of an image, and an image's mean square half its amplitude's square.

    0.1 dB: twice what the filters leave (above), over a difference of a fifth. Seed 1 leaves no image where it is.
    """
    value = compute([name], Waves(gain=0.8), num_samples=20, seed=1)[name]
    assert value == pytest.approx(decibel(0.2**2 * AMPLITUDE**2 / 2), abs=0.1)


def test_wrong_direction():
    """Images lie apart by twice the shift, whose component along the wave decides."""
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


def test_samples_differ_by_seed_and_position_only():
    z = Samples(3, z_dim=500, seed=0, labels=None).latents(np.arange(3))
    assert z.shape == (3, 500) and z.dtype == np.float32
    assert abs(z.mean()) < 0.1 and abs(z.std() - 1) < 0.1  # four standard errors
    np.testing.assert_array_equal(Samples(9, 500, 0, None).latents(np.array([2, 0])), z[[2, 0]])
    other = Samples(3, 500, 1, None).latents(np.arange(3))
    correlation = np.corrcoef(np.concatenate([z, other])) - np.eye(6)
    assert np.max(np.abs(correlation)) < 0.2


def test_uniform_classes():
    labels = uniform_classes(3, seed=2)
    drawn = np.stack([labels(i) for i in range(300)])
    assert drawn.dtype == np.float32 and set(np.unique(drawn)) == {0, 1} and np.all(drawn.sum(axis=1) == 1)
    assert np.all(np.abs(drawn.sum(axis=0) - 100) < 33)  # four standard deviations
    np.testing.assert_array_equal(labels(7), drawn[7])


def test_tensor_float_32_is_off_meanwhile():
    seen = []
    read = tf.config.experimental.tensor_float_32_execution_enabled
    before = read()
    try:
        tf.config.experimental.enable_tensor_float_32_execution(True)
        compute(NAMES[:1], Waves(), num_samples=1, progress=lambda *_: seen.append(read()))
        assert seen == [False] and read()
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def test_images_that_are_not_finite():
    """Even where they would not count."""
    for name in NAMES:
        with pytest.raises(FloatingPointError, match="samples 0 to 1 are not finite"):
            compute([name], Waves(nan=True), num_samples=4, batch=2)


@pytest.mark.parametrize(
    ("names", "config", "message"),
    [
        (["fid"], GeneratorConfig(32), r"metrics='fid': known are eqt50k_int, eqt50k_frac, eqr50k, fid50k_full"),
        (["eqr50k"], StyleGAN2Config(32), r"metrics='eqr50k': .* StyleGAN2Config"),
    ],
)
def test_metrics_refused(names: list[str], config: Any, message: str):
    with pytest.raises(ConfigError, match=message) as error:
        check(names, config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"names": ["fid"]}, "metrics='fid'"),
        ({"num_samples": 0}, "num_samples=0"),
        ({"batch": 0}, "batch=0"),
        ({"seed": -1}, "seed=-1"),
        ({"labels": uniform_classes(2, 0)}, "labels=.*leave it out"),
        ({"G": Waves(GeneratorConfig(32, label_dim=2))}, "labels=None: give it, or data with labels, .* label_dim=2"),
    ],
)
def test_arguments_refused(kwargs: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        compute(**{"names": NAMES[:1], "G": Waves(), **kwargs})


class Backwards:
    """A generator that moves images the other way."""

    def __init__(self, G: Generator) -> None:
        self.config, self.variables = G.config, G.variables
        self.mapping, self._synthesis = G.mapping, G.synthesis

    def synthesis(self, ws: tf.Tensor, transform: tf.Tensor) -> tf.Tensor:
        return self._synthesis(ws, transform=tf.linalg.inv(transform))


@pytest.mark.parametrize(("preset", "eqr"), [("stylegan3-t", (10, 40)), ("stylegan3-r", (55, 100))])
def test_alias_free_generators(preset: str, eqr: tuple[float, float]):
    """With statistics as in training, shifts are followed closely, rotations by config R only; labels are used."""
    keras.utils.set_random_seed(0)
    width = {"channel_base": 512, "channel_max": 16, "z_dim": 16, "w_dim": 16}
    G = Generator.from_preset(preset, resolution=32, label_dim=3, magnitude_ema_beta=0.0, **width)
    labels = uniform_classes(3, seed=0)
    samples = Samples(8, 16, 7, labels)
    G({"z": samples.latents(np.arange(8)), "label": samples.label(np.arange(8))}, update_emas=True)
    values = compute(NAMES, G, num_samples=8, labels=labels)
    assert 55 < values["eqt50k_int"] < 100 and 55 < values["eqt50k_frac"] < 100, values
    assert eqr[0] < values["eqr50k"] < eqr[1], values
    if preset == "stylegan3-t":
        assert compute(NAMES[:1], Backwards(G), num_samples=8, labels=labels)[NAMES[0]] < 30
