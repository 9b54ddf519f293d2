"""Computing on several inputs as if each of them were alone.

The last bits of an image in a batch depend on the batch's size and on the place in it, since matrices of another shape
are summed in another order. Alone, an image has the same bytes every time, and several side by side take no longer than
a batch (docs/generate.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.generate.network import ByteArray, FloatArray, Network
from sg3tf.images import to_uint8
from sg3tf.models.generators import Generator
from sg3tf.models.loading import weights_digest

_BYTES_PER_PIXEL = 1600  # of one image's activations: 1.6 GB at 1024 x 1024
_BATCH = 8  # faster than 2: docs/generate.md


def map_single(function: Callable[..., tf.Tensor], row: tf.TensorSpec, at_once: int) -> Callable[..., NDArray[Any]]:
    """`function`, which takes and returns batches, for batches of one.

    Args:
        function: named arguments [1, ...] -> result [1, ...].
        row: shape and type of the result without its first axis.
        at_once: how many are computed side by side.

    Returns:
        A function of named arrays [N, ...], or None, which is left out, to an array [N, ...].
    """

    def call(one: dict[str, tf.Tensor]) -> tf.Tensor:
        return function(**{name: value[tf.newaxis] for name, value in one.items()})[0]

    @tf.function(autograph=False, reduce_retracing=True)
    def each(inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.map_fn(call, inputs, fn_output_signature=row, parallel_iterations=at_once)

    def rows(**arrays: NDArray[Any] | None) -> NDArray[Any]:
        return each({name: tf.constant(array) for name, array in arrays.items() if array is not None}).numpy()

    return rows


def default_batch(resolution: int) -> int:
    """Images side by side: 8, or fewer if they would take more than a quarter of the memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(np.clip(memory // 4 // (_BYTES_PER_PIXEL * resolution**2), 1, _BATCH))


# ---------------------------------------------------------------------------------------------------------------------
# A network that was loaded as a Keras model.
# ---------------------------------------------------------------------------------------------------------------------


def keras_network(G: Generator, name: str = "generator", batch: int | None = None) -> Network:
    """The Network of a generator.

    Args:
        G: of either kind.
        name: what messages call it.
        batch: as of open_network.
    """
    c = G.config
    batch = batch or default_batch(c.resolution)
    map_each = map_single(G.mapping, tf.TensorSpec([G.num_ws, c.w_dim], tf.float32), batch)
    image = tf.TensorSpec([c.resolution, c.resolution, c.image_channels], tf.float32)
    synthesize_each = map_single(G.synthesis, image, batch)

    def mapping(z: FloatArray, label: FloatArray | None) -> FloatArray:
        return map_each(z=z, label=label)

    def synthesis(ws: FloatArray, transform: FloatArray | None) -> ByteArray:
        images = synthesize_each(ws=ws, transform=transform)
        if not np.isfinite(images).all():
            raise FloatingPointError(f"network={name}: images are not finite; use another network or other latents")
        return to_uint8(images)

    return Network(
        name=name,
        z_dim=c.z_dim,
        w_dim=c.w_dim,
        num_ws=G.num_ws,
        label_dim=c.label_dim,
        resolution=c.resolution,
        channels=c.image_channels,
        supports_transform=G.supports_transform,
        batch=batch,
        mapping=mapping,
        average=lambda: np.asarray(G.mapping_network.w_avg),
        synthesis=synthesis,
        identity=lambda: weights_digest(G),
        model=G,
    )
