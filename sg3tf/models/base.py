"""Base class of all generators, and the registry that maps configuration classes to generator classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, TypeVar

import keras
import tensorflow as tf

from sg3tf.models._tf_private import track_layers_in_lists
from sg3tf.models.configs import AnyGeneratorConfig, ConfigError, current_names, saved_fields
from sg3tf.models.latent_ops import truncate
from sg3tf.models.layers import MappingNetwork, mapping_variant
from sg3tf.models.presets import TRAINED_PRESETS, generator_preset, trained_file
from sg3tf.models.stock_export import StockExportModel
from sg3tf.utils.resolution import AnyResolution

#: "const", "none", or seeds: int32 [N, 2].
Noise: TypeAlias = tf.Tensor | str
AnyGenerator = TypeVar("AnyGenerator", bound="type[BaseGenerator]")

_REGISTRY: dict[type, type[BaseGenerator]] = {}


def register_generator(config_class: type) -> Callable[[AnyGenerator], AnyGenerator]:
    """Return a class decorator that registers a generator for configurations of type `config_class`."""

    def register(generator_class: AnyGenerator) -> AnyGenerator:
        generator_class.config_class = config_class
        _REGISTRY[config_class] = generator_class
        return generator_class

    return register


def build_generator(config: AnyGeneratorConfig, **kwargs: Any) -> BaseGenerator:
    """Build the generator that `config` describes, with random weights.

    Args:
        config: architecture; its type selects the generator class.
        **kwargs: arguments of that class: `dtype`, `name`.
    """
    return _REGISTRY[type(config)](config, **kwargs)


class BaseGenerator(StockExportModel):
    """Generator of images from latents, available as `sg3tf.Generator`.

    Create one with `from_preset`, `sg3tf.load` or `build_generator`; this class is abstract. Weights are created on
    construction, so `predict`, `summary` and `save` need no prior call.

    To add an architecture, decorate a subclass with `register_generator`, create its layers in `_create_synthesis`,
    build them in `_build_synthesis`, and compute images in `_synthesize`.

    Args:
        config: architecture, or its dictionary from `get_config`.
        dtype: "float32", or "mixed_bfloat16" or "mixed_float16" to compute in 16 bits in the layers of the four
            highest resolutions and in float32 in the others (docs/adr/0010).

    Attributes:
        config: architecture.
        num_ws: number of style vectors per image.

    Raises:
        ConfigError: unsupported dtype.

    Examples:
        >>> G = build_generator(generator_preset("stylegan3-t", 16, channel_base=64, channel_max=4, z_dim=4))
        >>> G(tf.zeros([2, 4]), truncation_psi=0.7).shape
        TensorShape([2, 16, 16, 3])
        >>> G.num_ws, G.supports_transform, G.supports_noise
        (16, True, False)
    """

    config_class: ClassVar[Any] = None

    def __init__(self, config: Any, **kwargs: Any) -> None:
        if self.config_class is None:
            raise TypeError("BaseGenerator is abstract: use from_preset, build_generator or one of its subclasses")
        super().__init__(autocast=False, **kwargs)
        self.config = c = self.config_class(**config) if isinstance(config, dict) else config
        if type(c) is not self.config_class:
            remedy = f"{type(self).__name__} takes a {self.config_class.__name__}; or use build_generator"
            raise ConfigError(f"config is a {type(c).__name__}: {remedy}")
        self.mapping_network = MappingNetwork(
            c.z_dim,
            c.label_dim,
            c.w_dim,
            c.mapping_layers,
            track_w_avg=True,
            **mapping_variant(c),
            dtype="float32",
            name="mapping",
        )
        self.num_ws = self._create_synthesis()
        track_layers_in_lists(self)
        self.build()

    @classmethod
    def from_preset(
        cls,
        preset: str,
        resolution: AnyResolution | None = None,
        *,
        load_weights: bool = True,
        dtype: str | None = None,
        name: str | None = None,
        **overrides: Any,
    ) -> BaseGenerator:
        """Build a published architecture with random weights, or load a trained network that ships with sg3tf.

        Args:
            preset: an architecture: "stylegan3-t", "stylegan3-r", "stylegan2", "stylegan1", or one of the ablations
                "stylegan3-a" to "stylegan3-h" (docs/ablations.md); or a trained network: "portraits-32",
                "portraits-32-conditional" (twelve classes), "portraits-64" or "portraits-64-r".
            resolution: image side in pixels, a power of two from 16 (stylegan1, stylegan2, a, b and c: 8) to 1024; or,
                except for stylegan1, (width, height) or "512x256" (docs/adr/0041). Omit it for a trained network.
            load_weights: False to build a trained network's architecture with random weights.
            dtype, name: arguments of the class; None for the dtype policy of the trained network, if its weights are
                loaded, or Keras' global one.
            **overrides: fields of the architecture's configuration (GeneratorConfig, StyleGAN2Config, ...) that the
                preset does not fix: image_channels, label_dim, channel_base, channel_max, ...

        Raises:
            ConfigError: invalid argument; the message gives its value and the remedy.

        Examples:
            >>> G = BaseGenerator.from_preset("stylegan3-t", resolution=16, channel_base=64, channel_max=4)
        """
        if preset in TRAINED_PRESETS:
            if resolution is not None or overrides:
                given = sorted(overrides) if resolution is None else ["resolution", *sorted(overrides)]
                raise ConfigError(f"preset={preset!r}: a trained network has its own {', '.join(given)}; leave it out")
            G = keras.models.load_model(trained_file(preset), compile=False)
            if not load_weights:
                G = build_generator(G.config, dtype=dtype, name=name)
        else:
            if resolution is None:
                raise ConfigError(f"resolution is missing: preset={preset!r} is an architecture; give its resolution")
            G = build_generator(generator_preset(preset, resolution, **overrides), dtype=dtype, name=name)
        is_other = cls.config_class is type(G).config_class and cls is not type(G)  # a user's subclass
        dtype = dtype or G.dtype_policy.name
        if is_other or dtype != G.dtype_policy.name or name not in (None, G.name):
            named = {"name": name} if name else {}
            own = (cls if is_other else type(G))(G.config, dtype=dtype, **named)
            own.set_weights(G.get_weights())
            G = own
        if not isinstance(G, cls):
            remedy = "use its from_preset" if cls.config_class else "derive the class from that"
            raise ConfigError(f"preset={preset!r}: is a {type(G).__name__}, not a {cls.__name__}; {remedy}")
        return G

    def _create_synthesis(self) -> int:
        """Create the layers of the synthesis network, and return num_ws."""
        raise NotImplementedError

    def _build_synthesis(self) -> None:
        """Create the weights of the synthesis network."""
        raise NotImplementedError

    def _synthesize(self, ws: tf.Tensor, transform: tf.Tensor | None, noise: Noise, update_emas: bool) -> tf.Tensor:
        """Compute images from arguments that `synthesis` has checked."""
        raise NotImplementedError

    @property
    def supports_transform(self) -> bool:
        """True if `synthesis` accepts a transform, that is, if the input is Fourier features."""
        return self.config.supports_transform

    @property
    def supports_noise(self) -> bool:
        """True if layers add noise, so that `synthesis` accepts noise seeds."""
        return self.config.supports_noise

    def build(self, input_shape: Any = None) -> None:
        self.mapping_network.build()
        self._build_synthesis()
        self.built = True

    def input_signature(self) -> Any:
        z = keras.InputSpec("float32", (None, self.config.z_dim))
        if not self.config.label_dim:
            return z
        return {"z": z, "label": keras.InputSpec("float32", (None, self.config.label_dim))}

    def call(
        self,
        inputs: Any,
        truncation_psi: Any = 1.0,
        truncation_cutoff: int | None = None,
        transform: tf.Tensor | None = None,
        update_emas: bool = False,
    ) -> tf.Tensor:
        """Generate images.

        Args:
            inputs: z float [N, z_dim], or {"z": z, "label": label} with label float [N, label_dim].
            truncation_psi: a number or [N]; 1 for full variety, 0 for the average image.
            truncation_cutoff: number of leading style vectors to truncate; None for all.
            transform: inverse transform of the image, [3, 3] or [N, 3, 3], in units of the image width.
            update_emas: update running statistics, as in training.

        Returns:
            float32 [N, H, W, image_channels], nominally in [-1, 1].

        Raises:
            ValueError: malformed inputs, or an empty batch.
        """
        if isinstance(inputs, (list, tuple)):
            raise ValueError(f'inputs is a {type(inputs).__name__}: give z, or {{"z": z, "label": label}}')
        z, label = inputs, None
        if isinstance(inputs, dict):
            if unknown := sorted(map(str, set(inputs) - {"z", "label"})):
                remedy = "it takes z and label; give truncation_psi, transform and others as arguments"
                raise ValueError(f"inputs has the keys {', '.join(unknown)}: {remedy}")
            z, label = inputs.get("z"), inputs.get("label")
        ws = self.mapping(z, label, truncation_psi, truncation_cutoff, update_emas=update_emas)
        return self.synthesis(ws, transform=transform, update_emas=update_emas)

    def mapping(
        self,
        z: tf.Tensor,
        label: tf.Tensor | None = None,
        truncation_psi: Any = 1.0,
        truncation_cutoff: int | None = None,
        update_emas: bool = False,
    ) -> tf.Tensor:
        """Compute style vectors, float32 [N, num_ws, w_dim], from z and label; for the arguments, see `call`."""
        if isinstance(z, (list, tuple)):
            z = tf.convert_to_tensor(z, tf.float32)
        if z is not None and z.shape[:1] == (0,):
            raise ValueError(f"z of shape {tuple(z.shape)}: give at least one")
        w = self.mapping_network(z, label=label, update_emas=update_emas)
        ws = tf.repeat(w[:, None, :], self.num_ws, axis=1)
        return truncate(ws, self.mapping_network.w_avg, truncation_psi, truncation_cutoff)

    def synthesis(
        self,
        ws: tf.Tensor,
        *,
        transform: tf.Tensor | None = None,
        noise: Noise = "const",
        update_emas: bool = False,
    ) -> tf.Tensor:
        """Compute images from style vectors.

        Args:
            ws: float32 [N, num_ws, w_dim].
            transform: inverse transform of the image, [3, 3] or [N, 3, 3], in units of the image width; only if
                `supports_transform`. It does not move the noise.
            noise: "const" for the noise images stored with the weights, "none", or, if `supports_noise`, seeds, int32
                [N, 2]. An image's noise depends only on its own seed.
            update_emas: update the layers' running statistics, as in training.

        Returns:
            float32 [N, H, W, image_channels], nominally in [-1, 1].

        Raises:
            ValueError: wrong shape, or a transform or noise that this generator does not support.

        Gradients with respect to ws and weights: of any order.
        """
        ws = self._check_ws(ws)
        self._check_transform(transform, ws.shape[0])
        self._check_noise(noise, ws.shape[0])
        return self._synthesize(ws, transform, noise, update_emas)

    def _check_ws(self, ws: tf.Tensor) -> tf.Tensor:
        ws = tf.cast(tf.convert_to_tensor(ws), tf.float32)
        expected = (self.num_ws, self.config.w_dim)
        if ws.shape.rank != 3 or not ws.shape[1:].is_compatible_with(expected):
            raise ValueError(f"ws of shape {ws.shape}: give [N, {expected[0]}, {expected[1]}]")
        if ws.shape[0] == 0:
            raise ValueError(f"ws of shape {ws.shape}: give those of at least one image")
        return ws

    def _check_transform(self, transform: Any, count: int | None) -> None:
        if transform is None:
            return
        if not self.supports_transform:
            raise ValueError("transform is given: the input of this generator is a constant; leave transform None")
        shape = tf.convert_to_tensor(transform).shape
        if shape.rank == 3 and shape[0] != 1 and not shape[:1].is_compatible_with([count]):
            raise ValueError(f"transform of shape {shape}: give [3, 3], or [{count}, 3, 3], one for each image")

    def _check_noise(self, noise: Noise, count: int | None) -> None:
        if isinstance(noise, str):
            if noise not in ("const", "none"):
                raise ValueError(f"noise={noise!r}: use 'const', 'none', or seeds, int32 [N, 2]")
            return
        if not self.supports_noise:
            raise ValueError("noise is given as seeds: this generator adds none; leave noise 'const'")
        seeds = tf.convert_to_tensor(noise)
        if seeds.dtype != tf.int32 or not seeds.shape.is_compatible_with([count, 2]):
            given = f"noise of type {seeds.dtype.name} and shape {seeds.shape}"
            raise ValueError(f"{given}: give seeds, int32 [{count or 'N'}, 2]")

    def with_dtype(self, dtype: str) -> BaseGenerator:
        """Return this generator if its policy is `dtype`; otherwise a copy with that policy and the same weights."""
        if self.dtype_policy.name == dtype:
            return self
        copy = type(self)(self.config, dtype=dtype)
        copy.set_weights(self.get_weights())
        return copy

    def get_config(self) -> dict[str, Any]:
        return saved_fields(self.config, super().get_config())

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> BaseGenerator:
        return cls(**{**config, "config": current_names(config["config"])})
