"""Style vectors of random latents, and their statistics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sg3tf.generate.network import Network

FloatArray = NDArray[np.float32]

_AT_ONCE = 1000


def w_samples(network: Network, count: int = 10_000, seed: int = 0, label: FloatArray | None = None) -> FloatArray:
    """w of standard normal z, not truncated.

    Args:
        network: a Keras model is asked many at a time, others as Network.map does.
        count: samples.
        seed: of the z.
        label: [label_dim], for a network with labels.

    Returns:
        float32 [count, w_dim].
    """
    z = np.random.default_rng(seed).standard_normal([count, network.z_dim], np.float32)
    if network.model is None:
        return network.map(z, label=label)[:, 0]
    labels = None if label is None else np.tile(label, [count, 1])
    parts = [slice(start, start + _AT_ONCE) for start in range(0, count, _AT_ONCE)]
    found = [network.model.mapping_network(z[part], label=None if labels is None else labels[part]) for part in parts]
    return np.concatenate(found)


def mean_and_sigma(w: FloatArray) -> tuple[FloatArray, float]:
    """The mean of w [N, w_dim], and the root of the mean squared distance from it (arXiv 1912.04958, appendix D)."""
    exact = w.astype(np.float64)
    mean = exact.mean(0)
    return mean.astype(np.float32), float(np.sqrt(np.mean(np.sum((exact - mean) ** 2, 1))))
