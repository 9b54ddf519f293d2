"""Layers and functions shared by the network families."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from sg3tf.models._tf_private import track_layers_in_lists
from sg3tf.models.configs import PRECISIONS, RESAMPLE_FILTER, ConfigError, VariantFields, current_names
from sg3tf.models.latent_ops import stack_matrix
from sg3tf.models.layer_plan import LOW_PRECISION_RESOLUTIONS
from sg3tf.models.registration import register
from sg3tf.models.seeded_normal import standard_normal
from sg3tf.ops import filtered_lrelu, scale_channels, sum_pixels, upfirdn2d
from sg3tf.ops.backend import select_backend, selects_cpu_kernel
from sg3tf.ops.conv3x3 import conv3x3, has_fast_conv3x3, transposed_kernel
from sg3tf.ops.tensors import with_shape_of
from sg3tf.utils.resolution import Resolution, image_shape, size_of, to_resolution

# --- Mixed precision (arXiv 2006.06676, appendix D) -------------------------------------------------------------------

# Weights are float32; activations at the highest resolutions are 16-bit. Sums over many pixels are float32 too:
# TensorFlow sums the gradients of broadcast factors and biases in their own dtype, and summing 65536 positive numbers
# in float16 yields a quarter of the true sum (docs/adr/0010).

POLICIES = tuple(PRECISIONS.values())
MIN_LOW_PRECISION_RESOLUTION = 8


def low_precision_policy(policy: keras.DTypePolicy) -> keras.DTypePolicy:
    """Check a model's policy, and return it for its high-resolution layers.

    Raises:
        ConfigError: its variables would not be float32.
    """
    if policy.name not in POLICIES:
        mixed = f"mixed_{policy.name}"
        remedy = f"{mixed!r}" if mixed in POLICIES else f"one of {', '.join(map(repr, POLICIES))}"
        raise ConfigError(f"dtype={policy.name!r}: weights are always float32; use {remedy}")
    return policy


def is_low_precision(resolution: int, image_resolution: int) -> bool:
    """Return True if a block at `resolution` computes in 16 bits in a network for images of `image_resolution`."""
    return resolution >= max(image_resolution >> (LOW_PRECISION_RESOLUTIONS - 1), MIN_LOW_PRECISION_RESOLUTION)


def conv2d(x: tf.Tensor, kernel: tf.Tensor, stride: int = 1, padding: str = "VALID") -> tf.Tensor:
    """Convolve x [N, H, W, in] with kernel float32 [K, K, in, out], which is cast to the dtype of x."""
    kernel = tf.cast(kernel, x.dtype)
    if stride == 1 and has_fast_conv3x3(x, kernel):
        return conv3x3(x, kernel, pad=1 if padding == "SAME" else 0)
    if x.dtype != tf.float16 or not converts_float16():
        return tf.nn.conv2d(x, kernel, stride, padding)
    wide = tf.nn.conv2d(tf.cast(x, tf.float32), tf.cast(kernel, tf.float32), stride, padding)
    return tf.cast(wide, x.dtype)


def converts_float16() -> bool:
    """Return True on CPUs, where the gradients of float16 convolutions are 15 times slower and summed in float16."""
    return not tf.config.get_visible_devices("GPU")


def add_bias(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Add a bias float32 [C] to x [N, H, W, C]. The result has the dtype of x, and gradients of any order."""
    if x.dtype.size >= 4:
        return x + bias

    impl = select_backend(None)

    @tf.custom_gradient
    def add(x: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tuple[tf.Tensor, tf.Tensor]]]:
        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return dy, tf.reduce_sum(sum_pixels(with_shape_of(x, dy), impl=impl), axis=0)

        return x + tf.cast(bias, x.dtype), gradient

    return add(x, tf.convert_to_tensor(bias))


# --- Layers with equalized learning rate (arXiv 1710.10196, section 4.1) ----------------------------------------------

