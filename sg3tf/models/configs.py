"""Architectures of networks as frozen dataclasses, with checks that name the argument, its value and the remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, TypeAlias

from sg3tf.utils.resolution import MAX_SQUARE, Resolution, Size, longer_side, pyramid, resolution_remedy, to_resolution

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
    current = {FORMER_NAMES.get(name, name): value for name, value in fields.items()}
    if "image_channels" in current and "residual" in current:  # of a DiscriminatorConfig
        current["architecture"] = "resnet" if current.pop("residual") else "orig"
    return current


def saved_fields(config: Any, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return what get_config of a network with the configuration `config` saves; `base` is that of keras.Model."""
    return {
        "config": dataclasses.asdict(config),
        **{name: base[name] for name in ("name", "trainable", "dtype") if name in base},
    }


def later(default: Any) -> Any:
    """Field added after networks had been saved without it: with its default, a digest leaves it out."""
    return dataclasses.field(default=default, metadata={"later": True})


def digest_fields(config: Any) -> dict[str, Any]:
    """Fields of a configuration that identify the network, the same in every version of sg3tf."""
    optional = {f.name: f.default for f in dataclasses.fields(config) if f.metadata.get("later")}
    return {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in optional or value != optional[name]
    }


ACTIVATIONS = ("linear", "relu", "lrelu")
ARCHITECTURES = ("skip", "resnet", "orig")
RESAMPLE_FILTER = (1, 3, 3, 1)
MAX_RESAMPLE_TAPS = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariantFields:
    """Fields of StyleGAN2, StyleGAN3 and their discriminator in which published networks differ from the papers.

    Attributes:
        mapping_activation: of the dense layers of the mapping: "linear", "relu" or "lrelu".
        mapping_lr_multiplier: factor on the learning rate of these layers.
        mapping_features: width of the hidden ones; None for the width of the result.
        embed_features: width of the embedded label; None for the width of the result.
        layer_clamps: (layer, bound on its activations) where that is not conv_clamp, such as ("b8.conv0", 128.0).
    """

    mapping_activation: str = later("lrelu")
    mapping_lr_multiplier: float = later(0.01)
    mapping_features: int | None = later(None)
    embed_features: int | None = later(None)
    layer_clamps: tuple[tuple[str, float], ...] = later(())

    def _check_variant(self) -> None:
        object.__setattr__(self, "layer_clamps", _checked_clamps(self.layer_clamps))
        _require_one_of("mapping_activation", self.mapping_activation, ACTIVATIONS)
        require(self.mapping_lr_multiplier > 0, "mapping_lr_multiplier", self.mapping_lr_multiplier, "must be above 0")
        for name in ("mapping_features", "embed_features"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "must be at least 1, or None")

    def clamp(self, layer: str, usual: float | None) -> float | None:
        """Bound on the activations of a layer."""
        return dict(self.layer_clamps).get(layer, usual)

    def check_clamped_layers(self, layers: Collection[str]) -> None:
        """Refuse `layer_clamps` of another layer than those of the network, `layers`.

        Raises:
            ConfigError: it names one.
        """
        for name, _ in self.layer_clamps:
            require(name in layers, "layer_clamps", name, f"must name a layer of the network: {', '.join(layers)}")


def _require_one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    require(value in choices, name, value, f"must be one of {', '.join(choices)}")


def _checked_clamps(clamps: Any) -> tuple[tuple[str, float], ...]:
    pairs = tuple(tuple(pair) if isinstance(pair, (list, tuple)) else (pair,) for pair in clamps)
    fit = all(
        len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], int | float) and pair[1] > 0
        for pair in pairs
    )
    require(fit, "layer_clamps", clamps, 'must be pairs of a layer and a bound above 0, such as ("b8.conv0", 128.0)')
    return pairs


