"""Network architectures as validated, frozen dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np

from sg3tf.utils.resolution import MAX_SQUARE, Resolution, Size, longer_side, pyramid, resolution_remedy, to_resolution

#: Keras dtype policy by precision name; 16-bit policies apply to the four highest resolutions (docs/adr/0010).
PRECISIONS = {"fp32": "float32", "bf16": "mixed_bfloat16", "fp16": "mixed_float16"}

#: Legacy names of configuration and layer fields, as found in older files, mapped to the current names.
LEGACY_NAMES = {
    "clamp": "conv_clamp",
    "kernel": "conv_kernel",
    "magnitude_decay": "magnitude_ema_beta",
    "margin": "margin_size",
    "radial": "use_radial_filters",
    "track_average": "track_w_avg",
}


class ConfigError(ValueError):
    """Invalid configuration; the message names the argument, its value and the remedy."""


def require(condition: bool, argument: str, value: Any, remedy: str) -> None:
    """Raise ConfigError unless `condition` holds."""
    if not condition:
        raise ConfigError(f"{argument}={value!r}: {remedy}")


def current_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return configuration fields read from a file under their current names."""
    current = {LEGACY_NAMES.get(name, name): value for name, value in fields.items()}
    if "image_channels" in current and "residual" in current:  # of a DiscriminatorConfig
        current["architecture"] = "resnet" if current.pop("residual") else "orig"
    return current


def saved_fields(config: Any, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `get_config` of a network saves, given its `config` and `base`, the result of keras.Model's."""
    return {
        "config": dataclasses.asdict(config),
        **{name: base[name] for name in ("name", "trainable", "dtype") if name in base},
    }


def added_field(default: Any) -> Any:
    """Dataclass field added after networks had been saved without it; digests omit it while it has its default."""
    return dataclasses.field(default=default, metadata={"added": True})


def digest_fields(config: Any) -> dict[str, Any]:
    """Return the configuration fields that identify a network, the same in every version of sg3tf."""
    optional = {f.name: f.default for f in dataclasses.fields(config) if f.metadata.get("added")}
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
    """Fields of StyleGAN2, StyleGAN3 and discriminator configurations in which some published networks differ.

    Attributes:
        mapping_activation: activation of the mapping's dense layers: "linear", "relu" or "lrelu".
        mapping_lr_multiplier: learning rate multiplier of these layers.
        mapping_features: width of the hidden ones; None for the output width.
        embed_features: width of the embedded label; None for the output width.
        layer_clamps: (layer, bound on its activations) pairs that override conv_clamp, such as ("b8.conv0", 128.0).
    """

    mapping_activation: str = added_field("lrelu")
    mapping_lr_multiplier: float = added_field(0.01)
    mapping_features: int | None = added_field(None)
    embed_features: int | None = added_field(None)
    layer_clamps: tuple[tuple[str, float], ...] = added_field(())

    def _check_variant(self) -> None:
        object.__setattr__(self, "layer_clamps", _checked_clamps(self.layer_clamps))
        _require_one_of("mapping_activation", self.mapping_activation, ACTIVATIONS)
        require(self.mapping_lr_multiplier > 0, "mapping_lr_multiplier", self.mapping_lr_multiplier, "must be above 0")
        for name in ("mapping_features", "embed_features"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "must be at least 1, or None")

    def clamp(self, layer: str, usual: float | None) -> float | None:
        """Bound on the activations of `layer`; `usual` where layer_clamps does not set one."""
        return dict(self.layer_clamps).get(layer, usual)

    def check_clamped_layers(self, layers: Collection[str]) -> None:
        """Check that `layer_clamps` names only layers of the network, `layers`.

        Raises:
            ConfigError: it names another layer.
        """
        for name, _ in self.layer_clamps:
            require(name in layers, "layer_clamps", name, f"must name a layer of the network: {', '.join(layers)}")


def _use_python_numbers(config: Any) -> None:
    """Replace the numbers of NumPy in a configuration, which neither .keras files nor digests can hold."""
    for field in dataclasses.fields(config):
        value = _python_number(getattr(config, field.name))
        object.__setattr__(config, field.name, value)  # the dataclasses are frozen


def _python_number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _require_one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    require(value in choices, name, value, f"must be one of {', '.join(choices)}")


def _checked_clamps(clamps: Any) -> tuple[tuple[str, float], ...]:
    pairs = tuple(tuple(map(_python_number, pair)) if isinstance(pair, (list, tuple)) else (pair,) for pair in clamps)
    fit = all(
        len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], int | float) and pair[1] > 0
        for pair in pairs
    )
    require(fit, "layer_clamps", clamps, 'must be pairs of a layer and a bound above 0, such as ("b8.conv0", 128.0)')
    return pairs