LRELU_SLOPE = 0.2
LRELU_GAIN = 2**0.5
#: Gains that roughly preserve the variance of a normally distributed input.
ACTIVATION_GAINS = {"linear": 1.0, "relu": 2**0.5, "lrelu": LRELU_GAIN}


def check_activation(activation: str) -> str:
    """Return `activation` if `activate` supports it.

    Raises:
        ValueError: unknown activation.
    """
    if activation not in ACTIVATION_GAINS:
        raise ValueError(f"activation={activation!r}: use {', '.join(map(repr, ACTIVATION_GAINS))}")
    return activation


def activate(x: tf.Tensor, activation: str) -> tf.Tensor:
    """Apply an activation without its gain, which is ACTIVATION_GAINS[activation]."""
    if activation == "lrelu":
        return tf.nn.leaky_relu(x, LRELU_SLOPE)
    return tf.nn.relu(x) if activation == "relu" else x


def add_bias_and_activate(
    x: tf.Tensor, bias: tf.Tensor | None, activation: str, gain: float = 1.0, clamp: float | None = None
) -> tf.Tensor:
    """Add a bias float32 [C] to x [N, H, W, C], and apply an activation with its gain, another gain, and a clamp.

    Args:
        x: [N, H, W, C].
        bias: float32 [C], or None.
        activation: a key of ACTIVATION_GAINS.
        gain: factor on the result; it scales the clamp, too.
        clamp: bound on the magnitude before this gain, or None.
    """
    bound = None if clamp is None else clamp * gain
    gain *= ACTIVATION_GAINS[activation]
    if activation == "lrelu":
        return filtered_lrelu(x, None, None, bias, gain=gain, slope=LRELU_SLOPE, clamp=bound)
    if bias is not None:
        x = add_bias(x, bias)
    x = activate(x, activation)
    if gain != 1:
        x *= gain
    return x if bound is None else tf.clip_by_value(x, -bound, bound)


@register("Dense")
class EqualizedDense(keras.layers.Layer):
    """Dense layer y = act(x @ kernel * lr_multiplier / sqrt(fan_in) + bias * lr_multiplier).

    Weights are stored with unit variance and scaled when used, so that one learning rate fits all layers;
    `lr_multiplier` slows the layer down without changing its function.

    Args:
        units: output size.
        activation: "linear", "relu" (gain sqrt 2) or "lrelu" (slope 0.2, gain sqrt 2).
        lr_multiplier: factor on the effective learning rate.
        kernel_scale: standard deviation of the initial weights; with 0, the initial output is the bias.
        bias_init: initial bias, a number or [units].

    Call: x [..., fan_in] -> [..., units].

    Examples:
        >>> EqualizedDense(3, "lrelu")(tf.ones([2, 5])).shape
        TensorShape([2, 3])
    """

    def __init__(
        self,
        units: int,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        kernel_scale: float = 1.0,
        bias_init: float | tuple[float, ...] = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.activation = check_activation(activation)
        self.lr_multiplier = lr_multiplier
        self.kernel_scale = kernel_scale
        self.bias_init = bias_init

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        fan_in = input_shape[-1]
        self.input_spec = keras.layers.InputSpec(axes={-1: fan_in})
        stddev = self.kernel_scale / self.lr_multiplier
        self.kernel = self.add_weight(
            shape=(fan_in, self.units),
            initializer=keras.initializers.RandomNormal(0.0, stddev),
            autocast=False,
            name="kernel",
        )
        # In NumPy: Keras may call `build` in a graph of its own, and the initializer outside of it.
        start = np.broadcast_to(np.array(self.bias_init, np.float32) / np.float32(self.lr_multiplier), [self.units])
        self.bias = self.add_weight(
            shape=(self.units,),
            initializer=lambda shape, dtype=None: tf.cast(start, dtype),
            autocast=False,
            name="bias",
        )
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if not x.dtype.is_floating:
            x = tf.cast(x, self.compute_dtype)
        scale = self.lr_multiplier / self.kernel.shape[0] ** 0.5
        y = tf.matmul(x, tf.cast(self.kernel * scale, x.dtype))  # both scaled in float32
        y += tf.cast(self.bias * self.lr_multiplier, y.dtype)
        if self.activation != "linear":
            y = activate(y, self.activation) * ACTIVATION_GAINS[self.activation]
        return y

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation,
            "lr_multiplier": self.lr_multiplier,
            "kernel_scale": self.kernel_scale,
            "bias_init": self.bias_init,
        }


