"""A network that was loaded as a Keras model."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from sg3tf.checkpoints import weights_digest
from sg3tf.generate.network import ByteArray, FloatArray, Network
from sg3tf.generate.one_by_one import default_batch, one_by_one
from sg3tf.generator import Generator
from sg3tf.images import to_uint8


def keras_network(G: Generator, name: str = "generator", batch: int | None = None) -> Network:
    """The Network of a generator.

    Args:
        G: of either kind.
        name: what messages call it.
        batch: as of open_network.
    """
    c = G.config
    batch = batch or default_batch(c.resolution)
    map_each = one_by_one(G.mapping, tf.TensorSpec([G.num_ws, c.w_dim], tf.float32), batch)
    image = tf.TensorSpec([c.resolution, c.resolution, c.image_channels], tf.float32)
    synthesize_each = one_by_one(G.synthesis, image, batch)

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
        movable=c.fourier_input,
        batch=batch,
        mapping=mapping,
        average=lambda: np.asarray(G.mapping_network.w_avg),
        synthesis=synthesis,
        identity=lambda: weights_digest(G),
        model=G,
    )
