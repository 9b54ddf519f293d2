"""What a network is: frozen dataclasses, the presets, and checks that name argument, value and remedy."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, TypeAlias

ALIAS_FREE_PRESETS = ("stylegan3-t", "stylegan3-r")
#: From StyleGAN2, which is A, towards T, one change at a time (arXiv 2106.12423, section 3 and figure 3).
ABLATION_PRESETS = tuple(f"stylegan3-{letter}" for letter in "abcdefgh")
#: What changes in StyleGAN2Config; all other presets are GeneratorConfigs.
STYLEGAN2_VARIANTS: dict[str, dict[str, Any]] = {
    "stylegan2": {},
    "stylegan3-a": {},
    "stylegan3-b": {"fourier_input": True},
    "stylegan3-c": {"fourier_input": True, "noise": False},
}
PRESETS = (*ALIAS_FREE_PRESETS, "stylegan2", *ABLATION_PRESETS)
#: Draws, but is not trained here.
STYLEGAN1_PRESET = "stylegan1"

#: Keras dtype policy by name of a precision; 16-bit policies apply to the four highest resolutions (docs/adr/0010).
PRECISIONS = {"fp32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16"}


class ConfigError(ValueError):
    """A configuration that cannot be built; the message names the argument, its value and the remedy."""


def _require(condition: bool, argument: str, value: Any, remedy: str) -> None:
    if not condition:
        raise ConfigError(f"{argument}={value!r}: {remedy}")


def _validate_common(config: AnyGeneratorConfig | DiscriminatorConfig, lowest: int) -> None:
    r = config.resolution
    _require(
        isinstance(r, int) and lowest <= r <= 1024 and r & (r - 1) == 0,
        "resolution",
        r,
        f"must be a power of two from {lowest} to 1024",
    )
    _require(config.image_channels in (1, 3, 4), "image_channels", config.image_channels, "must be 1, 3 or 4")
    _require(config.label_dim >= 0, "label_dim", config.label_dim, "must be 0 (no labels) or more")
    _require(config.channel_max >= 1, "channel_max", config.channel_max, "must be at least 1")
    _require(config.mapping_layers >= 1, "mapping_layers", config.mapping_layers, "must be at least 1")
    _require(
        config.channel_base >= 2 * r,
        "channel_base",
        config.channel_base,
        f"must be at least {2 * r} so that every layer at resolution {r} keeps a channel",
    )


def _validate_latents(config: AnyGeneratorConfig) -> None:
    _require(config.z_dim >= 1, "z_dim", config.z_dim, "must be at least 1")
    _require(config.w_dim >= 1, "w_dim", config.w_dim, "must be at least 1")


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Architecture of an alias-free generator, or of one on the way there (arXiv 2106.12423, section 3, appendix F).

    Attributes:
        channel_base, channel_max: a layer of cutoff f has min(channel_base / 2 / f, channel_max) channels.
        kernel: side of the convolutions: 3 (config T) or 1 (config R).
        radial: radially symmetric downsampling filters wherever sampling is not critical (config R).
        transformed_input: w translates and rotates the Fourier features (from config H on).
        filtered: nonlinearities work at twice the sampling rate, between two filters (from config F on).
        bilinear: resampling filters interpolate linearly, instead of being windowed sincs (config D).
        pyramid: the sampling rate doubles with every second layer, and the band follows from it (up to config H);
            otherwise the band grows in a geometric progression, and the sampling rate follows from it.
        num_layers: synthesis layers between the Fourier features and ToRGB.
        num_critical: how many of the last layers are critically sampled; all of them in configs D, E and F.
        first_cutoff, first_stopband: in cycles per image width; not of a pyramid.
        last_stopband_rel: stopband of the last layer relative to its cutoff; not of a pyramid.
        margin: pixels of canvas kept beyond every side of the image.
        output_scale: factor on the ToRGB output.
        clamp: bound on the magnitude of activations.
        magnitude_decay: share that the running mean of squared activations keeps at every update.
    """

    supports_transform: ClassVar[bool] = True
    supports_noise: ClassVar[bool] = False

    resolution: int
    image_channels: int = 3
    label_dim: int = 0
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 2
    channel_base: int = 32768
    channel_max: int = 512
    kernel: int = 3
    radial: bool = False
    transformed_input: bool = True
    filtered: bool = True
    bilinear: bool = False
    pyramid: bool = False
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2.0**2.1
    last_stopband_rel: float = 2.0**0.3
    margin: int = 10
    output_scale: float = 0.25
    clamp: float = 256.0
    magnitude_decay: float = 0.999

    def __post_init__(self) -> None:
        _validate_common(self, lowest=16)
        _validate_latents(self)
        _require(self.kernel in (1, 3), "kernel", self.kernel, "must be 1 (config R) or 3 (config T)")
        if self.pyramid:
            most = pyramid_layers(self.resolution)
            _require(
                0 < self.num_layers <= most, "num_layers", self.num_layers, f"must be between 1 and {most} in a pyramid"
            )
            critical, named = self.num_layers, f"num_layers = {self.num_layers}"
        else:
            critical, named = self.num_layers - 1, f"num_layers - 1 = {self.num_layers - 1}"
        _require(0 < self.num_critical <= critical, "num_critical", self.num_critical, f"must be between 1 and {named}")