def resample_taps(resample_filter: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return filter taps normalized to sum to 1, float64 [K]."""
    taps = np.array(resample_filter, np.float64)
    return taps / taps.sum()


def upsample2d(x: tf.Tensor, taps: np.ndarray[Any, np.dtype[np.float64]]) -> tf.Tensor:
    """Double the resolution of x [N, H, W, C] with a centered filter."""
    before, after = (len(taps) + 1) // 2, (len(taps) - 2) // 2
    return upfirdn2d(x, taps, up=2, pad=(before, after, before, after), gain=4)


def downsample2d(x: tf.Tensor, taps: np.ndarray[Any, np.dtype[np.float64]], pad: int = 0, down: int = 2) -> tf.Tensor:
    """Filter x [N, H, W, C], padded by `pad` extra pixels per side, and keep every `down`-th pixel.

    For every `down`, the filter is centered as for halving the resolution.
    """
    before, after = pad + (len(taps) - 1) // 2, pad + (len(taps) - 2) // 2
    return upfirdn2d(x, taps, down=down, pad=(before, after, before, after))


@register("Conv")
class EqualizedConv2D(keras.layers.Layer):
    """Convolution with equalized learning rate (weights scaled by 1 / sqrt(fan_in)), bias, activation, gain and clamp.

    Args:
        filters: output channels.
        kernel_size: odd kernel size; padding is "same", before downsampling.
        activation: "linear", "relu" (gain sqrt 2) or "lrelu" (slope 0.2, gain sqrt 2).
        use_bias: add a per-channel bias.
        down: 1, or 2 to filter and keep every other pixel.
        gain: factor on the result; it scales the clamp, too.
        clamp: bound on the magnitude before the gain, or None.
        resample_filter: taps of the downsampling filter; they are normalized to sum to 1.

    Call: x [N, H, W, in] -> [N, H / down, W / down, filters].

    Examples:
        >>> EqualizedConv2D(3, kernel_size=3, down=2)(tf.ones([2, 8, 8, 5])).shape
        TensorShape([2, 4, 4, 3])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        activation: str = "linear",
        use_bias: bool = True,
        down: int = 1,
        gain: float = 1.0,
        clamp: float | None = None,
        resample_filter: Sequence[float] = RESAMPLE_FILTER,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if down not in (1, 2):
            raise ValueError(f"down={down!r}: use 1 or 2")
        self.filters = filters
        self.kernel_size = kernel_size
        self.activation = check_activation(activation)
        self.use_bias = use_bias
        self.down = down
        self.gain = gain
        self.clamp = clamp
        self.resample_filter = tuple(resample_filter)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: input_shape[-1]})
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, input_shape[-1], self.filters),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
            autocast=False,
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", autocast=False, name="bias")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        size, _, fan_in, _ = self.kernel.shape
        kernel = self.kernel * (fan_in * size**2) ** -0.5  # in float32
        pad = (size - 1) // 2
        if self.down == 2:  # a 1x1 convolution needs only every other pixel
            x = downsample2d(x, resample_taps(self.resample_filter), pad, down=2 if size == 1 else 1)
            y = conv2d(x, kernel, 1 if size == 1 else 2)
        else:
            y = conv2d(x, kernel, padding="SAME")
        return add_bias_and_activate(y, self.bias, self.activation, self.gain, self.clamp)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        return batch, height and height // self.down, width and width // self.down, self.filters

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "kernel_size", "activation", "use_bias", "down", "gain", "clamp", "resample_filter")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


# --- Modulated convolution (arXiv 1912.04958, section 2.2) ------------------------------------------------------------


