"""Geometry of the synthesis layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg3tf.models.ablations import ABLATION_PRESETS, AblationConfig, AblationLayerPlan, plan_ablation
from sg3tf.models.configs import GeneratorConfig
from sg3tf.models.layer_plan import LayerPlan, SynthesisPlan, plan_synthesis
from sg3tf.models.presets import ALIAS_FREE_PRESETS, generator_preset
from sg3tf.utils.resolution import size_of
from tests.conftest import Golden
from tests.helpers.reference import plan as reference

ENTRIES = [f"{preset}-{resolution}" for preset in ALIAS_FREE_PRESETS for resolution in (64, 128, 256, 512, 1024)]

PYRAMIDS = ABLATION_PRESETS[3:]


def configs_of(presets: Sequence[str]) -> st.SearchStrategy[GeneratorConfig]:
    return st.builds(
        lambda preset, resolution, image_channels, base, most: generator_preset(
            preset, resolution, image_channels=image_channels, channel_base=base * resolution, channel_max=most
        ),
        st.sampled_from(presets),
        st.sampled_from([16, 32, 64, 128, 256, 512, 1024]),
        st.sampled_from([1, 3, 4]),
        st.integers(2, 1024),
        st.integers(1, 1024),
    )


configs = configs_of([*ALIAS_FREE_PRESETS, *PYRAMIDS])


def plan_of(config: GeneratorConfig) -> SynthesisPlan:
    return plan_ablation(config) if isinstance(config, AblationConfig) else plan_synthesis(config)


def golden_config(key: str, entry: dict[str, Any]) -> GeneratorConfig:
    preset, resolution = key.rsplit("-", 1)
    flags = {name: entry[f"{name}_flag"] for name in ("channel_base", "channel_max")}
    return generator_preset(preset, int(resolution), **flags)


def official_fields(layer: LayerPlan) -> dict[str, Any]:
    """A layer in the words of golden/layer_plan.json."""
    top, bottom, left, right = layer.padding
    return {
        "is_torgb": layer.is_torgb,
        "is_critically_sampled": layer.is_critically_sampled,
        "use_fp16": layer.low_precision,
        "in_channels": layer.in_channels,
        "out_channels": layer.out_channels,
        "in_size": [layer.in_size] * 2,
        "out_size": [layer.out_size] * 2,
        "in_sampling_rate": layer.in_rate,
        "out_sampling_rate": layer.out_rate,
        "tmp_sampling_rate": layer.temporary_rate,
        "in_cutoff": layer.in_cutoff,
        "out_cutoff": layer.out_cutoff,
        "in_half_width": layer.in_half_width,
        "out_half_width": layer.out_half_width,
        "conv_kernel": layer.conv_kernel,
        "up_factor": layer.up,
        "down_factor": layer.down,
        "up_taps": layer.up_taps,
        "down_taps": layer.down_taps,
        "down_radial": layer.use_radial_filters,
        "padding_x0_x1_y0_y1": [left, right, top, bottom],
    }


@pytest.mark.parametrize("key", ENTRIES)
def test_golden(golden: Golden, key: str) -> None:
    entries = golden("layer_plan")
    assert sorted(entries) == sorted(ENTRIES)
    entry = entries[key]
    plan = plan_of(golden_config(key, entry))
    assert plan.num_ws == entry["num_ws"]
    assert [layer.name for layer in plan.layers] == entry["layer_names"]
    assert plan.input.channels == entry["input_channels"]
    assert [plan.input.size] * 2 == entry["input_size"]
    assert (plan.input.sampling_rate, plan.input.bandwidth) == (
        entry["input_sampling_rate"],
        entry["input_bandwidth"],
    )
    for layer, expected in zip(plan.layers, entry["layers"], strict=True):
        fields = official_fields(layer)
        assert fields.keys() == expected.keys()
        for name, value in fields.items():
            assert value == pytest.approx(expected[name], rel=1e-14), (layer.name, name)


# Creating a model of this size takes 100 MB; the smallest entry of each configuration will do.
@pytest.mark.parametrize("key", ["stylegan3-t-1024", "stylegan3-r-1024"])
def test_golden_number_of_parameters(golden: Golden, key: str) -> None:
    from sg3tf.models.generators import build_generator

    entry = golden("layer_plan")[key]
    generator = build_generator(golden_config(key, entry))
    assert sum(v.numpy().size for v in generator.trainable_variables) == entry["parameters"]


@given(configs_of(ALIAS_FREE_PRESETS))
@settings(max_examples=200)
def test_agrees_with_the_formulas(config: GeneratorConfig) -> None:
    for layer, expected in zip(plan_of(config).layers, reference.layers(config), strict=True):
        assert layer.name == expected.name
        assert layer.padding == (*expected.pad, *expected.pad)
        for name in ("in_channels", "out_channels", "up", "down", "up_taps", "down_taps", "temporary_rate"):
            assert getattr(layer, name) == getattr(expected, name), name
        assert (layer.conv_kernel, layer.use_radial_filters, layer.is_torgb) == (
            expected.kernel,
            expected.use_radial_filters,
            expected.torgb,
        )
        for name in ("in_cutoff", "in_half_width", "out_cutoff", "out_half_width"):
            assert getattr(layer, name) == pytest.approx(getattr(expected, name), rel=1e-14), name


@given(configs)
@settings(max_examples=200)
def test_each_layer_makes_what_the_next_one_reads(config: GeneratorConfig) -> None:
    plan = plan_of(config)
    first, last = plan.layers[0], plan.layers[-1]
    assert (plan.input.channels, plan.input.size, plan.input.sampling_rate) == (
        first.in_channels,
        first.in_size,
        first.in_rate,
    )
    for before, after in zip(plan.layers, plan.layers[1:], strict=False):
        assert (before.out_channels, before.out_size, before.out_rate, before.out_cutoff) == (
            after.in_channels,
            after.in_size,
            after.in_rate,
            after.in_cutoff,
        )
    assert (last.out_size, last.out_rate, last.out_channels) == (
        config.resolution,
        config.resolution,
        config.image_channels,
    )
    assert last.is_torgb and last.conv_kernel == 1 and sum(layer.is_torgb for layer in plan.layers) == 1


@given(configs)
@settings(max_examples=200)
def test_filtered_lrelu_gives_the_planned_size_and_stays_centerd(config: GeneratorConfig) -> None:
    for layer in plan_of(config).layers:
        top, bottom, left, right = layer.padding
        assert (top, bottom) == (left, right)
        upsampled = convolved_size(layer) * layer.up + top + bottom - (layer.up_taps - 1)
        assert (upsampled - layer.down_taps) // layer.down + 1 == layer.out_size
        assert center_offset(layer) == 0


def conv_up(layer: LayerPlan) -> int:
    return layer.conv_up if isinstance(layer, AblationLayerPlan) else 1


def convolved_size(layer: LayerPlan) -> int:
    """Of a convolution that sees zeros beyond the input, and between samples where it upsamples."""
    return (layer.in_size - 1) * conv_up(layer) + 1 + layer.conv_kernel - 1


def center_offset(layer: LayerPlan) -> float:
    """Distance of the middle of the output from that of the input, in samples of the temporary rate."""
    in_size = convolved_size(layer)
    first_output = (layer.up_taps - 1) / 2 + (layer.down_taps - 1) / 2 - layer.padding[0]  # from the first input
    return first_output + (layer.out_size - 1) * layer.down / 2 - (in_size - 1) * layer.up / 2


@pytest.mark.parametrize("size", ["64x32", "48x64", "64x16"])
@pytest.mark.parametrize("preset", [*ALIAS_FREE_PRESETS, "stylegan3-h"])
def test_a_picture_that_is_not_square_has_the_plan_of_the_longer_side(preset: str, size: str) -> None:
    """Only grids are smaller along the other axis: as large a part of the square's as the picture is."""
    width, height = (int(side) for side in size.split("x"))
    layers = {} if preset in ALIAS_FREE_PRESETS else {"num_layers": 4}
    square, plan = (
        plan_of(dataclasses.replace(generator_preset(preset, side, channel_base=4096, channel_max=99), **layers))
        for side in (64, size)
    )
    assert plan.num_ws == square.num_ws and plan.input.channels == square.input.channels
    assert plan.input.sampling_rate * 64 == square.input.sampling_rate * width  # per image width
    assert plan.input.bandwidth * 64 == square.input.bandwidth * width
    for layer, other in zip(plan.layers, square.layers, strict=True):
        free = {"name": "", "in_size": 0, "out_size": 0}
        assert dataclasses.replace(layer, **free) == dataclasses.replace(other, **free)
        for name, rate in (("in_size", layer.in_rate), ("out_size", layer.out_rate)):
            margin = getattr(other, name) - rate
            expected = [width * rate // 64 + margin, height * rate // 64 + margin]
            assert list(size_of(getattr(layer, name))) == expected
        top, bottom, left, right = layer.padding
        along = dict(zip(("width", "height"), ((left, right), (top, bottom)), strict=True))
        for axis, (before, after) in along.items():
            sizes = {name: getattr(size_of(getattr(layer, name)), axis) for name in ("in_size", "out_size")}
            one = dataclasses.replace(layer, **sizes)
            assert one.padding == (before, after) * 2
            assert center_offset(one) == 0
    assert plan.layers[-1].out_size == (width, height)


@pytest.mark.parametrize(
    ("size", "rates"),
    [("48x32", [12, 24, 48]), ("1280x704", [20, 40, 80, 160, 320, 640, 1280]), ("96x80", [12, 24, 48, 96])],
)
def test_rates_of_sides_that_are_no_powers_of_two(size: str, rates: list[int]) -> None:
    """The longer side over powers of two that divide both sides, not below twice the stopband."""
    plan = plan_of(generator_preset("stylegan3-t", size, channel_base=4096, channel_max=99))
    assert sorted({layer.out_rate for layer in plan.layers}) == rates
    for layer in plan.layers:
        stopband = layer.out_cutoff + layer.out_half_width
        assert layer.is_torgb or layer.out_rate >= min(2 * stopband, rates[-1]) - 1e-9


@given(configs)
def test_bands_fit_their_grids(config: GeneratorConfig) -> None:
    for layer in plan_of(config).layers:
        assert 0 < layer.out_cutoff <= layer.out_rate / 2
        assert layer.out_half_width > 0
        oversampling = 2 if getattr(config, "filtered", True) and not layer.is_torgb else 1
        assert layer.temporary_rate == oversampling * max(layer.in_rate, layer.out_rate)
        up = conv_up(layer) * layer.up
        assert layer.in_rate * up == layer.out_rate * layer.down == layer.temporary_rate
        assert getattr(config, "filtered", True) or layer.up == 1
        assert layer.is_critically_sampled == (layer.out_cutoff == layer.out_rate / 2)


@pytest.mark.parametrize("preset", PYRAMIDS)
def test_a_pyramid(preset: str) -> None:
    """At 64 pixels, written down: rates and sizes of layers 0 to 9 and of ToRGB, and the bands."""
    config = generator_preset(preset, 64, channel_base=512, channel_max=100)
    plan = plan_of(config)
    layers = plan.layers
    rates = [4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 64]
    assert [layer.out_rate for layer in layers] == rates
    margin = 0 if preset == "stylegan3-d" else 20
    assert [layer.out_size for layer in layers] == [rate + margin for rate in rates[:9]] + [64, 64]
    critical = [preset <= "stylegan3-f"] * 8 + [True] * 3
    assert [layer.is_critically_sampled for layer in layers] == critical
    # The stopband begins at sqrt(2) times half the rate, or where it is lower, at half the rate: no aliases.
    for layer, rate, is_critical in zip(layers, rates, critical, strict=True):
        assert layer.out_half_width == pytest.approx(0.41421356237 * rate / 2)
        assert layer.out_cutoff == pytest.approx(rate / 2 * (1 if is_critical else 0.58578643763))
        assert layer.name == f"L{layers.index(layer)}_{layer.out_size}_{layer.out_channels}"
    lower = (
        [100, 100, 64, 64, 32, 32, 16, 16, 8, 8, 3]
        if preset <= "stylegan3-f"
        else [100] * 4 + [55, 55, 27, 27, 8, 8, 3]
    )
    assert [layer.out_channels for layer in layers] == lower
    assert (plan.input.size, plan.input.sampling_rate, plan.input.channels) == (4 + margin, 4, 100)
    assert plan.input.bandwidth == layers[0].in_cutoff == layers[0].out_cutoff
    assert plan.num_ws == len(layers) + (preset == "stylegan3-h")
    taps = {"stylegan3-d": (1, 4), "stylegan3-e": (1, 12)}.get(preset, (12, 24))
    assert [layer.up_taps for layer in layers] == [taps[0], taps[0], *4 * [taps[1], taps[0]], 1]
    assert {layer.down_taps for layer in layers} == ({1} if preset <= "stylegan3-e" else {1, 12})


def test_a_pyramid_of_fewer_layers_begins_higher() -> None:
    plan = plan_of(AblationConfig(64, num_layers=5))
    assert [layer.out_rate for layer in plan.layers] == [16, 32, 32, 64, 64, 64]
