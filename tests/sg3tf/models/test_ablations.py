"""Configs A to H as models: Keras behavior, and that each step does what it is for (arXiv 2106.12423, section 3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from sg3tf import Generator
from sg3tf.latents import transform_matrix
from sg3tf.models.ablations import ABLATION_PRESETS
from tests.helpers.numerics import Array, psnr, relative_error

TINY = {"channel_base": 64, "channel_max": 6, "z_dim": 6, "w_dim": 5, "label_dim": 2, "mapping_layers": 2}

pytestmark = pytest.mark.usefixtures("implementation")


def tiny(preset: str, **overrides: Any) -> Generator:
    """With weights that are all random, so that forgetting one shows."""
    generator = Generator.from_preset(preset, 16, **TINY | overrides)
    for seed, weight in enumerate(generator.weights):
        weight.assign(weight + 0.1 * np.random.RandomState(seed).rand(*weight.shape))
    return generator


def inputs(count: int) -> dict[str, Array]:
    z = np.random.RandomState(0).randn(count, TINY["z_dim"]).astype(np.float32)
    return {"z": z, "label": np.eye(2, dtype=np.float32)[np.arange(count) % 2]}


@pytest.mark.parametrize("preset", ABLATION_PRESETS)
def test_behaves_as_a_keras_model(preset: str, tmp_path: Path) -> None:
    generator = tiny(preset)
    images = generator(inputs(3), truncation_psi=0.5)
    assert images.shape == (3, 16, 16, 3) and images.dtype == tf.float32
    np.testing.assert_allclose(generator(inputs(1), truncation_psi=0.5), images[:1], rtol=0, atol=1e-5)
    generator.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(generator) and loaded.config == generator.config
    np.testing.assert_array_equal(loaded(inputs(3), truncation_psi=0.5), images)


@pytest.mark.parametrize("preset", ABLATION_PRESETS)
def test_round_trip_and_mixed_precision(preset: str) -> None:
    exact = tiny(preset, channel_base=512, channel_max=16)
    exact(inputs(8), update_emas=True)
    mixed = type(exact)(exact.config, name="mine", dtype="mixed_bfloat16")
    twin = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(mixed))))
    assert (twin.name, twin.dtype_policy.name, twin.config) == ("mine", "mixed_bfloat16", exact.config)
    twin.set_weights(exact.get_weights())
    assert 1e-4 < relative_error(twin(inputs(4)), exact(inputs(4))) < 0.05


@pytest.mark.parametrize("preset", ABLATION_PRESETS)
def test_all_that_is_trained_matters(preset: str) -> None:
    generator = tiny(preset)
    with tf.GradientTape() as tape:
        ws = generator.mapping(**inputs(2))
        tape.watch(ws)
        y = tf.reduce_sum(generator.synthesis(ws) ** 2)
    slopes, *gradients = tape.gradient(y, [ws, *(v.value for v in generator.trainable_variables)])
    assert np.all(np.linalg.norm(slopes, axis=(0, 2)) > 0)  # every style vector
    for variable, gradient in zip(generator.trainable_variables, gradients, strict=True):
        assert gradient is not None and np.any(gradient), variable.path


def test_c_is_b_without_noise() -> None:
    b, c = tiny("stylegan3-b"), tiny("stylegan3-c")
    values = {v.path.partition("/")[2]: v for v in b.variables}
    for variable in c.variables:
        variable.assign(values.pop(variable.path.partition("/")[2]))
    assert len(values) == 2 * len(b.convs) and all("noise" in path for path in values)
    ws = b.mapping(**inputs(2))
    np.testing.assert_array_equal(c.synthesis(ws), b.synthesis(ws, noise="none"))
    assert relative_error(c.synthesis(ws), b.synthesis(ws)) > 1e-3
    with pytest.raises(ValueError, match="noise is given as seeds: this generator adds none"):
        c.synthesis(ws, noise=np.zeros([2, 2], np.int32))


def test_a_can_not_be_moved_and_the_others_can() -> None:
    still, transform = np.eye(3, dtype=np.float32), transform_matrix(0.3, 0.1, 0.05)
    for preset in ABLATION_PRESETS[1:]:
        generator = tiny(preset)
        ws = generator.mapping(**inputs(2))
        each = generator.synthesis(ws, transform=np.stack([still, transform]))
        assert relative_error(each[0], generator.synthesis(ws, transform=still)[0]) < 1e-5
        assert relative_error(each[1], generator.synthesis(ws, transform=transform)[1]) < 1e-5
        assert relative_error(each[1], generator.synthesis(ws, transform=still)[1]) > 1e-3
    with pytest.raises(ValueError, match="transform is given"):
        tiny("stylegan3-a")(inputs(2), transform=transform)


def test_only_h_moves_its_input_by_w() -> None:
    for preset, count in [("stylegan3-g", 0), ("stylegan3-h", 2)]:
        names = [
            v.path for v in Generator.from_preset(preset, 16, **TINY).trainable_variables if "input/affine" in v.path
        ]
        assert len(names) == count


def _equivariance(preset: str) -> float:
    """PSNR in dB of moving the input of random networks by less than their coarsest pixels, with contrast 1."""
    share = 2 if preset == "stylegan3-r" else 1
    decay = {} if preset < "stylegan3-d" else {"magnitude_ema_beta": 0.0}
    found = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        generator = Generator.from_preset(preset, 32, channel_base=2048 // share, channel_max=32 // share, **decay)
        z = np.random.RandomState(seed).randn(4, 512).astype(np.float32)
        generator(z, update_emas=True)
        ws = generator.mapping(z)
        images = generator.synthesis(ws).numpy()
        moved = generator.synthesis(ws, transform=transform_matrix(tx=3 / 32, ty=-2 / 32)).numpy()
        contrast = np.sqrt(np.mean(np.var(images, axis=(1, 2))))
        found.append(psnr(moved[:, :-2, 3:] / contrast, images[:, 2:, :-3] / contrast))
    return float(np.mean(found))


@pytest.mark.slow
def test_each_step_towards_t_is_more_equivariant_to_translation() -> None:
    """As published; G and H are the same function before training, as the learned motion begins as none."""
    c, d, e, f, g, h, t, r = map(_equivariance, (*ABLATION_PRESETS[2:], "stylegan3-t", "stylegan3-r"))
    assert abs(c - d) < 5
    assert e > d + 1
    assert f > e + 4
    assert g > f + 12
    assert min(h, t) > g - 5  # at 32 pixels; docs/ablations.md has what T gains
    assert r > g + 12