def pyramid_layers(resolution: int) -> int:
    """Layers of a pyramid that begins at 4 pixels: two for every resolution."""
    return 2 * (resolution.bit_length() - 2)


@dataclasses.dataclass(frozen=True)
class StyleGAN2Config:
    """Architecture of a StyleGAN2 generator with skip connections (arXiv 1912.04958, section 4.1, config F).

    Attributes:
        channel_base, channel_max: layers at resolution r have min(channel_base / r, channel_max) channels.
        fourier_input: fixed Fourier features are the input, which can be moved, instead of a learned constant
            (configs B and C of arXiv 2106.12423).
        noise: every layer adds noise (not so in config C of arXiv 2106.12423).
        clamp: bound on the magnitude of activations.
    """

    resolution: int
    image_channels: int = 3
    label_dim: int = 0
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    channel_base: int = 32768
    channel_max: int = 512
    fourier_input: bool = False
    noise: bool = True
    clamp: float = 256.0

    def __post_init__(self) -> None:
        _validate_common(self, lowest=8)
        _validate_latents(self)

    @property
    def supports_transform(self) -> bool:
        """True where the input can be moved."""
        return self.fourier_input

    @property
    def supports_noise(self) -> bool:
        """True where every layer adds noise."""
        return self.noise

    def channels(self, resolution: int) -> int:
        """Channels of the layers that work at `resolution`."""
        return min(self.channel_base // resolution, self.channel_max)


@dataclasses.dataclass(frozen=True)
class StyleGAN1Config:
    """Architecture of the first StyleGAN's generator (arXiv 1812.04958), for published weights; without labels.

    Attributes:
        channel_base, channel_max: layers at resolution r have min(channel_base / r, channel_max) channels.
    """

    label_dim: ClassVar[int] = 0
    supports_transform: ClassVar[bool] = False
    supports_noise: ClassVar[bool] = True

    resolution: int
    image_channels: int = 3
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    channel_base: int = 16384
    channel_max: int = 512

    def __post_init__(self) -> None:
        _validate_common(self, lowest=8)
        _validate_latents(self)

    def channels(self, resolution: int) -> int:
        """Channels of the layers that work at `resolution`."""
        return min(self.channel_base // resolution, self.channel_max)


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Architecture of the StyleGAN2 discriminator (arXiv 1912.04958, section 4).

    Attributes:
        residual: blocks have a skip connection ("resnet"), as published; else they are two convolutions ("orig").
        channel_base, channel_max: the block at resolution r has min(channel_base / r, channel_max) channels.
        mapping_layers: depth of the label mapping used for projection conditioning.
        mbstd_group_size: images per group of the minibatch standard deviation.
        mbstd_channels: statistics per group; each becomes one constant channel.
        clamp: bound on the magnitude of activations.
    """

    resolution: int
    image_channels: int = 3
    label_dim: int = 0
    channel_base: int = 32768
    channel_max: int = 512
    residual: bool = True
    mapping_layers: int = 8
    mbstd_group_size: int = 4
    mbstd_channels: int = 1
    clamp: float = 256.0

    def __post_init__(self) -> None:
        _validate_common(self, lowest=8)
        _require(self.mbstd_group_size >= 1, "mbstd_group_size", self.mbstd_group_size, "must be at least 1")
        last = self.channels(4)
        divides = self.mbstd_channels >= 1 and last % self.mbstd_channels == 0
        _require(divides, "mbstd_channels", self.mbstd_channels, f"must divide the {last} channels of the last block")

    def channels(self, resolution: int) -> int:
        """Channels of the block that works at `resolution`."""
        return min(self.channel_base // resolution, self.channel_max)


AnyGeneratorConfig: TypeAlias = GeneratorConfig | StyleGAN2Config | StyleGAN1Config


def generator_preset(name: str, resolution: int, **overrides: Any) -> AnyGeneratorConfig:
    """The published generator `name` at `resolution`.

    `channel_base` and `channel_max` mean what --cbase and --cmax mean to the trainer: config R doubles both,
    so that G and D of one run are described by the same two numbers.

    Raises:
        ConfigError: unknown preset, unknown field or a value out of range.
    """
    known = (*PRESETS, STYLEGAN1_PRESET)
    _require(name in known, "preset", name, f"must be one of {', '.join(known)}")
    if name == STYLEGAN1_PRESET:
        _reject_unknown(StyleGAN1Config, overrides)
        return StyleGAN1Config(resolution=resolution, **overrides)
    kind = StyleGAN2Config if name in STYLEGAN2_VARIANTS else GeneratorConfig
    _reject_unknown(kind, overrides)
    kind(resolution=resolution)  # refuses what is no power of two
    changes = STYLEGAN2_VARIANTS[name] if name in STYLEGAN2_VARIANTS else _alias_free_changes(name, resolution)
    fixed = sorted(set(changes) & set(overrides))
    _require(not fixed, "overrides", fixed, f"{name} fixes them; use {kind.__name__} for another architecture")
    config = kind(resolution=resolution, **overrides, **changes)
    if name == "stylegan3-r":
        doubled: dict[str, Any] = {"channel_base": 2 * config.channel_base, "channel_max": 2 * config.channel_max}
        config = dataclasses.replace(config, **doubled)
    return config


def _alias_free_changes(name: str, resolution: int) -> dict[str, Any]:
    """What `name` has other than config T, which has everything: each step down the ladder takes something away."""
    layers = pyramid_layers(resolution)
    h = {"pyramid": True, "num_layers": layers}
    g = {**h, "transformed_input": False}
    f = {**g, "num_critical": layers}
    e = {**f, "filtered": False}
    d = {**e, "margin": 0, "bilinear": True}
    t: dict[str, Any] = {}
    r = {"kernel": 1, "radial": True}
    return {"d": d, "e": e, "f": f, "g": g, "h": h, "t": t, "r": r}[name[-1]]


def discriminator_preset(name: str, resolution: int, **overrides: Any) -> DiscriminatorConfig:
    """The discriminator trained against generator `name`: the same for all of them.

    Raises:
        ConfigError: unknown preset, unknown field or a value out of range.
    """
    _require(name in PRESETS, "preset", name, f"must be one of {', '.join(PRESETS)}")
    _reject_unknown(DiscriminatorConfig, overrides)
    return DiscriminatorConfig(resolution=resolution, **overrides)


def _reject_unknown(kind: type, overrides: dict[str, Any]) -> None:
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(overrides) - known)
    _require(not unknown, "overrides", unknown, f"{kind.__name__} has {', '.join(sorted(known))}")
