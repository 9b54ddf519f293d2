"""The alias-free generator, configs T and R (arXiv 2106.12423)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import keras
import tensorflow as tf

from sg3tf.models.base import BaseGenerator, Noise, register_generator
from sg3tf.models.configs import GeneratorConfig, current_names
from sg3tf.models.filters import low_pass
from sg3tf.models.layer_plan import LayerPlan, SynthesisPlan, plan_synthesis
from sg3tf.models.layers import (
    LRELU_GAIN,
    LRELU_SLOPE,
    EqualizedDense,
    FourierInput,
    low_precision_policy,
    modulated_conv,
)
from sg3tf.models.registration import register
from sg3tf.ops import filtered_lrelu, sum_pixels
from sg3tf.utils.resolution import image_shape


@register("SynthesisLayer")
class SynthesisLayer(keras.layers.Layer):
    """Modulated convolution, then a filtered leaky ReLU onto the next layer's grid (section 3.2 and figure 4b).

    Args:
        plan: geometry; a LayerPlan, or its dictionary from `get_config`.
        conv_clamp: bound on the magnitude of activations.
        magnitude_ema_beta: decay of `magnitude_ema`, per update.

    Examples:
        >>> plan = plan_synthesis(GeneratorConfig(resolution=16, channel_base=64, channel_max=4)).layers[0]
        >>> layer = SynthesisLayer(plan)
        >>> layer(tf.ones([2, plan.in_size, plan.in_size, plan.in_channels]), tf.ones([2, 7])).shape
        TensorShape([2, 36, 36, 4])
    """

    plan_class: ClassVar[type[LayerPlan]] = LayerPlan

    def __init__(
        self,
        plan: LayerPlan | dict[str, Any],
        conv_clamp: float = 256.0,
        magnitude_ema_beta: float = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # use x and w before any rounding
        self.plan = p = plan if isinstance(plan, LayerPlan) else self.plan_class(**plan)
        self.conv_clamp = conv_clamp
        self.magnitude_ema_beta = magnitude_ema_beta
        self.affine = EqualizedDense(p.in_channels, bias_init=1.0, name="affine", dtype="float32")
        self.up_filter = low_pass(p.up_taps, p.in_cutoff, p.in_half_width, p.temporary_rate)
        self.down_filter = low_pass(p.down_taps, p.out_cutoff, p.out_half_width, p.temporary_rate, p.use_radial_filters)

    def build(self, x_shape: Any, w_shape: tuple[int | None, ...]) -> None:
        """Create the weights from the shape of w, (batch, w_dim); the plan has the shape of x."""
        p = self.plan
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: p.in_channels})
        self.affine.build(tuple(w_shape))
        self.kernel = self.add_weight(
            shape=(p.conv_kernel, p.conv_kernel, p.in_channels, p.out_channels),
            initializer=keras.initializers.RandomNormal(0.0, 1.0),
            autocast=False,
            name="kernel",
        )
        self.bias = self.add_weight(shape=(p.out_channels,), initializer="zeros", autocast=False, name="bias")
        self.magnitude_ema = self.add_weight(
            shape=(),
            initializer="ones",
            trainable=False,
            dtype="float32",
            autocast=False,
            aggregation="mean",
            name="magnitude_ema",
        )
        self.built = True

    def call(self, x: tf.Tensor, w: tf.Tensor, update_emas: bool = False) -> tf.Tensor:
        """Convolve and activate.

        Args:
            x: [N, H, W, in_channels], any floating dtype; H and W are those of in_size.
            w: [N, w_dim].
            update_emas: update `magnitude_ema` with x.

        Returns:
            [N, H', W', out_channels] in the compute dtype of the layer's policy; styles are always float32.
        """
        p = self.plan
        if update_emas:
            x_constant = tf.stop_gradient(x)
            magnitude = tf.reduce_mean(sum_pixels(x_constant, x_constant)) / (x.shape[1] * x.shape[2])
            self.magnitude_ema.assign(magnitude + self.magnitude_ema_beta * (self.magnitude_ema - magnitude))
        styles = self.affine(tf.cast(w, tf.float32))
        if p.is_torgb:
            styles = styles / (p.in_channels * p.conv_kernel**2) ** 0.5
        return self._activate(self._convolve(tf.cast(x, self.compute_dtype), styles))

    def _convolve(self, x: tf.Tensor, styles: tf.Tensor, **options: Any) -> tf.Tensor:
        return modulated_conv(
            x,
            tf.convert_to_tensor(self.kernel),
            styles,
            demodulate=not self.plan.is_torgb,
            input_gain=1 / tf.sqrt(tf.convert_to_tensor(self.magnitude_ema)),
            **options,
        )

    def _activate(self, y: tf.Tensor) -> tf.Tensor:
        return self._filtered_lrelu(y, self.up_filter, self.plan.padding)

    def _filtered_lrelu(self, y: tf.Tensor, up_filter: Any, pad: tuple[int, int, int, int]) -> tf.Tensor:
        p = self.plan
        return filtered_lrelu(
            y,
            up_filter,
            self.down_filter,
            self.bias,
            up=p.up,
            down=p.down,
            pad=pad,
            gain=1.0 if p.is_torgb else LRELU_GAIN,
            slope=1.0 if p.is_torgb else LRELU_SLOPE,
            clamp=self.conv_clamp,
        )

    def compute_output_shape(self, x_shape: Any, w_shape: Any = None) -> tuple[int | None, ...]:
        return x_shape[0], *image_shape(self.plan.out_size, self.plan.out_channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "plan": dataclasses.asdict(self.plan),
            "conv_clamp": self.conv_clamp,
            "magnitude_ema_beta": self.magnitude_ema_beta,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SynthesisLayer:
        config = current_names(config)
        plan = current_names(config["plan"])
        for name, default in (("filtered", True), ("bilinear", False)):  # in older files; see AblationLayer
            if cls is SynthesisLayer and plan.get(name) is default:
                del plan[name]
        return cls(**{**config, "plan": plan})


@register_generator(GeneratorConfig)
@register("StyleGAN3Generator")
class StyleGAN3Generator(BaseGenerator):
    """The alias-free generator: Fourier features, then layers that filter before and after every nonlinearity.

    Args:
        config: architecture; a GeneratorConfig, or its dictionary from `get_config`.
        dtype: see BaseGenerator.

    `synthesis` accepts a transform. No layer adds noise.

    Examples:
        >>> from sg3tf.latents import transform_matrix
        >>> config = GeneratorConfig(resolution=16, channel_base=64, channel_max=4, z_dim=4, w_dim=4)
        >>> G = StyleGAN3Generator(config)
        >>> ws = G.mapping(tf.zeros([2, 4]), truncation_psi=0.7)
        >>> G.synthesis(ws, transform=transform_matrix(angle=0.1)).shape
        TensorShape([2, 16, 16, 3])
    """

    layer_class: ClassVar[type[SynthesisLayer]] = SynthesisLayer

    def _plan(self) -> SynthesisPlan:
        return plan_synthesis(self.config)

    def _create_synthesis(self) -> int:
        c, plan = self.config, self._plan()
        policy = low_precision_policy(self.dtype_policy)
        c.check_clamped_layers([layer.name for layer in plan.layers])
        self.fourier_input = FourierInput(**dataclasses.asdict(plan.input), name="input")
        self.synthesis_layers = [
            self.layer_class(
                layer,
                c.clamp(layer.name, c.conv_clamp),
                c.magnitude_ema_beta,
                dtype=policy if layer.low_precision else "float32",
                name=layer.name,
            )
            for layer in plan.layers
        ]
        return plan.num_ws

    def _build_synthesis(self) -> None:
        w_shape = (None, self.config.w_dim)
        self.fourier_input.build(w_shape)
        for layer in self.synthesis_layers:
            layer.build((None, *image_shape(layer.plan.in_size, layer.plan.in_channels)), w_shape)

    def _synthesize(self, ws: tf.Tensor, transform: tf.Tensor | None, noise: Noise, update_emas: bool) -> tf.Tensor:
        x = self.fourier_input(ws[:, 0], transform=transform)
        first = self.num_ws - len(self.synthesis_layers)  # 0 if the input uses no style vector
        for index, layer in enumerate(self.synthesis_layers, start=first):
            x = layer(x, ws[:, index], update_emas=update_emas)
        return tf.cast(x, tf.float32) * self.config.output_scale
