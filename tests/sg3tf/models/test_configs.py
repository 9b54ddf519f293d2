"""Presets and validation."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest

from sg3tf import Discriminator, build_generator
from sg3tf.models.ablations import ABLATION_PRESETS, AblationConfig
from sg3tf.models.configs import ConfigError, DiscriminatorConfig, GeneratorConfig, StyleGAN1Config, StyleGAN2Config
from sg3tf.models.presets import PRESETS, discriminator_preset, generator_preset
from sg3tf.utils.resolution import Size


def test_preset_t_is_the_default_architecture() -> None:
    config = generator_preset("stylegan3-t", 256, channel_base=16384)
    assert config == GeneratorConfig(256, channel_base=16384)
    assert (config.conv_kernel, config.use_radial_filters) == (3, False)
    assert (config.num_layers, config.mapping_layers) == (14, 2)


def test_preset_r_doubles_the_channels_and_has_no_3x3_kernels() -> None:
    config = generator_preset("stylegan3-r", 256, channel_base=16384, channel_max=512)
    assert (config.conv_kernel, config.use_radial_filters) == (1, True)
    assert (config.channel_base, config.channel_max) == (32768, 1024)


def test_preset_stylegan2() -> None:
    config = generator_preset("stylegan2", 8, channel_base=64, channel_max=12)
    assert config == StyleGAN2Config(8, channel_base=64, channel_max=12)
    assert (config.mapping_layers, config.channels(4), config.channels(8)) == (8, 12, 8)


def test_ablations_change_one_thing_at_a_time() -> None:
    """As arXiv 2106.12423, section 3, tells it; at 32 pixels a pyramid has two layers for 4, 8, 16 and 32."""
    size = {"channel_base": 1024, "channel_max": 32, "label_dim": 2}
    ablations = [generator_preset(name, 32, **size) for name in (*ABLATION_PRESETS, "stylegan3-t")]
    a, c, d = ablations[0], ablations[2], ablations[3]
    assert a == generator_preset("stylegan2", 32, **size) and isinstance(c, StyleGAN2Config)
    changes = [changed(before, after) for before, after in itertools.pairwise(ablations)]
    assert changes[:2] == [{"fourier_input": True}, {"noise": False}]
    assert (d.mapping_layers, d.num_layers, d.num_critical, d.margin_size, d.bilinear) == (2, 8, 8, 0, True)
    assert (d.filtered, d.transformed_input) == (False, False)
    assert changes[3:] == [
        {"margin_size": 10, "bilinear": False},
        {"filtered": True},
        {"num_critical": 2},
        {"transformed_input": True},
        {"num_layers": 14},
    ]


def changed(before: Any, after: Any) -> dict[str, Any]:
    fields = dataclasses.asdict(after)
    return {name: value for name, value in fields.items() if vars(before).get(name) != value}


def test_presets_with_transform_and_presets_with_noise() -> None:
    configs = {name: generator_preset(name, 16) for name in PRESETS}
    assert {name for name, config in configs.items() if not config.supports_transform} == {"stylegan2", "stylegan3-a"}
    assert {name for name, config in configs.items() if config.supports_noise} == {
        "stylegan2",
        "stylegan3-a",
        "stylegan3-b",
    }


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("stylegan3-b", "fourier_input"),
        ("stylegan3-c", "noise"),
        ("stylegan3-d", "margin_size"),
        ("stylegan3-e", "filtered"),
    ]
    + [("stylegan3-f", "num_critical"), ("stylegan3-g", "transformed_input"), ("stylegan3-h", "num_layers")]
    + [("stylegan3-r", "conv_kernel")],
)
def test_fields_that_a_preset_fixes_are_refused(name: str, field: str) -> None:
    with pytest.raises(ConfigError, match=rf"overrides=\['{field}'\]: {name} fixes them; use \w+Config for"):
        generator_preset(name, 16, **{field: 1})


def test_all_presets_share_one_discriminator() -> None:
    first, *others = (discriminator_preset(name, 64, channel_base=4096, label_dim=5) for name in PRESETS)
    assert len(others) == len(PRESETS) - 1
    assert all(each == first == DiscriminatorConfig(64, channel_base=4096, label_dim=5) for each in others)
    assert [first.channels(r) for r in (64, 32, 8, 4)] == [64, 128, 512, 512]


@pytest.mark.parametrize("kind", [GeneratorConfig, StyleGAN1Config, StyleGAN2Config, DiscriminatorConfig])
@pytest.mark.parametrize("resolution", [np.int64(32), np.uint16(32)])
def test_numbers_of_numpy_become_those_of_python(kind: type, resolution: Any) -> None:
    """Which JSON takes, as in files and digests."""
    fields = {"channel_base": np.int32(512), "channel_max": np.int64(16)}
    if kind is not StyleGAN1Config:
        fields |= {"label_dim": np.int64(3), "conv_clamp": np.float32(128), "layer_clamps": [("x", np.float32(2))]}
        fields |= {"resample_filter": np.array([1, 3, 3, 1])} if kind is not GeneratorConfig else {}
    config = kind(resolution, **fields)
    plain = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in fields.items()}
    if "layer_clamps" in plain:
        plain["layer_clamps"] = [("x", 2.0)]
    assert config == kind(32, **plain)
    assert json.dumps(dataclasses.asdict(config)) == json.dumps(dataclasses.asdict(kind(32, **plain)))


@pytest.mark.parametrize("kind", [GeneratorConfig, StyleGAN2Config, DiscriminatorConfig])
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"resolution": 48}, "resolution=48: must be a power of two from"),
        ({"resolution": 4}, "resolution=4: must be a power of two from"),
        ({"resolution": 2048}, "resolution=2048: must be a power of two from .* to 1024"),
        ({"resolution": 32.0}, "resolution=32.0: must be"),
        ({"resolution": "1280x720"}, "resolution='1280x720': both sides must be .* near it are 1280x704, "),
        ({"resolution": (2048, 1024)}, "resolution='2048x1024': both sides must be .* to 1280; near it are 1280x640"),
        ({"resolution": "64x"}, "resolution='64x': give the side of a square, or width x height"),
        ({"image_channels": 2}, "image_channels=2: must be 1, 3 or 4"),
        ({"label_dim": -1}, "label_dim=-1: must be 0"),
        ({"channel_max": 0}, "channel_max=0: must be at least 1"),
        ({"mapping_layers": 0}, "mapping_layers=0: must be at least 1"),
        ({"channel_base": 127}, "channel_base=127: must be at least 128 so that every layer at resolution 64"),
    ],
)
def test_invalid_fields_of_all_networks(kind: type, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**{"resolution": 64, **overrides})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"resolution": 8}, "resolution=8: must be a power of two from 16"),
        ({"conv_kernel": 5}, "conv_kernel=5: must be 1 .* or 3"),
        ({"num_critical": -1}, "num_critical=-1: must be between 0 and num_layers - 1 = 13"),
        ({"num_critical": 14}, "num_critical=14: must be between"),
        ({"layer_clamps": ("L0_36_16", 128.0)}, "layer_clamps=.*: must be pairs of a layer and a bound above 0"),
        ({"layer_clamps": [("L0_36_16", 0)]}, "layer_clamps=.*: must be pairs"),
    ],
)
def test_invalid_fields_of_the_generator(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GeneratorConfig(**{"resolution": 64, **overrides})


@pytest.mark.parametrize(
    ("build", "config", "known"),
    [
        (build_generator, GeneratorConfig(16, channel_base=64, channel_max=4), "L0_36_4, L1_36_4"),
        (build_generator, StyleGAN2Config(8, channel_base=32, channel_max=4), "b4.conv1, b8.conv0, b8.conv1, b4.torgb"),
        (
            Discriminator,
            DiscriminatorConfig(8, channel_base=32, channel_max=4),
            "b8.fromrgb, b8.conv0, .*b8.skip, b4.conv",
        ),
    ],
)
def test_clamps_of_unknown_layers(build: Any, config: Any, known: str) -> None:
    wrong = dataclasses.replace(config, layer_clamps=(("b8.conv7", 1.0),))
    with pytest.raises(ConfigError, match=f"layer_clamps='b8.conv7': must name a layer of the network: {known}"):
        build(wrong)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({}, "num_layers=14: must be between 1 and 10 in a pyramid"),
        ({"num_layers": 0}, "num_layers=0: must be between 1 and 10"),
        ({"num_layers": 10, "num_critical": 11}, "num_critical=11: must be between 1 and num_layers = 10"),
    ],
)
def test_invalid_fields_of_an_ablation(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AblationConfig(64, **overrides)


@pytest.mark.parametrize("kind", [GeneratorConfig, StyleGAN2Config])
@pytest.mark.parametrize("name", ["z_dim", "w_dim"])
def test_latents_need_a_dimension(kind: type, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=0: must be at least 1"):
        kind(64, **{name: 0})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"mbstd_group_size": 0}, "mbstd_group_size=0: must be at least 1"),
        ({"mbstd_channels": -1}, "mbstd_channels=-1: must be 0, or divide the 512 channels of the last block"),
        ({"mbstd_channels": 3}, "mbstd_channels=3: must be 0, or divide the 512 channels of the last block"),
    ],
)
def test_invalid_fields_of_the_discriminator(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DiscriminatorConfig(**{"resolution": 64, **overrides})


@pytest.mark.parametrize("preset", [generator_preset, discriminator_preset])
def test_presets_name_what_they_do_not_know(preset: Any) -> None:
    with pytest.raises(ConfigError, match="preset='stylegan4': must be .* stylegan3-t, stylegan3-r, stylegan2"):
        preset("stylegan4", 64)
    with pytest.raises(ConfigError, match=r"overrides=\['depth', 'width'\]: \w+Config has .*channel_base"):
        preset("stylegan3-t", 64, width=1, depth=2)
    with pytest.raises(ConfigError, match=r"overrides=\['use_radial_filters'\]: \w+Config has .*channel_base"):
        preset("stylegan2", 64, use_radial_filters=True)


@pytest.mark.parametrize(
    "config", [GeneratorConfig(64, label_dim=3), StyleGAN2Config(8), DiscriminatorConfig(Size(24, 16))]
)
def test_survives_json_and_cannot_be_changed(config: Any) -> None:
    assert type(config)(**json.loads(json.dumps(dataclasses.asdict(config)))) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.resolution = 32
