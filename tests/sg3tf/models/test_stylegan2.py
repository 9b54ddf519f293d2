"""The StyleGAN2 generator: reference numbers, path lengths, noise, Keras behavior."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from sg3tf import Generator, StyleGAN2Config, StyleGAN2Generator, StyleGAN3Generator, build_generator
from sg3tf.convert import weights
from sg3tf.models.configs import ConfigError
from sg3tf.models.layers import layer_noises
from sg3tf.models.presets import generator_preset
from sg3tf.ops import use_backend
from tests.conftest import Golden
from tests.helpers import contexts
from tests.helpers.backends import NATIVE, WITH_AND_WITHOUT_NATIVE
from tests.helpers.numerics import Array, nhwc, relative_error
from tests.helpers.official_networks import parameters

TINY = {"channel_max": 4, "z_dim": 6, "w_dim": 5, "mapping_layers": 2}


pytestmark = pytest.mark.usefixtures("implementation")


def tiny(resolution: Any = 16, noise_strength: float = 0.0, **overrides: Any) -> StyleGAN2Generator:
    config = StyleGAN2Config(resolution, **{"channel_base": 2048, **TINY, **overrides})
    generator = StyleGAN2Generator(config)
    for conv in generator.convs:
        conv.noise_strength.assign(noise_strength)
    return generator


def latents(count: int, z_dim: int = TINY["z_dim"], seed: int = 0) -> Array:
    return np.random.RandomState(seed).randn(count, z_dim).astype(np.float32)


def style_vectors(generator: StyleGAN2Generator, count: int) -> Array:
    shape = (count, generator.num_ws, generator.config.w_dim)
    return np.random.RandomState(1).randn(*shape).astype(np.float32)


# Reference numbers, computed by the official code


def official(arrays: dict[str, Array]) -> StyleGAN2Generator:
    """A generator with official weights."""
    generator = Generator.from_preset(
        "stylegan2", 32, channel_base=256, channel_max=24, label_dim=3, z_dim=16, w_dim=16, mapping_layers=4
    )
    weights.load_arrays(generator, parameters(arrays, "G/"))
    return generator


def test_golden_mapping(golden: Golden) -> None:
    arrays = golden("generator_sg2_32")
    generator = official(arrays)
    assert generator.num_ws == 8
    assert relative_error(generator.mapping(arrays["z"], arrays["c"]), arrays["ws"]) < 1e-6
    truncated = generator.mapping(arrays["z"], arrays["c"], truncation_psi=0.7, truncation_cutoff=5)
    assert relative_error(truncated, arrays["ws_psi07_cutoff5"]) < 1e-6


@pytest.mark.parametrize("impl", ["matmul", NATIVE, pytest.param("xla", marks=pytest.mark.slow)])
def test_golden_images(golden: Golden, impl: str) -> None:
    """Seven convolutions with sums of 216 numbers, each in some 1e-7 of the exact result."""
    arrays = golden("generator_sg2_32")
    generator, inputs = official(arrays), {"z": arrays["z"], "label": arrays["c"]}
    with use_backend(impl):
        assert relative_error(generator(inputs), nhwc(arrays["image_nchw"])) < 2e-6
        assert relative_error(generator(inputs, truncation_psi=0.5), nhwc(arrays["image_psi05"])) < 2e-6


Named = dict[str, tf.Variable]


def synthesis_parameters(generator: StyleGAN2Generator) -> Named:
    """Trainable variables of the synthesis network by official name."""
    names = {id(variable): name for name, variable, _ in weights._parameters(generator)}
    variables = {names[id(v)]: v.value for v in generator.trainable_variables}
    return {name: v for name, v in variables.items() if not name.startswith("mapping.")}


def image_gradients(generator: StyleGAN2Generator, parameters: Named, arrays: dict[str, Array]) -> list[tf.Tensor]:
    """The gradients of <image, image_cotangent> with respect to ws and the parameters."""
    ws = tf.constant(arrays["ws"])
    with tf.GradientTape() as tape:
        tape.watch(ws)
        image = generator.synthesis(ws)
    return tape.gradient(image, [ws, *parameters.values()], nhwc(arrays["image_cotangent"]))


def assert_norms(parameters: Named, gradients: list[tf.Tensor], arrays: dict[str, Array], tolerance: float) -> None:
    assert {f"grad_norm/{name}" for name in parameters} == {name for name in arrays if name.startswith("grad_norm/")}
    for name, gradient in zip(parameters, gradients, strict=True):
        assert float(tf.norm(gradient)) == pytest.approx(arrays[f"grad_norm/{name}"], rel=tolerance), name


@WITH_AND_WITHOUT_NATIVE
def test_golden_gradients(golden: Golden) -> None:
    arrays = golden("generator_sg2_32")
    generator = official(arrays)
    parameters = synthesis_parameters(generator)
    grad_ws, *gradients = image_gradients(generator, parameters, arrays)
    assert relative_error(grad_ws, arrays["grad_ws"]) < 1e-5
    assert_norms(parameters, gradients, arrays, 1e-5)


# Path lengths (arXiv 1912.04958, section 3.2)


def path_lengths(generator: StyleGAN2Generator, ws: tf.Tensor, y: Array) -> tf.Tensor:
    """|J_w^T y| [N]: squared lengths are averaged over the style vectors."""
    with tf.GradientTape() as tape:
        tape.watch(ws)
        projection = tf.reduce_sum(generator.synthesis(ws) * y)
    return tf.sqrt(tf.reduce_mean(tf.reduce_sum(tf.square(tape.gradient(projection, ws)), axis=2), axis=1))


def path_length_loss(lengths: tf.Tensor, mean: float = 0.0) -> tf.Tensor:
    """Of weight 2. The moving average has taken in these lengths already, and is differentiated with them."""
    moved = mean + 0.01 * (tf.reduce_mean(lengths) - mean)
    return 2 * tf.reduce_mean(tf.square(lengths - moved))


@WITH_AND_WITHOUT_NATIVE
def test_golden_path_lengths(golden: Golden) -> None:
    """The file's norms are of the gradients of <image, image_cotangent> and the path length loss, added up.

    Those of the loss are up to 3 % of the sum; were the moving average constant, norms would differ by 3e-4.
    """
    arrays = golden("path_length")
    generator = official(arrays)
    parameters = synthesis_parameters(generator)
    y = nhwc(arrays["pl_noise_nchw"])  # has been divided by the square root of H * W
    assert np.std(y) * 32 == pytest.approx(1, abs=0.02)
    with tf.GradientTape() as tape:
        lengths = path_lengths(generator, tf.constant(arrays["ws"]), y)
        loss = path_length_loss(lengths)
    np.testing.assert_allclose(lengths, arrays["pl_lengths"], rtol=2e-6)
    assert float(loss) == pytest.approx(arrays["pl_loss"], rel=2e-6)
    of_loss = tape.gradient(loss, list(parameters.values()), unconnected_gradients="zero")
    _, *of_image = image_gradients(generator, parameters, golden("generator_sg2_32"))
    assert_norms(parameters, [a + b for a, b in zip(of_loss, of_image, strict=True)], arrays, 1e-5)


def test_path_length_gradient_is_the_slope_of_the_loss() -> None:
    """Central differences along the gradient, through the mapping as well; lengths change smoothly but for kinks."""
    generator, z = tiny(8, noise_strength=0.3, channel_max=8), latents(2)
    y = np.random.RandomState(2).randn(2, 8, 8, 3).astype(np.float32) / 8

    def loss() -> tf.Tensor:
        return path_length_loss(path_lengths(generator, generator.mapping(z), y))

    with tf.GradientTape() as tape:
        value = loss()
    variables = [v.value for v in generator.trainable_variables]
    gradients = tape.gradient(value, variables, unconnected_gradients="zero")
    norm = float(tf.linalg.global_norm(gradients))
    # Changes the loss by 3e-4 of itself, which float32 has to three digits. Further away is a kink, where it jumps.
    step = 3e-4 * float(value) / norm
    before = [v.numpy() for v in variables]
    sides = []
    for sign in (1, -1):
        for variable, start, gradient in zip(variables, before, gradients, strict=True):
            variable.assign(start + sign * step * gradient / norm)
        sides.append(float(loss()))
    assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(norm, rel=0.02)


# Noise


def seeds(*rows: tuple[int, int]) -> tf.Tensor:
    return tf.constant(rows, tf.int32)


SEEDS = seeds((3, 7), (3, 8), (4, 7))


def test_noise_of_an_image_depends_on_its_own_seed_alone() -> None:
    generator = tiny(32)
    together = layer_noises(generator.convs, SEEDS)
    for row in range(3):
        for alone, all_three in zip(layer_noises(generator.convs, SEEDS[row : row + 1]), together, strict=True):
            np.testing.assert_array_equal(alone[0], all_three[row])
    for one, another in [(0, 1), (0, 2), (1, 2)]:
        assert abs(np.corrcoef(np.ravel(together[-1][one]), np.ravel(together[-1][another]))[0, 1]) < 4 / 32


def test_noise_is_normal_and_another_one_in_every_layer() -> None:
    drawn = [np.ravel(noise[0]) for noise in layer_noises(tiny(64).convs, SEEDS)]
    assert [len(noise) for noise in drawn] == [side**2 for side in (4, 8, 8, 16, 16, 32, 32, 64, 64)]
    assert scipy.stats.kstest(np.concatenate(drawn), "norm").pvalue > 0.001
    for one, another in itertools.combinations(drawn[1:], 2):
        common = min(len(one), len(another))
        assert abs(np.corrcoef(one[:common], another[:common])[0, 1]) < 4 / np.sqrt(common)


def test_seeds_decide_the_image_whatever_its_batch() -> None:
    generator = tiny(noise_strength=0.5)
    ws = np.repeat(style_vectors(generator, 1), 3, axis=0)
    images = generator.synthesis(ws, noise=SEEDS)
    assert relative_error(generator.synthesis(ws[:1], noise=SEEDS[1:2])[0], images[1]) < 1e-5
    assert relative_error(images[0], images[1]) > 0.05


def test_noise_const_and_none() -> None:
    generator = tiny(noise_strength=0.5)
    ws = style_vectors(generator, 2)
    none, const = (generator.synthesis(ws, noise=noise) for noise in ("none", "const"))
    np.testing.assert_array_equal(generator.synthesis(ws), const)
    assert relative_error(none, const) > 0.05
    for conv in generator.convs:
        conv.noise_const.assign(np.zeros(conv.noise_const.shape))
    np.testing.assert_allclose(generator.synthesis(ws), none, rtol=0, atol=1e-6)


@pytest.mark.parametrize("context", ["graph", "jit_compile", "dynamic batch", "SavedModel"])
def test_noise_is_the_same_in_all_contexts(context: str, tmp_path: Path) -> None:
    generator = tiny(noise_strength=0.5)
    ws = tf.constant(style_vectors(generator, 1))

    def images(given: tf.Tensor) -> list[tf.Tensor]:
        return [generator.synthesis(tf.repeat(ws, tf.shape(given)[0], axis=0), noise=given)]

    (result,) = contexts.run(context, images, SEEDS.numpy(), tmp_path, generator.variables)
    np.testing.assert_allclose(result, images(SEEDS)[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("resolution", ["40x24", "24x40"])
def test_noise_of_grids_with_an_odd_number_of_pixels(resolution: str) -> None:
    """The smallest grid has 5 x 3 pixels, and all of them together an odd number."""
    convs = tiny(resolution).convs
    drawn = layer_noises(convs, SEEDS)
    assert [noise.shape[1:] for noise in drawn] == [conv.noise_const.shape for conv in convs]
    numbers = np.concatenate([np.ravel(noise) for noise in drawn])
    assert numbers.size % 2 and abs(numbers.std() - 1) < 4 / np.sqrt(2 * numbers.size)  # four standard errors


# Architecture


def test_every_style_vector_matters() -> None:
    generator = tiny()
    ws = tf.constant(style_vectors(generator, 1))
    with tf.GradientTape() as tape:
        tape.watch(ws)
        y = tf.reduce_sum(generator.synthesis(ws) ** 2)
    assert np.all(np.linalg.norm(tape.gradient(y, ws)[0], axis=1) > 0)


@pytest.mark.parametrize("resolution", [8, 16, 32, 64, 128, 256, 512, 1024])
def test_every_resolution(resolution: int) -> None:
    generator = tiny(resolution)
    assert generator.num_ws == 2 * np.log2(resolution) - 2
    image = generator(latents(1))
    assert image.shape == (1, resolution, resolution, 3)
    assert image.dtype == tf.float32
    assert np.all(np.isfinite(image)) and np.std(image) > 0


def transposed(array: Array) -> Array:
    """Kernel, constant or noise image with height and width exchanged; of frequencies, x and y."""
    return np.swapaxes(array, 0, 1)


@pytest.mark.parametrize("overrides", [{}, {"architecture": "resnet"}, {"fourier_input": True}])
def test_a_picture_on_its_side(overrides: dict[str, Any]) -> None:
    """A network of 16x24 with all kernels, the constant and noise transposed makes the transposed images of 24x16."""
    wide, tall = (tiny(size, noise_strength=0.5, **overrides) for size in ("24x16", "16x24"))
    for one, other in zip(wide.weights, tall.weights, strict=True):
        is_grid = one.path.endswith(("const", "noise_const")) or len(one.shape) == 4
        value = one.numpy()
        if one.path.endswith("freqs"):  # in cycles per image width
            value = value[:, ::-1] * (16 / 24)
        other.assign(transposed(value) if is_grid else value)
    ws = style_vectors(wide, 2)
    image = wide.synthesis(ws)
    assert image.shape == (2, 16, 24, 3) and np.std(image) > 0.1
    assert relative_error(tall.synthesis(ws), np.swapaxes(image, 1, 2)) < 1e-5
    assert [conv.noise_const.shape for conv in wide.convs] == [(4, 6), (8, 12), (8, 12), (16, 24), (16, 24)]
    seeds = tf.constant([[0, 1], [0, 2]])
    assert np.std(wide.synthesis(ws, noise=seeds) - image) > 0.01


def test_class_of_the_generator_follows_from_its_configuration() -> None:
    stylegan2 = tiny().config
    alias_free = generator_preset("stylegan3-t", 16, channel_base=32, channel_max=4)
    assert type(build_generator(stylegan2, name="mine")) is StyleGAN2Generator
    assert type(build_generator(alias_free)) is StyleGAN3Generator
    generator = Generator.from_preset("stylegan2", 8, channel_base=64, channel_max=4)
    assert isinstance(generator, StyleGAN2Generator) and isinstance(generator, Generator)
    assert generator.config == StyleGAN2Config(8, channel_base=64, channel_max=4)


# Keras


def test_predict_with_labels() -> None:
    generator = tiny(label_dim=3, image_channels=4)
    inputs = {"z": latents(5), "label": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]}
    images = generator.predict(inputs, batch_size=2, verbose=0)
    assert (images.shape, images.dtype) == ((5, 16, 16, 4), np.float32)
    np.testing.assert_allclose(images, generator(inputs), rtol=0, atol=1e-5)


def test_save_and_load(tmp_path: Path) -> None:
    generator, z = tiny(), latents(2)
    for weight in generator.weights:  # so that forgetting one shows
        weight.assign(1.5 * weight + 0.1)
    expected = generator(z, truncation_psi=0.5)
    generator.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is StyleGAN2Generator
    assert loaded.config == generator.config
    np.testing.assert_array_equal(loaded(z, truncation_psi=0.5), expected)


def test_configuration_round_trip() -> None:
    generator = StyleGAN2Generator(tiny().config, name="mine", dtype="mixed_bfloat16")
    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(generator)))
    twin = keras.saving.deserialize_keras_object(serialized)
    assert (type(twin), twin.name, twin.dtype_policy.name) == (StyleGAN2Generator, "mine", "mixed_bfloat16")
    assert twin.config == generator.config
    assert [w.shape for w in twin.weights] == [w.shape for w in generator.weights]


def test_summary_lists_the_layers() -> None:
    generator, lines = tiny(), []
    generator.summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert all(layer.name in text for layer in [*generator.convs, *generator.torgbs])
    assert f"{generator.count_params():,}" in text


def test_only_the_average_style_moves_and_only_when_asked() -> None:
    generator, z = tiny(noise_strength=0.5), latents(8)

    def state() -> dict[str, Array]:
        return {weight.path: weight.numpy() for weight in generator.weights}

    before = state()
    ws = generator.mapping(z)
    generator.synthesis(ws, update_emas=True)
    generator(z)
    generator.predict(z, verbose=0)
    assert all(np.array_equal(value, before[path]) for path, value in state().items())
    generator(z, update_emas=True)
    after = state()
    average = generator.mapping_network.w_avg.path
    assert {path for path, value in after.items() if not np.array_equal(value, before[path])} == {average}
    np.testing.assert_allclose(after[average], 0.002 * np.mean(ws[:, 0], axis=0), rtol=1e-4)  # 500 eps


# 16 bits


def test_the_four_highest_resolutions_compute_in_16_bits() -> None:
    for resolution, float32 in [(8, "b4"), (32, "b4"), (64, "b4"), (128, "b4 b8"), (256, "b4 b8 b16")]:
        generator = StyleGAN2Generator(tiny(resolution).config, dtype="mixed_float16")
        layers = [*generator.convs, *generator.torgbs]
        wide = {layer.name.split(".")[0] for layer in layers if layer.compute_dtype == "float32"}
        assert wide == set(float32.split())
        assert {layer.affine.compute_dtype for layer in layers} == {"float32"}
        assert {weight.dtype for weight in generator.weights} == {"float32"}


@pytest.mark.parametrize(("policy", "eps"), [("mixed_bfloat16", 2**-8), ("mixed_float16", 2**-11)])
def test_mixed_precision_is_close_to_float32(policy: str, eps: float) -> None:
    """Some 30 roundings, independent of one another, on the way through three resolutions."""
    exact = tiny(noise_strength=0.3, channel_base=512, channel_max=16)
    mixed = StyleGAN2Generator(exact.config, dtype=policy)
    mixed.set_weights(exact.get_weights())
    np.testing.assert_array_equal(mixed.mapping(latents(4)), exact.mapping(latents(4)))
    image = mixed(latents(4))
    assert image.dtype == tf.float32
    np.testing.assert_array_equal(mixed.synthesis(mixed.mapping(latents(4))), image)  # whatever Keras casts
    assert 0.1 * eps < relative_error(image, exact(latents(4))) < 6 * eps


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, ws: g(latents(2, 7)), r"z of shape \(2, 7\): give \[N, 6\]"),
        (lambda g, ws: g.synthesis(ws[:, 1:]), r"ws of shape \(2, 5, 5\): give \[N, 6, 5\]"),
        (
            lambda g, ws: g.synthesis(ws, transform=np.eye(3)),
            "transform is given: the input of this generator is a constant; leave transform None",
        ),
        (lambda g, ws: g(latents(2), transform=np.eye(3)), "transform is given"),
        (lambda g, ws: g.synthesis(ws, noise="random"), "noise='random': use 'const', 'none', or seeds, int32"),
        (lambda g, ws: g.synthesis(ws, noise=SEEDS), r"int32 and shape \(3, 2\): give seeds, int32 \[2, 2\]"),
        (lambda g, ws: g.synthesis(ws, noise=SEEDS[0]), r"int32 and shape \(2,\): give seeds"),
        (lambda g, ws: g.synthesis(ws, noise=np.zeros([2, 2])), r"noise of type float64 .* give seeds, int32"),
    ],
)
def test_errors_name_argument_value_and_remedy(call: Any, message: str) -> None:
    generator = tiny()
    with pytest.raises(ValueError, match=message):
        call(generator, style_vectors(generator, 2))


def test_weights_stay_float32() -> None:
    with pytest.raises(ConfigError, match="dtype='bfloat16'"):
        StyleGAN2Generator(tiny().config, dtype="bfloat16")
