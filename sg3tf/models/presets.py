"""Presets: published architectures by name, and trained networks that ship with the package."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sg3tf.models.ablations import ABLATION_PRESETS, STYLEGAN2_ABLATIONS, AblationConfig, alias_free_ablation
from sg3tf.models.configs import (
    AnyGeneratorConfig,
    ConfigError,
    DiscriminatorConfig,
    GeneratorConfig,
    StyleGAN1Config,
    StyleGAN2Config,
    require,
)
from sg3tf.utils.resolution import AnyResolution

ALIAS_FREE_PRESETS = ("stylegan3-t", "stylegan3-r")
STYLEGAN1_PRESET = "stylegan1"  # for generation only; it cannot be trained
#: Presets of StyleGAN2Config, and the fields that each fixes.
STYLEGAN2_PRESETS: dict[str, dict[str, Any]] = {"stylegan2": {}, **STYLEGAN2_ABLATIONS}
#: Architectures that can be trained.
PRESETS = (*ALIAS_FREE_PRESETS, "stylegan2", *ABLATION_PRESETS)
TRAINED_PRESETS = ("portraits-32", "portraits-32-conditional", "portraits-64", "portraits-64-r")

TRAINED_FOLDER = Path(__file__).parent / "trained"


def generator_preset(name: str, resolution: AnyResolution, **overrides: Any) -> AnyGeneratorConfig:
    """Configuration of the published generator `name` at `resolution`.

    `channel_base` and `channel_max` are the trainer's --cbase and --cmax. Config R doubles both, so that the same two
    numbers describe G and D of a run.

    Raises:
        ConfigError: unknown preset, unknown field or a value out of range.

    Examples:
        >>> generator_preset("stylegan3-r", 256).channel_max
        1024
    """
    known = (*PRESETS, STYLEGAN1_PRESET)
    remedy = f"must be an architecture, {', '.join(known)}, or a trained network, {', '.join(TRAINED_PRESETS)}"
    require(name in known, "preset", name, remedy)
    config_class = _config_class(name)
    _reject_unknown(config_class, overrides)
    fixed = _fixed_fields(name, resolution)
    conflicts = sorted(set(fixed) & set(overrides))
    remedy = f"{name} fixes them; use {config_class.__name__} for another architecture"
    require(not conflicts, "overrides", conflicts, remedy)
    config = config_class(**{"resolution": resolution, **overrides}, **fixed)
    if name == "stylegan3-r":
        doubled: dict[str, Any] = {"channel_base": 2 * config.channel_base, "channel_max": 2 * config.channel_max}
        config = dataclasses.replace(config, **doubled)
    return config


def _config_class(name: str) -> type[AnyGeneratorConfig]:
    if name in ALIAS_FREE_PRESETS:
        return GeneratorConfig
    if name in STYLEGAN2_PRESETS:
        return StyleGAN2Config
    return StyleGAN1Config if name == STYLEGAN1_PRESET else AblationConfig


def _fixed_fields(name: str, resolution: AnyResolution) -> dict[str, Any]:
    if name in STYLEGAN2_PRESETS:
        return STYLEGAN2_PRESETS[name]
    if name == "stylegan3-r":
        return {"conv_kernel": 1, "use_radial_filters": True}
    if name not in ABLATION_PRESETS:
        return {}
    given: dict[str, Any] = {"resolution": resolution}
    return alias_free_ablation(name, GeneratorConfig(**given).resolution)  # raises ConfigError for invalid values


def discriminator_preset(name: str, resolution: AnyResolution, **overrides: Any) -> DiscriminatorConfig:
    """Configuration of the discriminator for generator `name`; it is the same for all generators.

    Raises:
        ConfigError: unknown preset, unknown field or a value out of range.

    Examples:
        >>> discriminator_preset("stylegan3-t", 256).resolution
        256
    """
    require(name in PRESETS, "preset", name, f"must be one of {', '.join(PRESETS)}")
    _reject_unknown(DiscriminatorConfig, overrides)
    return DiscriminatorConfig(**{"resolution": resolution, **overrides})


def discriminator_of_options(options: Mapping[str, Any]) -> DiscriminatorConfig:
    """Configuration of the discriminator of a training run.

    Args:
        options: the run's options by name, as in options.json.

    Raises:
        ConfigError: a value is out of range.
        KeyError: an option is missing.
    """
    return discriminator_preset(
        options["cfg"],
        options["resolution"],
        image_channels=options["image_channels"],
        label_dim=options["label_dim"],
        channel_base=options["cbase"],
        channel_max=options["cmax"],
        mbstd_group_size=min(options["mbstd_group"], options["batch_per_replica"]),
    )


def _reject_unknown(config_class: type, overrides: dict[str, Any]) -> None:
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = sorted(set(overrides) - known)
    require(not unknown, "overrides", unknown, f"{config_class.__name__} has {', '.join(sorted(known))}")


def trained_file(name: str) -> Path:
    """Return the .keras file of a trained preset.

    Raises:
        ConfigError: the file is missing.
    """
    file = TRAINED_FOLDER / f"{name}.keras"
    if not file.is_file():
        raise ConfigError(
            f"preset={name!r}: {file} is missing; install sg3tf from a wheel or a checkout that has it, "
            "or load another network with sg3tf.load"
        )
    return file
