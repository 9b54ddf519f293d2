"""The alias-free generator and its layers (arXiv 2106.12423)."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, ClassVar

import keras
import tensorflow as tf

from sg3tf.models.configs import AnyGeneratorConfig, GeneratorConfig, generator_preset
from sg3tf.models.filters import bilinear, low_pass
from sg3tf.models.layer_plan import LayerPlan, plan_synthesis
from sg3tf.models.layers import (
    LRELU_GAIN,
    LRELU_SLOPE,
    EqualizedDense,
    FourierInput,
    MappingNetwork,
    low_precision_policy,
    modulated_conv,
)
from sg3tf.ops import filtered_lrelu, upfirdn2d

# ---------------------------------------------------------------------------------------------------------------------
# One layer of the alias-free synthesis network (arXiv 2106.12423, section 3.2 and figure 4b).
# ---------------------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("sg3tf")
class SynthesisLayer(keras.layers.Layer):
    """Modulated convolution, then filtered leaky ReLU onto the next layer's grid.

    Without filtering, the convolution upsamples, and the leaky ReLU works on the next layer's grid.

    Args:
        plan: geometry; a LayerPlan, or the dictionary that get_config makes of it.
        clamp: bound on the magnitude of activations.
        magnitude_decay: share that `magnitude_ema` keeps at every update.
    """

    def __init__(
        self, plan: LayerPlan | dict[str, Any], clamp: float = 256.0, magnitude_decay: float = 0.999, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # x is measured, and w used, before any rounding
        self.plan = p = plan if isinstance(plan, LayerPlan) else LayerPlan(**plan)
        self.clamp = clamp
        self.magnitude_decay = magnitude_decay
        self.affine = EqualizedDense(p.in_channels, bias_init=1.0, name="affine", dtype="float32")
        if p.bilinear:
            self.up_filter, self.down_filter = bilinear(p.up_taps), bilinear(p.down_taps)
        else:
            self.up_filter = low_pass(p.up_taps, p.in_cutoff, p.in_half_width, p.temporary_rate)
            self.down_filter = low_pass(p.down_taps, p.out_cutoff, p.out_half_width, p.temporary_rate, p.radial)

    def build(self, x_shape: Any, w_shape: tuple[int | None, ...]) -> None:
        """The shapes of x, which the plan knows already, and of w: (batch, w_dim)."""
        p = self.plan
        self.affine.build(tuple(w_shape))
        self.kernel = self.add_weight(
            shape=(p.kernel, p.kernel, p.in_channels, p.out_channels),
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
        """x [N, in_size, in_size, in_channels] and w [N, w_dim] to [N, out_size, out_size, out_channels].

        x may be of any floating type; the result has that of the layer's policy, and styles are float32.
        """
        p = self.plan
        if update_emas:
            magnitude = tf.reduce_mean(tf.square(tf.cast(tf.stop_gradient(x), tf.float32)))
            self.magnitude_ema.assign(magnitude + self.magnitude_decay * (self.magnitude_ema - magnitude))
        styles = self.affine(tf.cast(w, tf.float32))
        if p.is_torgb:
            styles = styles / (p.in_channels * p.kernel**2) ** 0.5
        y = modulated_conv(
            tf.cast(x, self.compute_dtype),
            tf.convert_to_tensor(self.kernel),
            styles,
            demodulate=not p.is_torgb,
            input_gain=tf.math.rsqrt(tf.convert_to_tensor(self.magnitude_ema)),
            up=p.conv_up,
        )
        up_filter, pad = self.up_filter, p.padding
        if p.conv_up > 1:
            y = upfirdn2d(y, up_filter, pad=pad, gain=p.conv_up**2)
            up_filter, pad = None, (0, 0, 0, 0)
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
            clamp=self.clamp,
        )

    def compute_output_shape(self, x_shape: Any, w_shape: Any = None) -> tuple[int | None, ...]:
        return x_shape[0], self.plan.out_size, self.plan.out_size, self.plan.out_channels

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "plan": dataclasses.asdict(self.plan),
            "clamp": self.clamp,
            "magnitude_decay": self.magnitude_decay,
        }


# ---------------------------------------------------------------------------------------------------------------------
# The alias-free generator as a Keras model (arXiv 2106.12423).
# ---------------------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("sg3tf")
class Generator(keras.Model):
    """Latents to images.

    Args:
        config: architecture; a GeneratorConfig, or the dictionary that get_config makes of it.
        dtype: "float32"; or "mixed_bfloat16" or "mixed_float16", which holds for the layers of the four highest
            resolutions, the others staying in float32 (docs/adr/0010).

    Raises:
        ConfigError: another dtype.

    Weights exist from the start: `predict`, `summary` and `save` need no prior call.
    """

    config_class: ClassVar[Any] = GeneratorConfig

    def __init__(self, config: Any, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.config = c = config if isinstance(config, self.config_class) else self.config_class(**config)
        self.mapping_network = MappingNetwork(
            c.z_dim, c.label_dim, c.w_dim, c.mapping_layers, track_average=True, dtype="float32", name="mapping"
        )
        self._create_synthesis()
        self.build()

    def _create_synthesis(self) -> None:
        c = self.config
        plan = plan_synthesis(c)
        self.num_ws = plan.num_ws
        policy = low_precision_policy(self.dtype_policy)
        self.fourier_input = FourierInput(**dataclasses.asdict(plan.input), name="input")
        self.synthesis_layers = [
            SynthesisLayer(
                layer,
                c.clamp,
                c.magnitude_decay,
                dtype=policy if layer.low_precision else "float32",
                name=layer.name,
            )
            for layer in plan.layers
        ]

    @staticmethod
    def of(config: AnyGeneratorConfig, **kwargs: Any) -> Generator:
        """The generator that `config` describes, of the class for such a configuration; with random weights."""
        from sg3tf.models import stylegan1, stylegan2

        kinds = (Generator, stylegan2.StyleGAN2Generator, stylegan1.StyleGAN1Generator)
        return {kind.config_class: kind for kind in kinds}[type(config)](config, **kwargs)

    @classmethod
    def from_preset(cls, preset: str, resolution: int, **overrides: Any) -> Generator:
        """A generator with random weights, as published.

        Args:
            preset: "stylegan3-t", "stylegan3-r", "stylegan2", "stylegan1", or "stylegan3-a" to "stylegan3-h", the
                steps from stylegan2 to stylegan3-t (docs/ladder.md).
            resolution: side of the image, a power of two from 16 (stylegan2, a, b and c: 8) to 1024.
            **overrides: any field of GeneratorConfig, or for stylegan2, a, b and c of StyleGAN2Config, that the preset
                does not fix: image_channels, label_dim, channel_base, channel_max, ...

        Raises:
            ConfigError: naming the argument, its value and the remedy.
        """
        return Generator.of(generator_preset(preset, resolution, **overrides))

    def build(self, input_shape: Any = None) -> None:
        self.mapping_network.build()
        w_shape = (None, self.config.w_dim)
        self.fourier_input.build(w_shape)
        for layer in self.synthesis_layers:
            layer.build((None, layer.plan.in_size, layer.plan.in_size, layer.plan.in_channels), w_shape)
        self.built = True

    def call(
        self,
        inputs: Any,
        truncation_psi: Any = 1.0,
        truncation_cutoff: int | None = None,
        transform: tf.Tensor | None = None,
        update_emas: bool = False,
    ) -> tf.Tensor:
        """Generates images.

        Args:
            inputs: z float [N, z_dim], or {"z": z, "label": label} with label float [N, label_dim].
            truncation_psi: 1 for full variety, towards 0 for the average image; a number or [N].
            truncation_cutoff: truncate only the first so many style vectors; None for all.
            transform: inverse transform of the image, [3, 3] or [N, 3, 3], in units of the image width.
            update_emas: move the running statistics; only training does.

        Returns:
            float32 [N, resolution, resolution, image_channels], nominally in [-1, 1].
        """
        z, label = (inputs.get("z"), inputs.get("label")) if isinstance(inputs, dict) else (inputs, None)
        ws = self.mapping(z, label, truncation_psi, truncation_cutoff, update_emas=update_emas)
        return self.synthesis(ws, transform, update_emas=update_emas)

    def mapping(
        self,
        z: tf.Tensor,
        label: tf.Tensor | None = None,
        truncation_psi: Any = 1.0,
        truncation_cutoff: int | None = None,
        update_emas: bool = False,
    ) -> tf.Tensor:
        """Style vectors float32 [N, num_ws, w_dim] for z and label; arguments as in `call`."""
        w = self.mapping_network(z, label=label, update_average=update_emas)
        ws = tf.repeat(w[:, None, :], self.num_ws, axis=1)
        if isinstance(truncation_psi, (int, float)) and truncation_psi == 1:
            return ws
        average = tf.convert_to_tensor(self.mapping_network.w_avg)
        psi = tf.reshape(tf.cast(truncation_psi, tf.float32), [-1, 1, 1])
        truncated = average + psi * (ws - average)
        if truncation_cutoff is None:
            return truncated
        return tf.concat([truncated[:, :truncation_cutoff], ws[:, truncation_cutoff:]], axis=1)

    def synthesis(self, ws: tf.Tensor, transform: tf.Tensor | None = None, update_emas: bool = False) -> tf.Tensor:
        """Images float32 [N, R, R, C] for style vectors float32 [N, num_ws, w_dim]; arguments as in `call`."""
        ws = self._checked_ws(ws)
        x = self.fourier_input(ws[:, 0], transform=transform)
        first = self.num_ws - len(self.synthesis_layers)  # 0 where the input uses no style vector
        for index, layer in enumerate(self.synthesis_layers, start=first):
            x = layer(x, ws[:, index], update_emas=update_emas)
        return tf.cast(x, tf.float32) * self.config.output_scale

    def _checked_ws(self, ws: tf.Tensor) -> tf.Tensor:
        ws = tf.cast(tf.convert_to_tensor(ws), tf.float32)
        expected = (self.num_ws, self.config.w_dim)
        if ws.shape.rank != 3 or not ws.shape[1:].is_compatible_with(expected):
            raise ValueError(f"ws of shape {ws.shape}: give [N, {expected[0]}, {expected[1]}]")
        return ws

    def export(
        self,
        model_base_path: str | os.PathLike[str],
        precision: str = "fp32",
        licence: str = "unspecified",
        **options: Any,
    ) -> Path:
        """Writes the next version for TensorFlow Serving, `model_base_path`/1, 2, ..., with all signatures.

        Takes the place of keras.Model.export, whose one signature would be the call without psi.

        Args:
            model_base_path: folder of the versions.
            precision: "fp32" or "bf16", what the four highest resolutions compute in.
            licence: of the weights, for the metadata.
            **options: as of serving.export.export: max_batch, xla, warmup_batch_sizes.

        Returns:
            The version folder.

        Raises:
            OSError, ValueError, serving.validate.ValidationError: as serving.export.export.
        """
        # The one way from the library to what stands on it, only when it is taken (docs/adr/0013).
        from serving.saved_model import export_saved_model, in_precision

        described = {"precision": precision, "licence": licence}
        return export_saved_model(in_precision(self, precision), model_base_path, described=described, **options)

    def in_dtype(self, dtype: str) -> Generator:
        """This generator where that is its policy, else a twin with the same weights; dtype as of the class."""
        if self.dtype_policy.name == dtype:
            return self
        twin = type(self)(self.config, dtype=dtype)
        twin.set_weights(self.get_weights())
        return twin

    def get_config(self) -> dict[str, Any]:
        base = super().get_config()
        return {
            "config": dataclasses.asdict(self.config),
            **{key: base[key] for key in ("name", "trainable", "dtype") if key in base},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Generator:
        return cls(**config)


# Last, as these are Generators. Here, so that Keras can load it wherever it can load a Generator.
