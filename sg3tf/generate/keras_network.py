"""Networks loaded as Keras models, computed one image at a time.

In a batch, an image's last bits depend on the batch size and its position, because differently shaped matrices are
summed in a different order. Computed alone, an image always has the same bytes, and computing several in parallel takes
no longer than a batch (docs/generate.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.generate.network import ByteArray, FloatArray, Network
from sg3tf.images import to_uint8
from sg3tf.models.generators import Generator
from sg3tf.models.loading import weights_digest
from sg3tf.utils.machine import num_bytes_of_memory
from sg3tf.utils.resolution import Resolution, image_shape, size_of

_BYTES_PER_PIXEL = 1600  # of one image's activations: 1.6 GB at 1024 x 1024
_GPU_MEMORY = 8 << 30  # assumed, because TensorFlow does not say how much there is
_BATCH = 8  # faster than 2: docs/generate.md
_SAMPLES_AT_A_TIME = 1000


def map_rows(function: Callable[..., tf.Tensor], row: tf.TensorSpec, parallel: int) -> Callable[..., NDArray[Any]]:
    """Convert a batch function into one that computes rows separately, several in parallel.

    Args:
        function: named arguments [1, ...] -> result [1, ...].
        row: shape and dtype of the result without its first axis.
        parallel: number of rows computed in parallel.

    Returns:
        Function from named arrays [N, ...] to an array [N, ...]; arguments that are None are omitted.
    """

    def compute(one: dict[str, tf.Tensor]) -> tf.Tensor:
        return function(**{name: value[tf.newaxis] for name, value in one.items()})[0]

    @tf.function(autograph=False, reduce_retracing=True)
    def compute_each(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.map_fn(compute, inputs, fn_output_signature=row, parallel_iterations=parallel)

    def compute_rows(**arrays: NDArray[Any] | None) -> NDArray[Any]:
        return compute_each({name: tf.constant(array) for name, array in arrays.items() if array is not None}).numpy()

    return compute_rows


def default_batch(resolution: Resolution) -> int:
    """Return the number of images to compute in parallel: 8, or fewer if they would take a quarter of the memory.

    A GPU is taken to have 8 GiB.
    """
    memory = num_bytes_of_memory()
    if tf.config.list_physical_devices("GPU"):
        memory = min(memory, _GPU_MEMORY)
    return int(np.clip(memory // 4 // (_BYTES_PER_PIXEL * size_of(resolution).pixels), 1, _BATCH))


class KerasNetwork(Network):
    """Network for a Keras generator.

    Args:
        G: any generator.
        name: its name in messages.
        batch: see open_network.

    Examples:
        >>> from sg3tf.latents import transform_matrix, z_from_seeds
        >>> G = Generator.from_preset("stylegan3-t", resolution=16, channel_base=256, channel_max=8, num_layers=6)
        >>> network = KerasNetwork(G)
        >>> ws = network.map(z_from_seeds([0, 1]), psi=0.7)
        >>> network.synthesize(ws, transform_matrix(angle=0.5)).shape
        (2, 16, 16, 3)
    """

    def __init__(self, G: Generator, name: str = "generator", batch: int | None = None) -> None:
        config = G.config
        super().__init__(
            name,
            batch or default_batch(config.resolution),
            z_dim=config.z_dim,
            w_dim=config.w_dim,
            num_ws=G.num_ws,
            label_dim=config.label_dim,
            resolution=config.resolution,
            channels=config.image_channels,
            supports_transform=G.supports_transform,
        )
        self._generator = G
        ws = tf.TensorSpec([self.num_ws, self.w_dim], tf.float32)
        self._image = tf.TensorSpec(image_shape(self.resolution, self.channels), tf.float32)
        self._map_single = map_rows(G.mapping, ws, self.batch)
        self.set_noise("const")

    @property
    def generator(self) -> Generator:
        """The Keras model."""
        return self._generator

    def identity(self) -> str:
        """Return the digest of configuration and weights, with the precision unless it is float32."""
        policy = self._generator.dtype_policy.name
        noise = "" if self._noise == "const" else f" noise={self._noise}"
        return weights_digest(self._generator) + ("" if policy == "float32" else f" {policy}") + noise

    def set_noise(self, noise: str) -> None:
        if noise != "const" and not self._generator.supports_noise:
            raise ValueError(f"noise={noise}: leave it out, as network={self.name} has no noise")
        self._noise = noise
        synthesis = partial(self._generator.synthesis, noise="none") if noise == "none" else self._generator.synthesis
        self._synthesize_single = map_rows(synthesis, self._image, self.batch)

    def _map(self, z: FloatArray, label: FloatArray | None) -> FloatArray:
        return self._map_single(z=z, label=label)

    def _average(self) -> FloatArray:
        return np.asarray(self._generator.mapping_network.w_avg)

    def _synthesize(self, ws: FloatArray, transform: FloatArray | None) -> ByteArray:
        noise = _noise_seeds(ws) if self._noise == "random" else None
        images = self._synthesize_single(ws=ws, transform=transform, noise=noise)
        if not np.isfinite(images).all():
            raise FloatingPointError(
                f"network={self.name}: images are not finite; use another network or other latents"
            )
        return to_uint8(images)

    def _sample_w(self, z: FloatArray, label: FloatArray | None) -> FloatArray:
        """Return w for z in large batches; the last bits may depend on the batch."""
        labels = None if label is None else np.tile(label, [len(z), 1])
        parts = [slice(start, start + _SAMPLES_AT_A_TIME) for start in range(0, len(z), _SAMPLES_AT_A_TIME)]
        mapping = self._generator.mapping_network
        return np.concatenate([mapping(z[part], label=None if labels is None else labels[part]) for part in parts])


def _noise_seeds(ws: FloatArray) -> NDArray[np.int32]:
    """Seeds of the noise of each image, int32 [N, 2], from its style vectors, so that it does not depend on others."""
    digests = [hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest()[:8] for row in ws]
    return np.frombuffer(b"".join(digests), np.int32).reshape(-1, 2) & 0x7FFFFFFF
