"""load_arrays: official names and layouts; arrays that do not fit change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from sg3tf import Discriminator, StyleGAN2Generator, build_generator
from sg3tf.convert.weights import ParameterMismatchError, load_arrays
from sg3tf.models.configs import StyleGAN2Config
from sg3tf.models.filters import low_pass
from sg3tf.models.presets import discriminator_preset, generator_preset
from tests.helpers.numerics import Array
from tests.helpers.reference import plan
from tests.helpers.reference.parameters import discriminator_arrays, generator_arrays

GENERATOR = generator_preset(
    "stylegan3-r", 16, channel_base=32, channel_max=4, z_dim=6, w_dim=5, label_dim=3, mapping_layers=3
)
DISCRIMINATOR = discriminator_preset(
    "stylegan3-t", 16, channel_base=64, channel_max=4, label_dim=3, mapping_layers=2, mbstd_channels=2
)

STYLEGAN2 = StyleGAN2Config(
    16, channel_base=64, channel_max=6, z_dim=6, w_dim=5, label_dim=3, mapping_layers=3, image_channels=1
)

Pair = tuple[Any, dict[str, Array]]


def generator() -> Pair:
    return build_generator(GENERATOR), dict(generator_arrays(GENERATOR))


def discriminator() -> Pair:
    return Discriminator(DISCRIMINATOR), dict(discriminator_arrays(DISCRIMINATOR))


def stylegan2() -> Pair:
    """4 and 8 pixels: 6 channels; 16 pixels: 4 channels."""
    shapes: dict[str, tuple[int, ...]] = {"mapping.w_avg": (5,), "synthesis.b4.const": (6, 4, 4)}
    for name, fan_in, units in [("embed", 3, 5), ("fc0", 11, 5), ("fc1", 5, 5), ("fc2", 5, 5)]:
        shapes |= {f"mapping.{name}.weight": (units, fan_in), f"mapping.{name}.bias": (units,)}
    convs = [("b4.conv1", 6, 6), ("b8.conv0", 6, 6), ("b8.conv1", 6, 6), ("b16.conv0", 6, 4), ("b16.conv1", 4, 4)]
    torgbs = [("b4.torgb", 6, 1), ("b8.torgb", 6, 1), ("b16.torgb", 4, 1)]
    for name, before, after in [*convs, *torgbs]:
        prefix, side = f"synthesis.{name}", int(name[1:].split(".")[0])
        shapes |= {f"{prefix}.affine.weight": (before, 5), f"{prefix}.affine.bias": (before,)}
        if name.endswith("torgb"):
            shapes |= {f"{prefix}.weight": (after, before, 1, 1), f"{prefix}.bias": (after,)}
        else:
            shapes |= {f"{prefix}.weight": (after, before, 3, 3), f"{prefix}.bias": (after,)}
            shapes |= {f"{prefix}.noise_const": (side, side), f"{prefix}.noise_strength": ()}
    rng = np.random.default_rng(0)
    return StyleGAN2Generator(STYLEGAN2), {n: np.float32(rng.normal(size=shape)) for n, shape in shapes.items()}


each = pytest.mark.parametrize("make", [generator, stylegan2, discriminator])


@each
def test_every_weight_is_loaded(make: Callable[[], Pair]) -> None:
    model, arrays = make()
    for weight in model.weights:
        weight.assign(np.full(weight.shape, np.nan))
    load_arrays(model, arrays)
    assert sum(w.numpy().size for w in model.weights) == sum(a.size for a in arrays.values())
    # Layouts differ, numbers do not.
    ours, theirs = (np.concatenate([np.ravel(a) for a in each]) for each in (model.get_weights(), arrays.values()))
    np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))


@each
def test_all_problems_are_listed_together_and_nothing_changes(make: Callable[[], Pair]) -> None:
    model, arrays = make()
    before = model.get_weights()
    shapes = {"mapping.embed.weight": (5, 3), "mapping.fc0.weight": (4,), "mapping.fc0.bias": ()}
    missing = next(name for name in arrays if name.endswith("affine.bias") or name.endswith("skip.weight"))
    del arrays[missing]
    arrays["mapping.embed.weight"] = np.zeros([9, 9])
    arrays["mapping.fc0.weight"] = np.zeros([4])  # wrong number of dimensions
    arrays["mapping.fc0.bias"] = np.zeros([])
    arrays["synthesis.L99.weight"] = np.zeros([1])
    arrays["a.b"] = np.zeros([1])
    with pytest.raises(ParameterMismatchError) as caught:
        load_arrays(model, arrays)
    first, *lines = str(caught.value).splitlines()
    assert first.startswith(f"6 of the given arrays do not fit {type(model).__name__}; create the model with")
    assert sorted(line.strip().split(": ")[0] for line in lines) == sorted(
        ["a.b", "synthesis.L99.weight", missing, *shapes]
    )
    text = str(caught.value)
    assert "a.b: unknown" in text and "synthesis.L99.weight: unknown" in text
    assert f"{missing}: missing" in text
    assert "mapping.embed.weight: shape (9, 9) does not fit" in text
    assert "mapping.fc0.weight: shape (4,) does not fit" in text
    assert_weights(model, before)


def assert_weights(model: Any, expected: list[Array]) -> None:
    for weight, value in zip(model.weights, expected, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_any_misshapen_array_is_a_problem() -> None:
    """Every misshapen array is reported, whatever its number of dimensions."""
    for make in (generator, stylegan2, discriminator):
        model, arrays = make()
        for shape in [(), (3,), (16,), (2, 3), (4, 64), (1, 2, 3), (2, 2, 3, 3), (1, 1, 1, 1, 1)]:
            wrong = {name: np.zeros(shape if a.shape != shape else (7, 7)) for name, a in arrays.items()}
            with pytest.raises(ParameterMismatchError) as caught:
                load_arrays(model, wrong)
            assert all(f"{name}: shape" in str(caught.value) for name in arrays)


def official_filters() -> dict[str, Array]:
    """Return the resampling filters of the generator, rounded to float32 as the official code stores them."""
    filters: dict[str, Array] = {}
    for layer in plan.layers(GENERATOR):
        up = low_pass(layer.up_taps, layer.in_cutoff, layer.in_half_width, layer.temporary_rate)
        down = low_pass(
            layer.down_taps, layer.out_cutoff, layer.out_half_width, layer.temporary_rate, layer.use_radial_filters
        )
        for name, taps in (("up_filter", up), ("down_filter", down)):
            if taps is not None:
                filters[f"synthesis.{layer.name}.{name}"] = taps.astype(np.float32)
    return filters


def test_filters_may_be_given_and_are_compared() -> None:
    model, arrays = generator()
    filters = official_filters()
    assert len(filters) == 28
    load_arrays(model, {**arrays, **filters})
    before = model.get_weights()
    one, another = list(filters)[2], list(filters)[5]
    wrong = {one: filters[one] + 1e-4, another: filters[another][:-1]}
    with pytest.raises(ParameterMismatchError) as caught:
        load_arrays(model, {**arrays, **filters, **wrong, "mapping.w_avg": np.ones(5)})
    assert str(caught.value).count("differs from the filter that this geometry implies") == 2
    assert f"{one}: differs" in str(caught.value) and f"{another}: differs" in str(caught.value)
    assert_weights(model, before)


def test_discriminator_filters() -> None:
    model, arrays = discriminator()
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    names = [f"b{r}.{layer}.resample_filter" for r in (16, 8) for layer in ("conv0", "conv1", "skip")]
    load_arrays(model, {**arrays, **dict.fromkeys(names, taps)})
    with pytest.raises(ParameterMismatchError, match=r"b8.skip.resample_filter: differs"):
        load_arrays(model, {**arrays, "b8.skip.resample_filter": taps[:2]})


def test_stylegan2_filters() -> None:
    model, arrays = stylegan2()
    taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    owners = ("b4", "b8", "b16", "b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1")
    load_arrays(model, {**arrays, **{f"synthesis.{owner}.resample_filter": taps for owner in owners}})
    with pytest.raises(ParameterMismatchError, match=r"b8.resample_filter: differs"):
        load_arrays(model, {**arrays, "synthesis.b8.resample_filter": 2 * taps})


def test_other_models_are_refused() -> None:
    with pytest.raises(TypeError, match="model is a Sequential: give a Generator or a Discriminator"):
        load_arrays(keras.Sequential(), {})