def _checked_taps(taps: Any) -> tuple[float, ...]:
    taps = tuple(map(_python_number, taps))
    remedy = f"must be 1 to {MAX_RESAMPLE_TAPS} numbers whose sum is above 0"
    require(1 <= len(taps) <= MAX_RESAMPLE_TAPS and sum(taps) > 0, "resample_filter", taps, remedy)
    return taps


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Channels of StyleGAN, StyleGAN2 and discriminator layers whose longer side is `resolution`."""
    return min(channel_base // resolution, channel_max)


def _check_resolution(config: AnyGeneratorConfig | DiscriminatorConfig, min_resolution: int) -> None:
    """Normalize the resolution, and check it."""
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
    """Check the fields common to all networks."""
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
    """Check the fields common to all generators."""
    require(config.z_dim >= 1, "z_dim", config.z_dim, "must be at least 1")
    require(config.w_dim >= 1, "w_dim", config.w_dim, "must be at least 1")


@dataclasses.dataclass(frozen=True)
class GeneratorConfig(VariantFields):
    """Architecture of an alias-free generator (arXiv 2106.12423, section 3 and appendix F).

    Attributes:
        resolution: side of square images, a power of two, or their Size, (width, height) or "512x256" (docs/adr/0041).
        channel_base, channel_max: a layer with cutoff f has min(channel_base / 2 / f, channel_max) channels.
        conv_kernel: convolution kernel size: 3 (config T) or 1 (config R).
        use_radial_filters: downsample with radially symmetric filters in layers that are not critically sampled
            (config R).
        num_layers: synthesis layers between the Fourier features and ToRGB.
        num_critical: number of critically sampled layers, the last ones.
        first_cutoff, first_stopband: frequencies of the first layer, in cycles per longer side of the image.
        last_stopband_rel: stopband of the last layer relative to its cutoff.
        margin_size: canvas pixels beyond each side of the image.
        filter_size: filter taps per unit of the resampling factor.
        output_scale: factor on the output of ToRGB.
        conv_clamp: bound on the magnitude of activations.
        magnitude_ema_beta: decay of the running mean of squared activations, per update.

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
    filter_size: int = dataclasses.field(default=6, metadata={"added": True}, kw_only=True)

    def __post_init__(self) -> None:
        _use_python_numbers(self)
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
        channel_base, channel_max: layers at resolution r have min(channel_base / r, channel_max) channels; for images
            that are not square, r is the longer side.
        fourier_input: start from fixed Fourier features, which a transform can move, instead of a learned constant
            (configs B and C of arXiv 2106.12423).
        noise: add noise in every layer (not in config C of arXiv 2106.12423).
        conv_clamp: bound on the magnitude of activations.
        architecture: figure 7: "skip" sums the images of all resolutions; "resnet" (residual blocks) and "orig"
            (plain blocks) make the image from the last layer.
        activation: activation of the convolutions: "linear", "relu" or "lrelu".
        resample_filter: taps of the upsampling filter; they are normalized to sum to 1.

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
    architecture: str = added_field("skip")
    activation: str = added_field("lrelu")
    resample_filter: tuple[float, ...] = added_field(RESAMPLE_FILTER)

    def __post_init__(self) -> None:
        _use_python_numbers(self)
        self._check_variant()
        _check_images(self, min_resolution=8)
        _check_latents(self)
        _require_one_of("architecture", self.architecture, ARCHITECTURES)
        _require_one_of("activation", self.activation, ACTIVATIONS)
        object.__setattr__(self, "resample_filter", _checked_taps(self.resample_filter))

    @property
    def supports_transform(self) -> bool:
        """True if the input is Fourier features, which a transform can move."""
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
    """Architecture of the original StyleGAN's generator (arXiv 1812.04948), for published weights; unconditional.

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
        _use_python_numbers(self)
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
        channel_base, channel_max: the block at resolution r has min(channel_base / r, channel_max) channels; for images
            that are not square, r is the longer side.
        architecture: figure 7: "resnet", as published, has residual blocks; "orig" has plain blocks; "skip" has plain
            blocks, and adds features of the downsampled image at every resolution.
        mapping_layers: depth of the label mapping used for projection conditioning.
        mbstd_group_size: images per group of the minibatch standard deviation.
        mbstd_channels: statistics per group, each appended as one constant channel; 0 for none.
        conv_clamp: bound on the magnitude of activations.
        cmap_dim: width of the mapped label and of the features it is compared with; None for the channels of the last
            block.
        activation: activation of the blocks: "linear", "relu" or "lrelu".
        last_activation: activation of the layers at 4 x 4 pixels (for images that are not square, the smallest grid).
        resample_filter: taps of the downsampling filter; they are normalized to sum to 1.

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
    cmap_dim: int | None = added_field(None)
    activation: str = added_field("lrelu")
    last_activation: str = added_field("lrelu")
    resample_filter: tuple[float, ...] = added_field(RESAMPLE_FILTER)

    def __post_init__(self) -> None:
        _use_python_numbers(self)
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
