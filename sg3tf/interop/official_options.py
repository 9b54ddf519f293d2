"""The official constructors' arguments, and what they are called here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from sg3tf.config import ConfigError, DiscriminatorConfig, GeneratorConfig, StyleGAN2Config
from sg3tf.interop.snapshot import Config, SnapshotError

#: A clamp that clamps nothing, for networks that have none: JSON has no infinity.
NO_CLAMP = float(np.finfo(np.float32).max)

_RESAMPLE_FILTER = [1, 3, 3, 1]
_SWITCHES = {"radial", "noise"}
_RESIDUAL = {"resnet": True, "orig": False}
_FRACTIONS = {"first_cutoff", "first_stopband", "last_stopband_rel", "output_scale", "clamp", "magnitude_decay"}
_WIDTHS = ("embed_features", "layer_features", "cmap_dim")  # here, always that of w or of D's last block
_LIMITS = {"num_layers": 64, "mapping_layers": 64, "margin": 512, "first_cutoff": 512, "last_stopband_rel": 16}
_MOST = 2**24
_LEAST_STOPBAND = 1.0  # a sampling rate below 2 samples per image width makes filters of any length


@dataclasses.dataclass(frozen=True)
class Options:
    """Arguments of a constructor.

    Attributes:
        fields: {argument: field of the configuration}.
        fixed: {argument: the one value that exists here}.
        unused: arguments without effect on what the network computes in float32.
        nested: {argument: the arguments that it holds}.
    """

    fields: Mapping[str, str]
    fixed: Mapping[str, Any]
    unused: frozenset[str]
    nested: Mapping[str, Options] = dataclasses.field(default_factory=dict)


_COMMON = {
    "c_dim": "label_dim",
    "img_resolution": "resolution",
    "img_channels": "image_channels",
    "channel_base": "channel_base",
    "channel_max": "channel_max",
    "conv_clamp": "clamp",
}
_MAPPING = Options(
    {"num_layers": "mapping_layers"},
    {"activation": "lrelu", "lr_multiplier": 0.01},
    frozenset({"w_avg_beta"}),
)
_ALIAS_FREE = Options(
    {
        **_COMMON,
        "z_dim": "z_dim",
        "w_dim": "w_dim",
        "num_layers": "num_layers",
        "num_critical": "num_critical",
        "first_cutoff": "first_cutoff",
        "first_stopband": "first_stopband",
        "last_stopband_rel": "last_stopband_rel",
        "margin_size": "margin",
        "output_scale": "output_scale",
        "conv_kernel": "kernel",
        "use_radial_filters": "radial",
        "magnitude_ema_beta": "magnitude_decay",
    },
    {"filter_size": 6, "lrelu_upsampling": 2},
    frozenset({"num_fp16_res"}),
    {"mapping_kwargs": _MAPPING},
)
_SKIP = Options(
    {**_COMMON, "z_dim": "z_dim", "w_dim": "w_dim", "use_noise": "noise"},
    {"architecture": "skip", "resample_filter": _RESAMPLE_FILTER, "activation": "lrelu", "kernel_size": 3},
    frozenset({"num_fp16_res", "fp16_channels_last", "fused_modconv_default"}),
    {"mapping_kwargs": _MAPPING},
)
_DISCRIMINATOR = Options(
    {**_COMMON, "architecture": "residual"},
    {},
    frozenset({"num_fp16_res"}),
    {
        "block_kwargs": Options(
            {},
            {"resample_filter": _RESAMPLE_FILTER, "activation": "lrelu"},
            frozenset({"freeze_layers", "fp16_channels_last"}),
        ),
        "mapping_kwargs": _MAPPING,
        "epilogue_kwargs": Options(
            {"mbstd_group_size": "mbstd_group_size", "mbstd_num_channels": "mbstd_channels"},
            {"activation": "lrelu"},
            frozenset(),
        ),
    },
)
OFFICIAL: dict[type, Options] = {
    GeneratorConfig: _ALIAS_FREE,
    StyleGAN2Config: _SKIP,
    DiscriminatorConfig: _DISCRIMINATOR,
}


def to_config(kind: type[Config], given: Mapping[str, Any], options: Options) -> Config:
    """The configuration that constructor arguments mean.

    Args:
        kind: of the configuration.
        given: {argument: value}; what is absent has the default that it has here, which is the official one.
        options: the arguments that there are.

    Raises:
        SnapshotError: naming an argument that is unknown, or whose value does not exist here.
        ConfigError: as of `kind`.
    """
    fields = _fields(given, options)
    widths = {name: fields.pop(name) for name in _WIDTHS if name in fields}
    if "resolution" not in fields:
        raise SnapshotError("its options do not say the resolution")
    config = kind(**{name: _checked(name, value) for name, value in fields.items()})
    width = config.channels(4) if isinstance(config, DiscriminatorConfig) else config.w_dim
    for name, value in widths.items():
        _require(value in (None, width), name, value, f"only {width}, that of what follows, exists here")
    if isinstance(config, GeneratorConfig):
        _check_band(config)
    return config


def from_config(config: Config) -> dict[str, Any]:
    """The arguments with which the official constructor (of stylegan3) makes such a network.

    Raises:
        SnapshotError: there is no such official network.
    """
    options = OFFICIAL.get(type(config))
    given = _given(config, options) if options else {}
    try:
        there = options is not None and to_config(type(config), given, options) == config
    except ConfigError:  # without the options that only exist here
        there = False
    if not there:
        raise SnapshotError("the official code has no such network: only presets stylegan3-t, stylegan3-r, stylegan2")
    return given


def _fields(given: Any, options: Options) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise SnapshotError("its options are not as the official code has them")
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if name in options.nested:
            fields |= _fields(value, options.nested[name])
        elif name in options.fields:
            fields[options.fields[name]] = value
        elif name in _WIDTHS:
            fields[name] = value
        elif name in options.fixed:
            _require(value == options.fixed[name], name, value, f"only {options.fixed[name]!r} exists here")
        else:
            _require(name in options.unused, name, value, "unknown here, so that it may mean another network")
    return fields


def _checked(name: str, value: Any) -> Any:
    if name == "clamp" and value is None:
        return NO_CLAMP
    if name == "residual":
        _require(value in ("resnet", "orig"), "architecture", value, "only 'resnet' and 'orig' exist here")
        return _RESIDUAL[value]
    if name in _SWITCHES:
        _require(type(value) is bool, name, value, "must be True or False")
        return value
    kinds = (int, float) if name in _FRACTIONS else (int,)
    _require(type(value) in kinds, name, value, "must be a number" if name in _FRACTIONS else "must be a whole number")
    most = NO_CLAMP if name == "clamp" else _LIMITS.get(name, _MOST)
    _require(0 <= value <= most, name, value, f"must be from 0 to {most}")
    return float(value) if name in _FRACTIONS else value


def _check_band(config: GeneratorConfig) -> None:
    """Refuses frequencies with which no layers can be planned."""
    cutoff, stopband, last = config.first_cutoff, config.first_stopband, config.last_stopband_rel
    _require(_LEAST_STOPBAND <= stopband <= config.resolution, "first_stopband", stopband, "no frequency of an image")
    _require(0 < cutoff < stopband, "first_cutoff", cutoff, f"must be below first_stopband={stopband}")
    _require(last > 1, "last_stopband_rel", last, "must be above 1")


def _require(condition: bool, name: str, value: Any, remedy: str) -> None:
    if not condition:
        raise SnapshotError(f"{name:.50}={value!r:.50}: {remedy}")


def _given(config: Config, options: Options) -> dict[str, Any]:
    given = {name: getattr(config, field) for name, field in options.fields.items()}
    if given.get("conv_clamp") == NO_CLAMP:
        given["conv_clamp"] = None
    if isinstance(config, DiscriminatorConfig) and "architecture" in given:
        given["architecture"] = "resnet" if config.residual else "orig"
    return given | {name: _given(config, nested) for name, nested in options.nested.items()}
