"""Architectures of networks as frozen dataclasses, with checks that name the argument, its value and the remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

#: Keras dtype policy by name of a precision; 16-bit policies apply to the four highest resolutions (docs/adr/0010).
PRECISIONS = {"fp32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16"}

#: Names in files written before, of fields of configurations and layers: the names of today.
FORMER_NAMES = {
    "clamp": "conv_clamp",
    "kernel": "conv_kernel",
    "magnitude_decay": "magnitude_ema_beta",
    "margin": "margin_size",
    "radial": "use_radial_filters",
    "track_average": "track_w_avg",
}


class ConfigError(ValueError):
    """A configuration that cannot be built; the message names the argument, its value and the remedy."""


def require(condition: bool, argument: str, value: Any, remedy: str) -> None:
    """Raise ConfigError unless the condition holds."""
    if not condition:
        raise ConfigError(f"{argument}={value!r}: {remedy}")


def current_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a configuration as a file has them, under the names of today."""
    return {FORMER_NAMES.get(name, name): value for name, value in fields.items()}


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Channels of the layers of StyleGAN, StyleGAN2 and the discriminator at `resolution`."""
    return min(channel_base // resolution, channel_max)


def _check_images(config: AnyGeneratorConfig | DiscriminatorConfig, min_resolution: int) -> None:
    """Check the fields that all networks have."""
    r = config.resolution
    require(
        isinstance(r, int) and min_resolution <= r <= 1024 and r & (r - 1) == 0,
        "resolution",
        r,
        f"must be a power of two from {min_resolution} to 1024",
    )
    require(config.image_channels in (1, 3, 4), "image_channels", config.image_channels, "must be 1, 3 or 4")
    require(config.label_dim >= 0, "label_dim", config.label_dim, "must be 0 (no labels) or more")
    require(config.channel_max >= 1, "channel_max", config.channel_max, "must be at least 1")
    require(config.mapping_layers >= 1, "mapping_layers", config.mapping_layers, "must be at least 1")
    require(
        config.channel_base >= 2 * r,
        "channel_base",
        config.channel_base,
        f"must be at least {2 * r} so that every layer at resolution {r} keeps a channel",
    )


def _check_latents(config: AnyGeneratorConfig) -> None:
    """Check the fields that all generators have."""
    require(config.z_dim >= 1, "z_dim", config.z_dim, "must be at least 1")
    require(config.w_dim >= 1, "w_dim", config.w_dim, "must be at least 1")


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Architecture of an alias-free generator (arXiv 2106.12423, section 3 and appendix F).

    Attributes:
        channel_base, channel_max: a layer of cutoff f has min(channel_base / 2 / f, channel_max) channels.
        conv_kernel: side of the convolution kernels: 3 (config T) or 1 (config R).
        use_radial_filters: downsample with radially symmetric filters in layers that are not critically sampled
            (config R).
        num_layers: synthesis layers between the Fourier features and ToRGB.
        num_critical: number of critically sampled layers, counted from the last.
        first_cutoff, first_stopband: of the first layer, in cycles per image width.
        last_stopband_rel: stopband of the last layer relative to its cutoff.
        margin_size: pixels of canvas beyond every side of the image.
        output_scale: factor on the output of ToRGB.
        conv_clamp: bound on the magnitude of activations.
        magnitude_ema_beta: share that the running mean of squared activations keeps at every update.

    Examples:
        >>> GeneratorConfig(256).channel_base
        32768
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
    conv_kernel: int = 3
    use_radial_filters: bool = False
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2.0**2.1
    last_stopband_rel: float = 2.0**0.3
    margin_size: int = 10
    output_scale: float = 0.25
    conv_clamp: float = 256.0
    magnitude_ema_beta: float = 0.999

    def __post_init__(self) -> None:
        _check_images(self, min_resolution=16)
        _check_latents(self)
        require(self.conv_kernel in (1, 3), "conv_kernel", self.conv_kernel, "must be 1 (config R) or 3 (config T)")
        self._check_layers()

    def _check_layers(self) -> None:
        most = self.num_layers - 1
        remedy = f"must be between 1 and num_layers - 1 = {most}"
        require(0 < self.num_critical <= most, "num_critical", self.num_critical, remedy)


@dataclasses.dataclass(frozen=True)
class StyleGAN2Config:
    """Architecture of a StyleGAN2 generator with skip connections (arXiv 1912.04958, section 4.1, config F).

    Attributes:
        channel_base, channel_max: layers at resolution r have min(channel_base / r, channel_max) channels.
        fourier_input: take fixed Fourier features, which a transform can move, instead of a learned constant
            (configs B and C of arXiv 2106.12423).
        noise: add noise in every layer (not in config C of arXiv 2106.12423).
        conv_clamp: bound on the magnitude of activations.

    Examples:
        >>> StyleGAN2Config(256).channels(64)
        512
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
    conv_clamp: float = 256.0

    def __post_init__(self) -> None:
        _check_images(self, min_resolution=8)
        _check_latents(self)

    @property
    def supports_transform(self) -> bool:
        """True for Fourier features, which a transform can move."""
        return self.fourier_input

    @property
    def supports_noise(self) -> bool:
        """True if every layer adds noise."""
        return self.noise

    def channels(self, resolution: int) -> int:
        """Channels of the layers that work at `resolution`."""
        return channels_at(resolution, self.channel_base, self.channel_max)


@dataclasses.dataclass(frozen=True)
class StyleGAN1Config:
    """Architecture of the first StyleGAN's generator (arXiv 1812.04948), for published weights; without labels.

    Attributes:
        channel_base, channel_max: layers at resolution r have min(channel_base / r, channel_max) channels.

    Examples:
        >>> StyleGAN1Config(1024).channels(1024)
        16
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
        _check_images(self, min_resolution=8)
        _check_latents(self)

    def channels(self, resolution: int) -> int:
        """Channels of the layers that work at `resolution`."""
        return channels_at(resolution, self.channel_base, self.channel_max)


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Architecture of the StyleGAN2 discriminator (arXiv 1912.04958, section 4).

    Attributes:
        channel_base, channel_max: the block at resolution r has min(channel_base / r, channel_max) channels.
        residual: give blocks a skip connection ("resnet"), as published; else they are two convolutions ("orig").
        mapping_layers: depth of the label mapping used for projection conditioning.
        mbstd_group_size: images per group of the minibatch standard deviation.
        mbstd_channels: statistics per group; each becomes one constant channel.
        conv_clamp: bound on the magnitude of activations.

    Examples:
        >>> DiscriminatorConfig(256).channels(4)
        512
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
    conv_clamp: float = 256.0

    def __post_init__(self) -> None:
        _check_images(self, min_resolution=8)
        require(self.mbstd_group_size >= 1, "mbstd_group_size", self.mbstd_group_size, "must be at least 1")
        last = self.channels(4)
        divides = self.mbstd_channels >= 1 and last % self.mbstd_channels == 0
        require(divides, "mbstd_channels", self.mbstd_channels, f"must divide the {last} channels of the last block")

    def channels(self, resolution: int) -> int:
        """Channels of the block that works at `resolution`."""
        return channels_at(resolution, self.channel_base, self.channel_max)


AnyGeneratorConfig: TypeAlias = GeneratorConfig | StyleGAN2Config | StyleGAN1Config
