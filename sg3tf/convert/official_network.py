"""Networks from official pickles: arrays, and translation of constructor options to configurations and back."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.models.configs import (
    ACTIVATIONS,
    ARCHITECTURES,
    ConfigError,
    DiscriminatorConfig,
    GeneratorConfig,
    StyleGAN1Config,
    StyleGAN2Config,
    VariantFields,
    digest_fields,
)
from sg3tf.models.layer_plan import plan_synthesis
from sg3tf.utils.resolution import Resolution, longer_side, pyramid
from sg3tf.utils.safe_pickle import Foreign, PickledArray

Config = GeneratorConfig | StyleGAN2Config | StyleGAN1Config | DiscriminatorConfig

NETWORKS = ("G", "D", "G_ema")  # in the order of TensorFlow 1 files

_MIN_PARAMETER_BYTES = 2  # float16
_MAX_NODES, _MAX_DEPTH = 10_000, 10  # of options; real ones have dozens
_MAX_TEXT, _MAX_WHOLE = 10_000, 2**63


class UnsupportedNetworkError(ValueError):
    """The network is not supported; the one-line message names the option, its value and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # names in the file may contain line breaks


@dataclasses.dataclass(frozen=True)
class OfficialNetwork:
    """A network read from an official pickle.

    Attributes:
        origin: framework of the code that wrote it, "PyTorch" or "TensorFlow 1".
        class_name: name of its class or function in the file.
        options: the constructor arguments, as stored in the file.
        config: the configuration they translate to.
        arrays: {official PyTorch parameter name: array}; the original StyleGAN keeps its TensorFlow 1 names.
        training_set_options: constructor arguments of the training set, if stored in the file.
    """

    origin: str
    class_name: str
    options: Mapping[str, Any]
    config: Config
    arrays: Mapping[str, NDArray[Any]]
    training_set_options: Any = None

    def check(self, file_size: int) -> None:
        """Reject a configuration that is larger than the file, before a model of that size is created.

        Args:
            file_size: size of the file in bytes.

        Raises:
            UnsupportedNetworkError: the file is too small, or an array has a dtype that float32 cannot represent.
        """
        for name, array in self.arrays.items():
            if not np.can_cast(array.dtype, np.float32):
                raise UnsupportedNetworkError(f"{name} is {array.dtype}, which float32 cannot hold exactly")
        needed = num_kernel_parameters(self.config)
        if needed * _MIN_PARAMETER_BYTES > file_size:
            raise UnsupportedNetworkError(
                f"its options describe {needed:,} parameters, more than {file_size:,} bytes can hold"
            )


def to_plain_types(value: Any) -> Any:
    """Copy options, and reject everything that JSON cannot represent.

    Raises:
        UnsupportedNetworkError: an element is not a number, text or container, or there are too many.
    """
    return _to_plain_types(value, [_MAX_NODES], _MAX_DEPTH)


def _to_plain_types(value: Any, left: list[int], depth: int) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth < 0:
        raise UnsupportedNetworkError("its options are too many or too deep to be those of a network")
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, PickledArray):
        return _to_plain_types(value.value.tolist(), left, depth - 1)
    if (isinstance(value, str) and len(value) < _MAX_TEXT) or (isinstance(value, int) and abs(value) < _MAX_WHOLE):
        return value
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _to_plain_types(item, left, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_plain_types(item, left, depth - 1) for item in value]
    if isinstance(value, Foreign):
        raise UnsupportedNetworkError(f"its options contain a {value.name:.100}, not only numbers and text")
    raise UnsupportedNetworkError(f"its options contain a {type(value).__name__}, not only numbers and text")