class Demodulation(NamedTuple):
    """Factors of a demodulated convolution: scale the input, convolve, scale the output.

    Attributes:
        styles: input channel scales, float32 [N, in].
        kernel: float32 [K, K, in, out].
        output_scale: output channel scales, float32 [N, out].

    Examples:
        >>> styles, kernel, output_scale = demodulation(tf.ones([3, 3, 5, 4]), tf.ones([2, 5]), epsilon=1e-8)
        >>> styles.shape, kernel.shape, output_scale.shape
        (TensorShape([2, 5]), TensorShape([3, 3, 5, 4]), TensorShape([2, 4]))
    """

    styles: tf.Tensor
    kernel: tf.Tensor
    output_scale: tf.Tensor


def demodulation(
    kernel: tf.Tensor, styles: tf.Tensor, epsilon: float, axis: int | None = None, style_epsilon: float = 0.0
) -> Demodulation:
    """Normalize kernel * styles, for each image, to a sum of squares of 1 per output channel.

    Args:
        kernel: float32 [K, K, in, out].
        styles: float32 [N, in].
        epsilon: added to that sum of squares, of the pre-normalized kernel.
        axis: normalize styles to unit mean square per image (1) or over the whole batch (None).
        style_epsilon: added to the mean square of the styles.
    """
    # Both scales cancel in the result; they keep intermediate values within the range of 16-bit types. tf.math.rsqrt
    # is avoided: on some processors its low bits depend on an element's position in the tensor, and so on the batch.
    squares = tf.reduce_sum(tf.square(kernel), axis=[0, 1])  # [in, out]
    total = tf.reduce_sum(squares, axis=0)
    mean_square = tf.reduce_mean(tf.square(styles), axis=axis, keepdims=axis is not None)
    styles = styles / tf.sqrt(mean_square + style_epsilon if style_epsilon else mean_square)
    energy = tf.matmul(tf.square(styles), squares / total)
    return Demodulation(styles, kernel / tf.sqrt(total), 1 / tf.sqrt(energy + epsilon))