def _checked_taps(taps: Any) -> tuple[float, ...]:
    taps = tuple(taps)
    remedy = f"must be 1 to {MAX_RESAMPLE_TAPS} numbers whose sum is above 0"
    require(1 <= len(taps) <= MAX_RESAMPLE_TAPS and sum(taps) > 0, "resample_filter", taps, remedy)
    return taps


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Channels of the layers of StyleGAN, StyleGAN2 and the discriminator whose longer side is `resolution`."""
    return min(channel_base // resolution, channel_max)


def _check_resolution(config: AnyGeneratorConfig | DiscriminatorConfig, min_resolution: int) -> None:
    """Bring the resolution into its one form, and check it."""
    if isinstance(config.resolution, str | tuple | list):
        try:
            object.__setattr__(config, "resolution", to_resolution(config.resolution))  # the dataclasses are frozen
        except ValueError as error:
            raise ConfigError(str(error)) from error
    r = config.resolution
    remedy: str | None = f"must be a power of two from {min_resolution} to {MAX_SQUARE}"
    if isinstance(r, int | Size):
        remedy = resolution_remedy(r, min_resolution)
    require(remedy is None, "resolution", str(r) if isinstance(r, Size) else r, remedy or "")


def _check_images(config: AnyGeneratorConfig | DiscriminatorConfig, min_resolution: int) -> None:
    """Check the fields that all networks have."""
    _check_resolution(config, min_resolution)
    r = longer_side(config.resolution)
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
class GeneratorConfig(VariantFields):
    """Architecture of an alias-free generator (arXiv 2106.12423, section 3 and appendix F).

    Attributes:
        resolution: side of square images, a power of two, or their Size, (width, height) or "512x256" (docs/adr/0041).
        channel_base, channel_max: a layer of cutoff f has min(channel_base / 2 / f, channel_max) channels.
        conv_kernel: side of the convolution kernels: 3 (config T) or 1 (config R).
        use_radial_filters: downsample with radially symmetric filters in layers that are not critically sampled
            (config R).
        num_layers: synthesis layers between the Fourier features and ToRGB.
        num_critical: number of critically sampled layers, counted from the last.
        first_cutoff, first_stopband: of the first layer, in cycles per longer side of the image.
        last_stopband_rel: stopband of the last layer relative to its cutoff.
        margin_size: pixels of canvas beyond every side of the image.
        filter_size: taps of the filters, for every unit of their resampling factor.
        output_scale: factor on the output of ToRGB.
        conv_clamp: bound on the magnitude of activations.
        magnitude_ema_beta: share that the running mean of squared activations keeps at every update.

    Examples:
        >>> GeneratorConfig(256).channel_base
        32768
    """

    supports_transform: ClassVar[bool] = True
    supports_noise: ClassVar[bool] = False

    resolution: Resolution
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
    filter_size: int = dataclasses.field(default=6, metadata={"later": True}, kw_only=True)

    def __post_init__(self) -> None:
        self._check_variant()
        _check_images(self, min_resolution=16)
        _check_latents(self)
        require(self.conv_kernel in (1, 3), "conv_kernel", self.conv_kernel, "must be 1 (config R) or 3 (config T)")
        require(self.filter_size >= 1, "filter_size", self.filter_size, "must be at least 1")
        self._check_layers()

    def _check_layers(self) -> None:
        most = self.num_layers - 1
        remedy = f"must be between 0 and num_layers - 1 = {most}"
        require(0 <= self.num_critical <= most, "num_critical", self.num_critical, remedy)


@dataclasses.dataclass(frozen=True)
class StyleGAN2Config(VariantFields):
    """Architecture of a StyleGAN2 generator (arXiv 1912.04958, section 4.1), by default config F.

    Attributes:
        resolution: side of square images, a power of two, or their Size, (width, height) or "512x256" (docs/adr/0041).
        channel_base, channel_max: layers at resolution r have min(channel_base / r, channel_max) channels; of images
            that are not square, r is the longer side.
        fourier_input: take fixed Fourier features, which a transform can move, instead of a learned constant
            (configs B and C of arXiv 2106.12423).
        noise: add noise in every layer (not in config C of arXiv 2106.12423).
        conv_clamp: bound on the magnitude of activations.
        architecture: figure 7: "skip" sums an image over the resolutions; "resnet" has residual blocks, and "orig"
            plain ones, and both make the image from the last layer.
        activation: of the convolutions: "linear", "relu" or "lrelu".
        resample_filter: taps of the filter for upsampling, which are divided by their sum.

    Examples:
        >>> StyleGAN2Config(256).channels(64)
        512
    """

    resolution: Resolution
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
    architecture: str = later("skip")
    activation: str = later("lrelu")
    resample_filter: tuple[float, ...] = later(RESAMPLE_FILTER)

    def __post_init__(self) -> None:
        self._check_variant()
        _check_images(self, min_resolution=8)
        _check_latents(self)
        _require_one_of("architecture", self.architecture, ARCHITECTURES)
        _require_one_of("activation", self.activation, ACTIVATIONS)
        object.__setattr__(self, "resample_filter", _checked_taps(self.resample_filter))

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
class DiscriminatorConfig(VariantFields):
    """Architecture of the StyleGAN2 discriminator (arXiv 1912.04958, section 4).

    Attributes:
        resolution: side of square images, a power of two, or their Size, (width, height) or "512x256" (docs/adr/0041).
        channel_base, channel_max: the block at resolution r has min(channel_base / r, channel_max) channels; of images
            that are not square, r is the longer side.
        architecture: figure 7: "resnet", as published, has residual blocks; "orig" has plain ones; "skip" adds to them
            the features of the image at every resolution.
        mapping_layers: depth of the label mapping used for projection conditioning.
        mbstd_group_size: images per group of the minibatch standard deviation.
        mbstd_channels: statistics per group; each becomes one constant channel; 0 for none.
        conv_clamp: bound on the magnitude of activations.
        cmap_dim: width of the mapped label and of the features that it is compared with; None for that of the last
            block.
        activation: of the blocks: "linear", "relu" or "lrelu".
        last_activation: of the layers at 4 x 4 pixels, or the smallest grid of images that are not square.
        resample_filter: taps of the filter for downsampling, which are divided by their sum.

    Examples:
        >>> DiscriminatorConfig(256).channels(4)
        512
    """

    resolution: Resolution
    image_channels: int = 3
    label_dim: int = 0
    channel_base: int = 32768
    channel_max: int = 512
    architecture: str = "resnet"
    mapping_layers: int = 8
    mbstd_group_size: int = 4
    mbstd_channels: int = 1
    conv_clamp: float = 256.0
    cmap_dim: int | None = later(None)
    activation: str = later("lrelu")
    last_activation: str = later("lrelu")
    resample_filter: tuple[float, ...] = later(RESAMPLE_FILTER)

    def __post_init__(self) -> None:
        self._check_variant()
        _check_images(self, min_resolution=8)
        _require_one_of("architecture", self.architecture, ARCHITECTURES)
        _require_one_of("activation", self.activation, ACTIVATIONS)
        _require_one_of("last_activation", self.last_activation, ACTIVATIONS)
        object.__setattr__(self, "resample_filter", _checked_taps(self.resample_filter))
        require(self.cmap_dim is None or self.cmap_dim >= 1, "cmap_dim", self.cmap_dim, "must be at least 1, or None")
        require(self.mbstd_group_size >= 1, "mbstd_group_size", self.mbstd_group_size, "must be at least 1")
        last = self.channels(pyramid(self.resolution)[0].longer)
        divides = self.mbstd_channels == 0 or (self.mbstd_channels > 0 and last % self.mbstd_channels == 0)
        remedy = f"must be 0, or divide the {last} channels of the last block"
        require(divides, "mbstd_channels", self.mbstd_channels, remedy)

    def channels(self, resolution: int) -> int:
        """Channels of the block that works at `resolution`."""
        return channels_at(resolution, self.channel_base, self.channel_max)


AnyGeneratorConfig: TypeAlias = GeneratorConfig | StyleGAN2Config | StyleGAN1Config