def num_kernel_parameters(config: Config) -> int:
    """Count the kernel parameters, which are nearly all: without biases, running statistics and constants."""
    if isinstance(config, DiscriminatorConfig):
        return _discriminator(config)
    mapping = _mapping(config, config.z_dim, config.w_dim)
    if isinstance(config, StyleGAN2Config):
        return mapping + _stylegan2_synthesis(config)
    if isinstance(config, StyleGAN1Config):
        return mapping + _stylegan1_synthesis(config)
    plan = plan_synthesis(config)
    layers = sum(p.in_channels * (p.conv_kernel**2 * p.out_channels + config.w_dim) for p in plan.layers)
    return mapping + plan.input.channels**2 + layers


def _mapping(config: Config, z_dim: int, width: int) -> int:
    hidden = (config.mapping_features if isinstance(config, VariantFields) else None) or width
    embedded = (config.embed_features if isinstance(config, VariantFields) else None) or width
    sizes = [z_dim + (embedded if config.label_dim else 0), *[hidden] * (config.mapping_layers - 1), width]
    return config.label_dim * embedded + sum(before * after for before, after in itertools.pairwise(sizes))


def _stylegan2_synthesis(config: StyleGAN2Config) -> int:
    pairs = [(config.channels(r // 2), config.channels(r)) for r in doublings(config.resolution)]
    styles = 2 if config.architecture == "skip" else 1  # with ToRGB at every resolution
    blocks = sum(9 * after * (before + after) + config.w_dim * (before + styles * after) for before, after in pairs)
    return 9 * _first_channels(config) ** 2 + blocks


def _stylegan1_synthesis(config: StyleGAN1Config) -> int:
    pairs = [(config.channels(r // 2), config.channels(r)) for r in doublings(config.resolution)]
    blocks = sum(9 * after * (before + after) + 4 * config.w_dim * after for before, after in pairs)
    return config.channels(4) * (9 * config.channels(4) + 4 * config.w_dim) + blocks


def _discriminator(config: DiscriminatorConfig) -> int:
    pairs = [(config.channels(r), config.channels(r // 2)) for r in doublings(config.resolution)]
    last = _first_channels(config)
    mapping = _mapping(config, 0, config.cmap_dim or last) if config.label_dim else 0
    last_block = (9 + pyramid(config.resolution)[0].pixels) * last**2
    return mapping + last_block + sum(9 * before * (before + after) for before, after in pairs)


def _first_channels(config: StyleGAN2Config | DiscriminatorConfig) -> int:
    """Channels at the smallest grid."""
    return config.channels(pyramid(config.resolution)[0].longer)


def doublings(resolution: Resolution) -> list[int]:
    """Return [8, 16, ..., resolution]; for images that are not square, the longer sides."""
    return [size.longer for size in pyramid(resolution)[1:]]


# --- Options of the official constructors -----------------------------------------------------------------------------

#: A clamp without effect, for networks without a clamp, because JSON has no infinity.
NO_CLAMP = float(np.finfo(np.float32).max)

_SWITCHES = {"use_radial_filters", "noise"}
_FRACTIONS = {
    "first_cutoff",
    "first_stopband",
    "last_stopband_rel",
    "output_scale",
    "conv_clamp",
    "magnitude_ema_beta",
    "mapping_lr_multiplier",
}
_CHOICES = {"architecture": ARCHITECTURES} | dict.fromkeys(
    ("activation", "mapping_activation", "last_activation"), ACTIVATIONS
)
_OPTIONAL = {"embed_features", "mapping_features", "cmap_dim"}  # None for the width of w or of D's last block
_LIMITS = {
    "num_layers": 64,
    "mapping_layers": 64,
    "margin_size": 512,
    "first_cutoff": 512,
    "last_stopband_rel": 16,
    "filter_size": 32,
}
_MAX_OPTION = 2**24
_MIN_STOPBAND = 1.0  # sampling rates below 2 samples per image width would need arbitrarily long filters


@dataclasses.dataclass(frozen=True)
class Options:
    """Known arguments of an official constructor.

    Attributes:
        fields: {argument: configuration field}.
        fixed: {argument: its only supported value}.
        unused: arguments without effect on the network's output in float32.
        nested: {argument: the arguments it contains}.
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
    "conv_clamp": "conv_clamp",
}
_MAPPING = Options(
    {
        "num_layers": "mapping_layers",
        "activation": "mapping_activation",
        "lr_multiplier": "mapping_lr_multiplier",
        "layer_features": "mapping_features",
        "embed_features": "embed_features",
    },
    {},
    frozenset({"w_avg_beta"}),
)
_STYLEGAN3 = Options(
    {
        **_COMMON,
        "z_dim": "z_dim",
        "w_dim": "w_dim",
        "num_layers": "num_layers",
        "num_critical": "num_critical",
        "first_cutoff": "first_cutoff",
        "first_stopband": "first_stopband",
        "last_stopband_rel": "last_stopband_rel",
        "margin_size": "margin_size",
        "output_scale": "output_scale",
        "conv_kernel": "conv_kernel",
        "use_radial_filters": "use_radial_filters",
        "magnitude_ema_beta": "magnitude_ema_beta",
        "filter_size": "filter_size",
    },
    {"lrelu_upsampling": 2},
    frozenset({"num_fp16_res"}),
    {"mapping_kwargs": _MAPPING},
)
_STYLEGAN2 = Options(
    {
        **_COMMON,
        "z_dim": "z_dim",
        "w_dim": "w_dim",
        "use_noise": "noise",
        "architecture": "architecture",
        "activation": "activation",
        "resample_filter": "resample_filter",
    },
    {"kernel_size": 3},
    frozenset({"num_fp16_res", "fp16_channels_last", "fused_modconv_default"}),
    {"mapping_kwargs": _MAPPING},
)
_DISCRIMINATOR = Options(
    {**_COMMON, "architecture": "architecture", "cmap_dim": "cmap_dim"},
    {},
    frozenset({"num_fp16_res"}),
    {
        "block_kwargs": Options(
            {"resample_filter": "resample_filter", "activation": "activation"},
            {},
            frozenset({"freeze_layers", "fp16_channels_last"}),
        ),
        "mapping_kwargs": _MAPPING,
        "epilogue_kwargs": Options(
            {
                "mbstd_group_size": "mbstd_group_size",
                "mbstd_num_channels": "mbstd_channels",
                "activation": "last_activation",
            },
            {},
            frozenset(),
        ),
    },
)
OFFICIAL: dict[type, Options] = {
    GeneratorConfig: _STYLEGAN3,
    StyleGAN2Config: _STYLEGAN2,
    DiscriminatorConfig: _DISCRIMINATOR,
}


def to_config(kind: type[Config], given: Mapping[str, Any], options: Options) -> Config:
    """Translate constructor arguments to a configuration.

    Args:
        kind: configuration class.
        given: {argument: value}; missing arguments have the defaults of `kind`, which are the official ones.
        options: the known arguments.

    Raises:
        UnsupportedNetworkError: an argument is unknown, or has an unsupported value.
        ConfigError: `kind` rejects a value.
    """
    fields = _fields(given, options)
    if "resolution" not in fields:
        raise UnsupportedNetworkError("its options do not contain the resolution")
    config = kind(**{name: _checked(name, value) for name, value in fields.items()})
    width = _first_channels(config) if isinstance(config, DiscriminatorConfig) else config.w_dim
    if isinstance(config, DiscriminatorConfig) and config.cmap_dim == width:
        config = dataclasses.replace(config, cmap_dim=None)
    elif isinstance(config, DiscriminatorConfig) and config.cmap_dim is not None:
        width = config.cmap_dim
    usual: Any = {name: None for name in ("mapping_features", "embed_features") if getattr(config, name, None) == width}
    config = dataclasses.replace(config, **usual)
    if isinstance(config, GeneratorConfig):
        _check_band(config)
    return config


def from_config(config: Config) -> dict[str, Any]:
    """Return the arguments for stylegan3's official constructor.

    Raises:
        UnsupportedNetworkError: the official code does not support the network.
    """
    if not isinstance(config.resolution, int):
        raise UnsupportedNetworkError(f"resolution={config.resolution}: the official code has square networks only")
    options = OFFICIAL.get(type(config))
    given = _given(config, options) if options else {}
    try:
        exists = options is not None and to_config(type(config), given, options) == config
    except ConfigError:  # the official options alone are rejected
        exists = False
    if not exists:
        raise UnsupportedNetworkError(
            "the official code has no such network: only presets stylegan3-t, stylegan3-r, stylegan2"
        )
    return given


def _fields(given: Any, options: Options) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise UnsupportedNetworkError("its options are not in the official form")
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if name in options.nested:
            fields |= _fields(value, options.nested[name])
        elif name in options.fields:
            fields[options.fields[name]] = value
        elif name in options.fixed:
            _require(value == options.fixed[name], name, value, f"only {options.fixed[name]!r} is supported")
        else:
            _require(name in options.unused, name, value, "unknown option, which may describe another network")
    return fields


def _checked(name: str, value: Any) -> Any:
    if name == "conv_clamp" and value is None:
        return NO_CLAMP
    if name in _OPTIONAL and value is None:
        return None
    if name == "resolution" and isinstance(value, list | tuple):
        remedy = "squares alone are known in official pickles; how forks for other shapes store them is not known"
        _require(False, "img_resolution", value, remedy)
    if name in _CHOICES:
        supported = isinstance(value, str) and value in _CHOICES[name]
        _require(supported, name, value, f"only {', '.join(map(repr, _CHOICES[name]))} are supported")
        return value
    if name == "resample_filter":
        return _checked_filter(value)
    if name in _SWITCHES:
        _require(type(value) is bool, name, value, "must be True or False")
        return value
    if name not in _FRACTIONS and type(value) is float and value.is_integer():
        value = int(value)
    kinds = (int, float) if name in _FRACTIONS else (int,)
    _require(type(value) in kinds, name, value, "must be a number" if name in _FRACTIONS else "must be a whole number")
    most = NO_CLAMP if name == "conv_clamp" else _LIMITS.get(name, _MAX_OPTION)
    _require(0 <= value <= most, name, value, f"must be from 0 to {most}")
    return float(value) if name in _FRACTIONS else value


def _checked_filter(value: Any) -> tuple[float, ...]:
    """Check taps along one axis; None means no filter."""
    taps = (1,) if value is None else value
    numbers = isinstance(taps, (list, tuple)) and all(type(tap) in (int, float) and abs(tap) < 2**24 for tap in taps)
    _require(numbers, "resample_filter", value, "must be numbers along one axis")
    return tuple(taps)


def _check_band(config: GeneratorConfig) -> None:
    """Reject frequencies for which no layers can be planned."""
    cutoff, stopband, last = config.first_cutoff, config.first_stopband, config.last_stopband_rel
    _require(
        _MIN_STOPBAND <= stopband <= longer_side(config.resolution),
        "first_stopband",
        stopband,
        f"must be from {_MIN_STOPBAND} to the resolution",
    )
    _require(0 < cutoff < stopband, "first_cutoff", cutoff, f"must be below first_stopband={stopband}")
    _require(last > 1, "last_stopband_rel", last, "must be above 1")


def _require(condition: bool, name: str, value: Any, remedy: str) -> None:
    if not condition:
        raise UnsupportedNetworkError(f"{name:.50}={value!r:.50}: {remedy}")


def _given(config: Config, options: Options) -> dict[str, Any]:
    fields = digest_fields(config)  # omits defaults of fields that not every official constructor has
    given = {name: fields[field] for name, field in options.fields.items() if field in fields}
    if given.get("conv_clamp") == NO_CLAMP:
        given["conv_clamp"] = None
    return given | {name: _given(config, nested) for name, nested in options.nested.items()}
