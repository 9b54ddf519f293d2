"""The alias-free generator as a Keras model (arXiv 2106.12423)."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, ClassVar

import keras
import tensorflow as tf

from sg3tf.config import AnyGeneratorConfig, GeneratorConfig, generator_preset
from sg3tf.layer_plan import plan_synthesis
from sg3tf.layers import FourierInput, Mapping, SynthesisLayer
from sg3tf.layers.mixed_precision import low_precision_policy


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
        self.mapping_network = Mapping(
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
            **options: as of serving.saved_model.export: max_batch, xla, warmup_batch_sizes.

        Returns:
            The version folder.

        Raises:
            OSError, ValueError, serving.validation.ValidationError: as serving.saved_model.export.
        """
        # The one way from the library to what stands on it, only when it is taken (docs/adr/0013).
        from serving.precision import in_precision
        from serving.saved_model import export

        described = {"precision": precision, "licence": licence}
        return export(in_precision(self, precision), model_base_path, described=described, **options)

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
from sg3tf import stylegan1, stylegan2  # noqa: E402
