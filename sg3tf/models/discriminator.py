"""The StyleGAN2 discriminator (arXiv 1912.04958, section 4), conditioned on labels as in arXiv 2006.06676."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from sg3tf.models._tf_private import track_layers_in_lists
from sg3tf.models.configs import RESAMPLE_FILTER, DiscriminatorConfig, current_names, saved_fields
from sg3tf.models.layers import (
    EqualizedConv2D,
    EqualizedDense,
    MappingNetwork,
    downsample2d,
    is_low_precision,
    low_precision_policy,
    mapping_variant,
    reject_label,
    resample_taps,
)
from sg3tf.models.presets import discriminator_preset
from sg3tf.models.registration import register
from sg3tf.models.stock_export import StockExportModel
from sg3tf.utils.resolution import AnyResolution, image_shape, pyramid


@register("MinibatchStddev")
class MinibatchStddev(keras.layers.Layer):
    """Minibatch standard deviation (arXiv 1710.10196, section 3).

    Appends statistics of how much the images of a group differ, as constant channels.

    Image n belongs to group n modulo (N / group size). Under a distribution strategy, groups form within each replica.

    Args:
        group_size: images per group; a smaller batch forms a single group.
        num_channels: statistics per group, each over an equal share of the channels.

    Call: x [N, H, W, C] -> [N, H, W, C + num_channels]; N must be a multiple of the group size.

    Examples:
        >>> MinibatchStddev(group_size=4)(tf.ones([8, 4, 4, 5])).shape
        TensorShape([8, 4, 4, 6])
    """

    def __init__(self, group_size: int, num_channels: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.group_size = group_size
        self.num_channels = num_channels

    def call(self, x: tf.Tensor) -> tf.Tensor:
        batch = x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]
        _, height, width, channels = x.shape
        group = min(self.group_size, batch) if isinstance(batch, int) else tf.minimum(self.group_size, batch)
        problem = f"is not a multiple of mbstd_group_size={self.group_size}: change one of the two"
        if isinstance(batch, int):
            if batch and batch % group:
                raise ValueError(f"batch of {batch} images {problem}")
        else:
            with tf.control_dependencies([tf.debugging.assert_equal(batch % group, 0, f"batch of images {problem}")]):
                x = tf.identity(x)
        shape = [group, -1, height, width, self.num_channels, channels // self.num_channels]
        y = tf.reshape(tf.cast(x, tf.float32), shape)
        y = y - tf.reduce_mean(y, axis=0, keepdims=True)
        y = tf.sqrt(tf.reduce_mean(tf.square(y), axis=0) + 1e-8)
        y = tf.cast(tf.reduce_mean(y, axis=[1, 2, 4]), x.dtype)  # [N / group, num_channels]
        y = tf.tile(y[:, None, None, :], [group, height, width, 1])
        return tf.concat([x, y], axis=3)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        *outer, channels = input_shape
        return (*outer, channels and channels + self.num_channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "group_size": self.group_size, "num_channels": self.num_channels}


@register("DiscriminatorBlock")
class DiscriminatorBlock(keras.layers.Layer):
    """Residual block that halves the resolution: two 3x3 convolutions, and a 1x1 convolution as the skip connection.

    Args:
        in_channels: input channels.
        out_channels: output channels.
        residual: add the skip connection, with both branches at half variance. Without it, the block is the two
            convolutions at full variance.
        clamp: bound on the magnitude of activations, or None; or (conv0, conv1, skip), each a bound or None.
        activation: "linear", "relu" or "lrelu".
        resample_filter: taps of the downsampling filter; they are normalized to sum to 1.

    Call: x [N, H, W, in_channels] -> [N, H / 2, W / 2, out_channels].

    Examples:
        >>> DiscriminatorBlock(3, 5)(tf.ones([2, 8, 8, 3])).shape
        TensorShape([2, 4, 4, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        residual: bool = True,
        clamp: float | Sequence[float | None] | None = 256.0,
        activation: str = "lrelu",
        resample_filter: Sequence[float] = RESAMPLE_FILTER,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.residual = residual
        self.clamp = clamp
        self.activation = activation
        self.resample_filter = tuple(resample_filter)
        bounds = clamp if isinstance(clamp, Sequence) else (clamp, clamp, None)
        gain = 0.5**0.5 if residual else 1.0
        down: dict[str, Any] = {"down": 2, "gain": gain, "resample_filter": resample_filter, "dtype": self.dtype_policy}
        self.conv0 = EqualizedConv2D(in_channels, 3, activation, clamp=bounds[0], dtype=self.dtype_policy, name="conv0")
        self.conv1 = EqualizedConv2D(out_channels, 3, activation, clamp=bounds[1], name="conv1", **down)
        self.skip = None
        if residual:
            self.skip = EqualizedConv2D(out_channels, 1, use_bias=False, clamp=bounds[2], name="skip", **down)

    def build(self, input_shape: Any = None) -> None:
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: self.in_channels})
        for layer in filter(None, (self.conv0, self.conv1, self.skip)):
            layer.build((None, None, None, self.in_channels))
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = self.conv1(self.conv0(x))
        return y if self.skip is None else self.skip(x) + y

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return self.conv1.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        names = ("in_channels", "out_channels", "residual", "clamp", "activation", "resample_filter")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register("Discriminator")
class Discriminator(StockExportModel):
    """The discriminator. It maps images to logits, which are high for real images.

    Its logits depend on the other images of a batch, whose size must be a multiple of `mbstd_group_size`, or smaller.

    Args:
        config: architecture; a DiscriminatorConfig, or its dictionary from `get_config`.
        dtype: "float32", or "mixed_bfloat16" or "mixed_float16" to compute in 16 bits in the blocks of the four highest
            resolutions (from 8 x 8 up) and in float32 in the others (docs/adr/0010).

    Raises:
        ConfigError: unsupported dtype.

    Examples:
        >>> D = Discriminator.from_preset("stylegan3-t", resolution=16, channel_base=64, channel_max=4)
        >>> D(tf.zeros([4, 16, 16, 3])).shape
        TensorShape([4, 1])
    """

    def __init__(self, config: DiscriminatorConfig | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.config = c = config if isinstance(config, DiscriminatorConfig) else DiscriminatorConfig(**config)
        policy = low_precision_policy(self.dtype_policy)
        *_, first = sizes = pyramid(c.resolution)
        self.last_size = sizes[0]
        self.fromrgb = EqualizedConv2D(
            c.channels(first.longer),
            1,
            c.activation,
            clamp=c.clamp(f"b{first.longer}.fromrgb", c.conv_clamp),
            dtype=policy,
            name="fromrgb",
        )
        self.blocks, self.skip_fromrgbs = [], []
        for size in sizes[:0:-1]:
            resolution = size.longer
            name, channels = f"b{resolution}", (c.channels(resolution), c.channels(resolution // 2))
            dtype = policy if is_low_precision(resolution, first.longer) else "float32"
            usual = {"conv0": c.conv_clamp, "conv1": c.conv_clamp, "skip": None}
            clamps = [c.clamp(f"{name}.{layer}", clamp) for layer, clamp in usual.items()]
            options: dict[str, Any] = {"dtype": dtype, "name": name, "resample_filter": c.resample_filter}
            self.blocks.append(
                DiscriminatorBlock(*channels, c.architecture == "resnet", clamps, c.activation, **options)
            )
            if c.architecture == "skip":
                self.skip_fromrgbs.append(self._skip_fromrgb(resolution // 2))
        last = c.channels(self.last_size.longer)
        self.stddev = None
        if c.mbstd_channels:
            self.stddev = MinibatchStddev(c.mbstd_group_size, c.mbstd_channels, dtype="float32", name="stddev")
        clamp = c.clamp(f"b{self.last_size.longer}.conv", c.conv_clamp)
        self.conv = EqualizedConv2D(last, 3, c.last_activation, clamp=clamp, dtype="float32", name="conv")
        self.fc = EqualizedDense(last, c.last_activation, dtype="float32", name="fc")
        width = c.cmap_dim or last
        self.out = EqualizedDense(width if c.label_dim else 1, dtype="float32", name="out")
        parts = [(block, part) for block in self.blocks for part in (block.conv0, block.conv1, block.skip) if part]
        layers = [f"b{first.longer}.fromrgb", *(layer.name for layer in self.skip_fromrgbs)]
        layers += [f"{block.name}.{part.name}" for block, part in parts]
        c.check_clamped_layers([*layers, f"b{self.last_size.longer}.conv"])
        self.mapping_network = None
        if c.label_dim:
            self.mapping_network = MappingNetwork(
                0, c.label_dim, width, c.mapping_layers, **mapping_variant(c), dtype="float32", name="mapping"
            )
        track_layers_in_lists(self)
        self.build()

    def _skip_fromrgb(self, resolution: int) -> EqualizedConv2D:
        """Create the layer for features of the image at `resolution`, for architecture "skip"; in float32."""
        c, name = self.config, f"b{resolution}.fromrgb"
        is_last = resolution == self.last_size.longer
        return EqualizedConv2D(
            c.channels(resolution),
            1,
            c.last_activation if is_last else c.activation,
            clamp=c.clamp(name, None if is_last else c.conv_clamp),
            dtype="float32",
            name=name,
        )

    @classmethod
    def from_preset(
        cls,
        preset: str,
        resolution: AnyResolution,
        *,
        dtype: str | None = None,
        name: str | None = None,
        **overrides: Any,
    ) -> Discriminator:
        """Build the discriminator for generator `preset`, with random weights.

        Args:
            preset: "stylegan3-t", "stylegan3-r", "stylegan2", or an ablation, "stylegan3-a" to "stylegan3-h".
            resolution: side of the image, a power of two; or (width, height) or "512x256".
            dtype, name: arguments of the class.
            **overrides: any field of DiscriminatorConfig.

        Raises:
            ConfigError: invalid argument; the message gives its value and the remedy.
        """
        return cls(discriminator_preset(preset, resolution, **overrides), dtype=dtype, name=name)

    def build(self, input_shape: Any = None) -> None:
        c = self.config
        last = c.channels(self.last_size.longer)
        self.fromrgb.build((None, None, None, c.image_channels))
        for block in self.blocks:
            block.build()
        for layer in self.skip_fromrgbs:
            layer.build((None, None, None, c.image_channels))
        self.conv.build((None, None, None, last + c.mbstd_channels))
        self.fc.build((None, last * self.last_size.pixels))
        self.out.build((None, last))
        if self.mapping_network is not None:
            self.mapping_network.build()
        self.built = True

    def input_signature(self) -> Any:
        images = keras.InputSpec("float32", (None, *image_shape(self.config.resolution, self.config.image_channels)))
        if not self.config.label_dim:
            return images
        return {"images": images, "label": keras.InputSpec("float32", (None, self.config.label_dim))}

    def call(self, images: Any, label: tf.Tensor | None = None) -> tf.Tensor:
        """Compute the logits of images.

        Args:
            images: float [N, H, W, image_channels] in [-1, 1]; or {"images": images, "label": label}, for `predict`.
            label: float [N, label_dim], for a conditional model.

        Returns:
            float32 [N, 1] logits.

        Raises:
            ValueError: malformed inputs, an empty batch, or one that is not a multiple of `mbstd_group_size`.
        """
        if isinstance(images, (list, tuple)):
            given = type(images).__name__
            raise ValueError(f'images is a {given}: give images, or {{"images": images, "label": label}}')
        if isinstance(images, dict):
            if set(images) - {"label"} != {"images"}:
                raise ValueError(f"images has the keys {', '.join(map(str, images))}: give images and label")
            images, label = images["images"], images.get("label", label)
        c = self.config
        expected = image_shape(c.resolution, c.image_channels)
        if images.shape.rank != 4 or images.shape[0] == 0 or not images.shape[1:].is_compatible_with(expected):
            raise ValueError(f"images of shape {images.shape}: give [N, {', '.join(map(str, expected))}], N at least 1")
        if not images.dtype.is_floating:
            raise ValueError(f"images of type {images.dtype.name}: give floats in [-1, 1], as x / 127.5 - 1")
        x = tf.cast(self.block_outputs(images)[-1], tf.float32)
        x = self.conv(x if self.stddev is None else self.stddev(x))
        x = self.out(self.fc(tf.reshape(x, [-1, self.fc.kernel.shape[0]])))
        if self.mapping_network is None:
            reject_label(label)
            return x
        target = self.mapping_network(label=label)
        return tf.reduce_sum(x * target, axis=1, keepdims=True) / target.shape[1] ** 0.5

    def block_outputs(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Compute the features [N, H, W, C] after every block, from half the resolution down to the smallest grid."""
        x, found = self.fromrgb(images), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if self.skip_fromrgbs:
                images = downsample2d(tf.cast(images, tf.float32), resample_taps(self.config.resample_filter))
                x = tf.cast(x, tf.float32) + self.skip_fromrgbs[index](images)
            found.append(x)
        return found

    def get_config(self) -> dict[str, Any]:
        return saved_fields(self.config, super().get_config())

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Discriminator:
        return cls(**{**config, "config": current_names(config["config"])})