def full_conv(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolve with 'full' zero padding: [N, H, W, in] -> [N, H + K - 1, W + K - 1, out].

    Gradients: of any order.
    """
    if kernel.shape[0] == 1:
        return conv2d(x, kernel)
    kernel = tf.cast(kernel, x.dtype)
    if has_fast_conv3x3(x, kernel):
        return conv3x3(x, kernel, pad=2)
    if x.dtype != tf.float16 or not converts_float16():
        return _full_conv(x, kernel)
    return tf.cast(_full_conv(tf.cast(x, tf.float32), tf.cast(kernel, tf.float32)), x.dtype)


@tf.custom_gradient
def _full_conv(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Use the gradients of the transpose, a VALID convolution from dy's size to x's: for padded images, XLA picks
        # GPU kernels that are a hundred times slower, and CPUs are slower too (docs/adr/0023).
        dx = tf.nn.conv2d(dy, transposed_kernel(kernel), 1, "VALID")
        size, _, fan_in, fan_out = kernel.shape
        by_transposed = tf.raw_ops.Conv2DBackpropFilter(
            input=dy, filter_sizes=[size, size, fan_out, fan_in], out_backprop=x, strides=[1] * 4, padding="VALID"
        )
        return dx, transposed_kernel(by_transposed)

    pad = kernel.shape[0] - 1
    # Pad separately: with padding inside conv2d, its gradients take a third longer (docs/adr/0009).
    padded = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    return tf.nn.conv2d(padded, kernel, 1, "VALID"), gradient


def upsampling_conv(x: tf.Tensor, kernel: tf.Tensor, up: int) -> tf.Tensor:
    """Insert zeros between pixels and convolve (not correlate) with 'full' zero padding.

    Args:
        x: [N, H, W, in].
        kernel: float32 [K, K, in, out], cast to the dtype of x.
        up: upsampling factor.

    Returns:
        [N, (H - 1) * up + K, (W - 1) * up + K, out]. Multiply by up**2 to restore the magnitude of x.
    """
    size, _, _, filters = kernel.shape
    height, width = ((side - 1) * up + size for side in x.shape[1:3])
    kernel = tf.cast(tf.transpose(kernel, [0, 1, 3, 2]), x.dtype)
    return tf.nn.conv2d_transpose(x, kernel, tf.stack([tf.shape(x)[0], height, width, filters]), up, "VALID")


def modulated_conv(
    x: tf.Tensor,
    kernel: tf.Tensor,
    styles: tf.Tensor,
    *,
    demodulate: bool,
    input_gain: tf.Tensor | None = None,
    convolve: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = full_conv,
) -> tf.Tensor:
    """Convolve with kernel * styles, normalized per output channel if `demodulate`.

    It scales input and output channels instead of the weights. The function is the same, but needs neither a kernel
    per image nor a grouped convolution. 1x1 kernels on CPUs are the exception: one matrix product per image.

    Args:
        x: [N, H, W, in].
        kernel: float32 [K, K, in, out].
        styles: float32 [N, in].
        demodulate: give every output channel unit variance for unit-variance input.
        input_gain: float32 scalar factor on the result, which demodulation ignores.
        convolve: (x, kernel) -> convolution; `full_conv` by default.

    Returns:
        The shape that `convolve` returns, [N, H + K - 1, W + K - 1, out] by default, in the dtype of x.
    """
    output_scale = None
    if demodulate:
        # The published 1e-8 assumes a mean square of 1; here, the sum of squares is 1.
        styles, kernel, output_scale = demodulation(kernel, styles, epsilon=1e-8 / math.prod(kernel.shape[:3]))
    input_scale = styles if input_gain is None else styles * input_gain
    if convolve is full_conv and has_fast_conv3x3(x, kernel):
        return conv3x3(x, kernel, pad=2, in_scale=input_scale, out_scale=output_scale)
    if kernel.shape[0] == 1 and convolve is full_conv and x.dtype != tf.float16 and selects_cpu_kernel(None):
        return _kernel_per_image(x, kernel, input_scale, output_scale)
    y = convolve(scale_channels(x, input_scale), kernel)
    return y if output_scale is None else scale_channels(y, output_scale)


def _kernel_per_image(
    x: tf.Tensor, kernel: tf.Tensor, input_scale: tf.Tensor, output_scale: tf.Tensor | None
) -> tf.Tensor:
    """Apply a 1x1 convolution with scaled weights: on CPUs, scaling channels takes longer (docs/adr/0042)."""
    _, height, width, fan_in = x.shape
    kernels = input_scale[:, :, None] * kernel[0, 0]
    if output_scale is not None:
        kernels *= output_scale[:, None, :]
    y = tf.matmul(tf.reshape(x, [-1, height * width, fan_in]), tf.cast(kernels, x.dtype))
    return tf.reshape(y, [-1, height, width, kernel.shape[3]])


# --- Mapping network (arXiv 1812.04948, section 2) --------------------------------------------------------------------

W_AVG_BETA = 0.998


def normalize_second_moment(x: tf.Tensor) -> tf.Tensor:
    """Scale every row of x [N, D] to unit mean square."""
    return x / tf.sqrt(tf.reduce_mean(tf.square(x), axis=1, keepdims=True) + 1e-8)


@register("Mapping")
class MappingNetwork(keras.layers.Layer):
    """Mapping from latents and labels to w: dense layers on the concatenated, normalized inputs.

    With z_dim 0 it maps only labels, to condition the discriminator; with label_dim 0, only latents.

    Args:
        z_dim, label_dim: input sizes; not both 0.
        w_dim: output size.
        num_layers: number of dense layers after the label embedding.
        track_w_avg: keep a running mean of w, for truncation.
        activation: activation of the dense layers.
        lr_multiplier: learning rate multiplier of the dense layers.
        features: size of the hidden layers; None for w_dim.
        embed_features: size of the embedded label; None for w_dim.

    Examples:
        >>> MappingNetwork(z_dim=4, label_dim=3, w_dim=5, num_layers=2)(tf.ones([2, 4]), tf.eye(3)[:2]).shape
        TensorShape([2, 5])
    """

    def __init__(
        self,
        z_dim: int,
        label_dim: int,
        w_dim: int,
        num_layers: int,
        track_w_avg: bool = False,
        activation: str = "lrelu",
        lr_multiplier: float = 0.01,
        features: int | None = None,
        embed_features: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.z_dim = z_dim
        self.label_dim = label_dim
        self.w_dim = w_dim
        self.num_layers = num_layers
        self.track_w_avg = track_w_avg
        self.activation = activation
        self.lr_multiplier = lr_multiplier
        self.features = features
        self.embed_features = embed_features
        self.embed = EqualizedDense(embed_features or w_dim, name="embed", dtype="float32") if label_dim else None
        self.dense = [
            EqualizedDense(size, activation, lr_multiplier=lr_multiplier, name=f"fc{index}", dtype="float32")
            for index, size in enumerate([features or w_dim] * (num_layers - 1) + [w_dim])
        ]
        track_layers_in_lists(self)

    def build(self, input_shape: Any = None) -> None:
        size = self.z_dim
        if self.embed is not None:
            self.embed.build((None, self.label_dim))
            size += self.embed.units
        for layer in self.dense:
            layer.build((None, size))
            size = layer.units
        self.w_avg = None
        if self.track_w_avg:
            self.w_avg = self.add_weight(
                shape=(self.w_dim,),
                initializer="zeros",
                trainable=False,
                dtype="float32",
                aggregation="mean",
                autocast=False,
                name="w_avg",
            )
        self.built = True

    def call(self, z: tf.Tensor | None = None, label: tf.Tensor | None = None, update_emas: bool = False) -> tf.Tensor:
        """Map z float [N, z_dim] and label float [N, label_dim] to w float32 [N, w_dim]."""
        parts = []
        if self.z_dim:
            z = _check_input("z", z, self.z_dim)
            parts.append(normalize_second_moment(z))
        if self.embed is not None:
            label = _check_input("label", label, self.label_dim)
            if parts and z is not None and not z.shape[:1].is_compatible_with(label.shape[:1]):
                raise ValueError(f"z of shape {z.shape}, label of shape {label.shape}: give a label for each z")
            parts.append(normalize_second_moment(self.embed(label)))
        else:
            reject_label(label)
        w = tf.concat(parts, axis=1)
        for layer in self.dense:
            w = layer(w)
        if update_emas and self.w_avg is not None:
            mean = tf.reduce_mean(tf.stop_gradient(w), axis=0)
            self.w_avg.assign(mean + W_AVG_BETA * (self.w_avg - mean))
        return w

    def get_config(self) -> dict[str, Any]:
        sizes = ("z_dim", "label_dim", "w_dim", "num_layers", "track_w_avg")
        names = (*sizes, "activation", "lr_multiplier", "features", "embed_features")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MappingNetwork:
        return cls(**current_names(config))


def mapping_variant(config: Any) -> dict[str, Any]:
    """Return the arguments of MappingNetwork from a configuration's VariantFields; {} for StyleGAN1Config."""
    if not isinstance(config, VariantFields):
        return {}
    return {
        "activation": config.mapping_activation,
        "lr_multiplier": config.mapping_lr_multiplier,
        "features": config.mapping_features,
        "embed_features": config.embed_features,
    }


def reject_label(label: tf.Tensor | None) -> None:
    """Raise ValueError if a label is given, with any numbers, to an unconditional network."""
    if label is None:
        return
    shape = tf.convert_to_tensor(label).shape
    if shape.rank == 0 or shape[-1] != 0:
        raise ValueError(f"label of shape {shape} is given: this network has no labels; leave it out")


def _check_input(name: str, value: tf.Tensor | None, size: int) -> tf.Tensor:
    if value is None:
        raise ValueError(f"{name} is missing: this model needs {name} [N, {size}]")
    value = tf.cast(tf.convert_to_tensor(value), tf.float32)
    if value.shape.rank != 2 or value.shape[1] not in (None, size):
        raise ValueError(f"{name} of shape {value.shape}: give [N, {size}]")
    return value


# --- Fourier features (arXiv 2106.12423, section 3.1 and appendix F) --------------------------------------------------

MIN_TRANSITION = 1e-3  # relative to the bandwidth


@register("FourierInput")
class FourierInput(keras.layers.Layer):
    """Sine waves sampled on a canvas, with an optional transform and, if `transformed`, one predicted from w.

    Args:
        channels: number of waves.
        size: canvas side in samples, or its (width, height).
        sampling_rate: samples per image width; the canvas is size / sampling_rate image widths wide and high.
        bandwidth: highest frequency, in cycles per image width.
        transformed: rotate and translate the waves by w; otherwise, only the batch size of w is used.

    Non-trainable weights: `freqs` [channels, 2] in (x, y) cycles per image width, `phases` [channels] in turns.
    The layer always computes in float32, whose precision products of frequencies and positions need.

    Examples:
        >>> FourierInput(channels=6, size=16, sampling_rate=8, bandwidth=2.0)(tf.ones([2, 7])).shape
        TensorShape([2, 16, 16, 6])
    """

    def __init__(
        self,
        channels: int,
        size: Resolution,
        sampling_rate: int,
        bandwidth: float,
        transformed: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.channels = channels
        self.size = to_resolution(size)
        self.sampling_rate = sampling_rate
        self.bandwidth = bandwidth
        self.transformed = transformed
        if transformed:
            self.affine = EqualizedDense(
                4, kernel_scale=0.0, bias_init=(1.0, 0.0, 0.0, 0.0), name="affine", dtype="float32"
            )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights from the shape of w, (batch, w_dim)."""
        if self.transformed:
            self.affine.build(tuple(input_shape))
        self.kernel = self.add_weight(
            shape=(self.channels, self.channels), initializer=keras.initializers.RandomNormal(0, 1), name="kernel"
        )
        self.freqs = self.add_weight(
            shape=(self.channels, 2), initializer=self._initial_frequencies, trainable=False, name="freqs"
        )
        self.phases = self.add_weight(
            shape=(self.channels,),
            initializer=keras.initializers.RandomUniform(-0.5, 0.5),
            trainable=False,
            name="phases",
        )
        self.transform = self.add_weight(
            shape=(3, 3), initializer=keras.initializers.Identity(), trainable=False, name="transform"
        )
        self.built = True

    def _initial_frequencies(self, shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        """Frequencies spread roughly evenly over a disk: normal vectors whose long tail is compressed."""
        # In a graph, Keras only computes shapes for a model that builds this layer in its first call. The state of
        # keras.random would be created there, without a value.
        draw = keras.random.normal if tf.executing_eagerly() else tf.random.normal
        freqs = draw(shape, dtype="float32")
        radius = tf.norm(freqs, axis=1, keepdims=True)
        return tf.cast(freqs / (radius * tf.exp(tf.square(radius)) ** 0.25) * self.bandwidth, dtype or "float32")

    def call(self, w: tf.Tensor, transform: tf.Tensor | None = None) -> tf.Tensor:
        """Compute the waves.

        Args:
            w: float32 [N, w_dim].
            transform: inverse transform of the image, [3, 3] or [N, 3, 3], in units of the image width; applied
                before the predicted one. None for the layer's own `transform` weight.

        Returns:
            float32 [N, H, W, channels] on the canvas.
        """
        freqs, phases = self._transformed_waves(w, self._matrices(transform))
        # Waves up to half the sampling rate need a transition band, because a rotation rounds.
        transition = max(self.sampling_rate / 2 - self.bandwidth, MIN_TRANSITION * self.bandwidth)
        amplitude = (tf.norm(freqs, axis=2) - self.bandwidth) / transition
        amplitude = tf.clip_by_value(1 - amplitude, 0.0, 1.0)

        # Expanding sin(2 pi (x fx + y fy + phase)) by the angle sum identity would lose precision.
        x, y = (tf.constant(self._centers(side), tf.float32) for side in size_of(self.size))
        along_x = x[None, None, :, None] * freqs[:, None, None, :, 0]
        along_y = y[None, :, None, None] * freqs[:, None, None, :, 1]
        angle = along_x + along_y + phases[:, None, None, :]
        waves = tf.sin(2 * np.pi * angle) * amplitude[:, None, None, :]
        return tf.tensordot(waves, self.kernel / self.channels**0.5, axes=1)

    def _centers(self, side: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Positions of `side` samples, centered on 0, in image widths."""
        return (np.arange(side) + 0.5 - side / 2) / self.sampling_rate

    def _matrices(self, transform: tf.Tensor | None) -> tf.Tensor:
        """Return the user's transform as [1 or N, 3, 3]."""
        matrix = tf.cast(tf.convert_to_tensor(self.transform if transform is None else transform), tf.float32)
        if matrix.shape.rank not in (2, 3) or matrix.shape[-2:] != (3, 3):
            raise ValueError(f"transform of shape {matrix.shape}: give [3, 3] or [N, 3, 3]")
        return matrix[None] if matrix.shape.rank == 2 else matrix

    def _transformed_waves(self, w: tf.Tensor, user: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Frequencies [N, channels, 2] and phases [N, channels] under Rotation @ Translation @ user transform."""
        if self.transformed:
            matrix = _learned_transform(self.affine(w)) @ user
        else:
            matrix = tf.broadcast_to(user, [tf.shape(w)[0], 3, 3])
        moved = tf.matmul(self.freqs, matrix[:, :2])  # not tf.einsum, which LiteRT lacks
        return moved[:, :, :2], self.phases + moved[:, :, 2]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[0], *image_shape(self.size, self.channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "size": self.size,
            "sampling_rate": self.sampling_rate,
            "bandwidth": self.bandwidth,
            "transformed": self.transformed,
        }


def _learned_transform(t: tf.Tensor) -> tf.Tensor:
    """Return Rotation @ Translation [N, 3, 3] from (cos, sin, tx, ty) [N, 4], divided by the norm of (cos, sin)."""
    t = t / tf.norm(t[:, :2], axis=1, keepdims=True)
    cos, sin, tx, ty = tf.unstack(t, axis=1)
    one, zero = tf.ones_like(cos), tf.zeros_like(cos)
    rotation = stack_matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])
    translation = stack_matrix([[one, zero, -tx], [zero, one, -ty], [zero, zero, one]])
    return rotation @ translation


# --- Constant input and noise (arXiv 1812.04948, section 2; 1912.04958, section 2) ------------------------------------

FIRST_RESOLUTION = 4


def repeat_const(const: keras.Variable, count: tf.Tensor) -> tf.Tensor:
    """Repeat a constant input [H, W, C] for `count` images: [count, H, W, C]."""
    return tf.repeat(tf.convert_to_tensor(const)[None], count, axis=0)


def layer_noises(layers: Sequence[Any], noise: tf.Tensor | str) -> list[tf.Tensor | None]:
    """Return the noise of every layer: [N or 1, H, W], or None.

    Args:
        layers: convolutions with `resolution` and `noise_const`.
        noise: "const", "none", or seeds int32 [N, 2].
    """
    if isinstance(noise, str):
        return [tf.convert_to_tensor(layer.noise_const)[None] if noise == "const" else None for layer in layers]
    # Each image has one random stream, which is split among the layers.
    sizes = [size_of(layer.resolution).pixels for layer in layers]
    parts = tf.split(standard_normal(tf.convert_to_tensor(noise), sum(sizes)), sizes, axis=1)
    return [
        tf.reshape(part, [-1, *image_shape(layer.resolution, 1)[:2]]) for part, layer in zip(parts, layers, strict=True)
    ]
