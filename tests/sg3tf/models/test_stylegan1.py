"""The first StyleGAN: its float64 reference under the names of its arrays, and behavior as a Keras model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from sg3tf import latents
from sg3tf.convert import weights
from sg3tf.models.configs import ConfigError
from sg3tf.models.stylegan1 import StyleGAN1Generator, adain
from tests.helpers.numerics import Array, nchw, relative_error
from tests.helpers.reference import stylegan1 as reference

OPTIONS: dict[str, Any] = {"z_dim": 6, "w_dim": 5, "mapping_layers": 3}


def generator(resolution: int = 16, **overrides: Any) -> StyleGAN1Generator:
    options = {"channel_base": 2 * resolution, "channel_max": 4, **OPTIONS, **overrides}
    G = sg3tf.Generator.from_preset("stylegan1", resolution, **options)
    assert isinstance(G, StyleGAN1Generator)
    return G


def official_arrays(G: StyleGAN1Generator) -> dict[str, Array]:
    """One array of random numbers for each parameter, of the shape that TensorFlow 1 had."""
    rng = np.random.RandomState(0)
    arrays = {name: rng.randn(*value.shape) for name, value in weights.to_arrays(G).items()}
    for index in range(G.config.mapping_layers):
        arrays[f"mapping/Dense{index}/weight"] *= 100  # of training that begins so, as it has a small learning rate
    return {name: value.astype(np.float32) for name, value in arrays.items()}


@pytest.mark.parametrize("resolution", [8, 32, 128])  # 128: upsampling convolutions spread their kernels
def test_agrees_with_the_float64_reference(resolution: int) -> None:
    G = generator(resolution)
    arrays = official_arrays(G)
    weights.load_arrays(G, arrays)
    z = np.random.RandomState(1).randn(2, 6)
    expected = reference.generator(arrays, z, resolution, layers=3)
    assert relative_error(nchw(G(z.astype(np.float32)).numpy()), expected) < 1e-5


def test_shapes_are_those_of_tensorflow_1() -> None:
    shapes = {name: value.shape for name, value in weights.to_arrays(generator(8, image_channels=1)).items()}
    assert shapes["synthesis/4x4/Const/const"] == (1, 4, 4, 4)
    assert shapes["synthesis/4x4/Conv/weight"] == (3, 3, 4, 4)
    assert shapes["synthesis/8x8/Conv0_up/weight"] == (3, 3, 4, 2)
    assert shapes["synthesis/8x8/Conv1/StyleMod/weight"] == (5, 4)
    assert shapes["synthesis/8x8/Conv1/Noise/weight"] == (2,)
    assert shapes["synthesis/noise3"] == (1, 1, 8, 8)
    assert shapes["synthesis/ToRGB_lod0/weight"] == (1, 1, 2, 1)
    assert shapes["mapping/Dense0/weight"] == (6, 5)
    assert shapes["dlatent_avg"] == (5,)
    assert len(shapes) == 2 * 3 + 2 + 4 * 6 - 1 + 2


def test_adain_gives_every_image_the_styles_mean_and_deviation() -> None:
    x, style = tf.random.normal([2, 8, 8, 3], seed=0), tf.random.normal([2, 6], seed=1)
    y = adain(3 * x + 5, style).numpy()
    np.testing.assert_allclose(y.mean(axis=(1, 2)), style[:, 3:], atol=1e-6)
    np.testing.assert_allclose(y.std(axis=(1, 2)), np.abs(style[:, :3] + 1), rtol=1e-5)


def test_mixing_takes_layers_from_the_other() -> None:
    """The styles of a layer reach what stands behind it only."""
    G = generator()
    weights.load_arrays(G, official_arrays(G))
    a, b = (G.mapping(latents.z_from_seeds([seed], 6)).numpy() for seed in (0, 1))
    np.testing.assert_array_equal(G.synthesis(latents.mix(a, b, range(G.num_ws))), G.synthesis(b))
    assert relative_error(G.synthesis(latents.mix(a, b, [G.num_ws - 1])).numpy(), G.synthesis(a).numpy()) > 0.01


def test_noise_and_truncation() -> None:
    G = generator()
    weights.load_arrays(G, official_arrays(G))
    z = latents.z_from_seeds([0, 1], 6)
    ws = G.mapping(z)
    seeds = np.int32([[1, 2], [3, 4]])
    drawn = G.synthesis(ws, noise=seeds).numpy()
    np.testing.assert_allclose(G.synthesis(ws[1:], noise=seeds[1:]), drawn[1:], rtol=1e-5, atol=1e-5)
    assert relative_error(drawn, G.synthesis(ws, noise="none").numpy()) > 0.01
    np.testing.assert_allclose(G(z, truncation_psi=0.0)[0], G(z, truncation_psi=0.0)[1], atol=1e-5)


def test_save_and_load(tmp_path: Path) -> None:
    G = generator()
    weights.load_arrays(G, official_arrays(G))
    G.save(tmp_path / "G.keras")
    again = sg3tf.load(tmp_path / "G.keras")
    z = latents.z_from_seeds([0, 1], 6)
    np.testing.assert_array_equal(again(z), G(z))
    np.testing.assert_allclose(G.predict(z, verbose=0), G(z), rtol=1e-5, atol=1e-5)


def test_unsupported_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="label_dim"):
        generator(label_dim=3)
    with pytest.raises(ConfigError, match="float32"):
        StyleGAN1Generator(generator().config, dtype="mixed_bfloat16")
    with pytest.raises(ValueError, match="input of this generator is a constant"):
        generator()(latents.z_from_seeds([0], 6), transform=np.eye(3))
    keras.utils.set_random_seed(0)
    arrays = official_arrays(generator())
    with pytest.raises(weights.ParameterMismatchError, match="ToRGB_lod3/weight: unknown"):
        weights.load_arrays(generator(), arrays | {"synthesis/ToRGB_lod3/weight": np.zeros(1)})
