"""Geometry of the synthesis layers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sg3tf.config import ALIAS_FREE_PRESETS, GeneratorConfig, generator_preset
from sg3tf.layer_plan import LayerPlan, plan_synthesis
from tests.conftest import Golden
from tests.reference import plan as reference

ENTRIES = [f"{preset}-{resolution}" for preset in ALIAS_FREE_PRESETS for resolution in (64, 128, 256, 512, 1024)]

configs = st.builds(
    lambda preset, resolution, image_channels, base, most: generator_preset(
        preset, resolution, image_channels=image_channels, channel_base=base * resolution, channel_max=most
    ),
    st.sampled_from(ALIAS_FREE_PRESETS),
    st.sampled_from([16, 32, 64, 128, 256, 512, 1024]),
    st.sampled_from([1, 3, 4]),
    st.integers(2, 1024),
    st.integers(1, 1024),
)


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
        "conv_kernel": layer.kernel,
        "up_factor": layer.up,
        "down_factor": layer.down,
        "up_taps": layer.up_taps,
        "down_taps": layer.down_taps,
        "down_radial": layer.radial,
        "padding_x0_x1_y0_y1": [left, right, top, bottom],
    }


@pytest.mark.parametrize("key", ENTRIES)
def test_golden(golden: Golden, key: str) -> None:
    entries = golden("layer_plan")
    assert sorted(entries) == sorted(ENTRIES)
    entry = entries[key]
    plan = plan_synthesis(golden_config(key, entry))
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
    from sg3tf.generator import Generator

    entry = golden("layer_plan")[key]
    generator = Generator(golden_config(key, entry))
    assert sum(v.numpy().size for v in generator.trainable_variables) == entry["parameters"]


@given(configs)
@settings(max_examples=200)
def test_agrees_with_the_formulas(config: GeneratorConfig) -> None:
    for layer, expected in zip(plan_synthesis(config).layers, reference.layers(config), strict=True):
        assert layer.name == expected.name
        assert layer.padding == (*expected.pad, *expected.pad)
        for name in ("in_channels", "out_channels", "up", "down", "up_taps", "down_taps", "temporary_rate"):
            assert getattr(layer, name) == getattr(expected, name), name
        assert (layer.kernel, layer.radial, layer.is_torgb) == (expected.kernel, expected.radial, expected.torgb)
        for name in ("in_cutoff", "in_half_width", "out_cutoff", "out_half_width"):
            assert getattr(layer, name) == pytest.approx(getattr(expected, name), rel=1e-14), name


@given(configs)
@settings(max_examples=200)
def test_each_layer_makes_what_the_next_one_reads(config: GeneratorConfig) -> None:
    plan = plan_synthesis(config)
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
    assert last.is_torgb and last.kernel == 1 and sum(layer.is_torgb for layer in plan.layers) == 1


@given(configs)
@settings(max_examples=200)
def test_filtered_lrelu_gives_the_planned_size_and_stays_centred(config: GeneratorConfig) -> None:
    for layer in plan_synthesis(config).layers:
        top, bottom, left, right = layer.padding
        assert (top, bottom) == (left, right)
        upsampled = (layer.in_size + layer.kernel - 1) * layer.up + top + bottom - (layer.up_taps - 1)
        assert (upsampled - layer.down_taps) // layer.down + 1 == layer.out_size
        assert centre_offset(layer) == 0


def centre_offset(layer: LayerPlan) -> float:
    """How far the middle of the output lies from the middle of the input, in samples of the temporary rate."""
    in_size = layer.in_size + layer.kernel - 1
    first_output = (layer.up_taps - 1) / 2 + (layer.down_taps - 1) / 2 - layer.padding[0]  # from the first input
    return first_output + (layer.out_size - 1) * layer.down / 2 - (in_size - 1) * layer.up / 2


@given(configs)
def test_bands_fit_their_grids(config: GeneratorConfig) -> None:
    for layer in plan_synthesis(config).layers:
        assert 0 < layer.out_cutoff <= layer.out_rate / 2
        assert layer.out_half_width > 0
        assert layer.temporary_rate >= 2 * layer.in_rate or layer.is_torgb
        assert layer.in_rate * layer.up == layer.out_rate * layer.down == layer.temporary_rate
        assert layer.is_critically_sampled == (layer.out_cutoff == config.resolution / 2)
