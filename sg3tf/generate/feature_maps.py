"""What the layers of a generator compute on the way to an image (arXiv 2106.12423, figure 6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.linalg import qr

from sg3tf.images import to_uint8
from sg3tf.models.generators import Generator
from sg3tf.models.stylegan3 import StyleGAN3Generator

FloatArray = NDArray[np.float32]

_CONTRAST = 2.5  # standard deviations from grey to black and white


def layers_of(G: Generator) -> list[Any]:
    """The layers with nonlinearities, from coarse to fine, each with its `name`."""
    return list(G.synthesis_layers[:-1] if isinstance(G, StyleGAN3Generator) else G.convs)


class Activations:
    """Computes what layers give, for one image after the other.

    Args:
        G: the generator, of either kind.
        positions: into layers_of(G).
    """

    def __init__(self, G: Generator, positions: list[int]) -> None:
        self._layers = [layers_of(G)[position] for position in positions]
        self._synthesis = tf.function(partial(_overheard_synthesis, G, self._layers), autograph=False)
        self.names = [layer.name for layer in self._layers]

    def __call__(self, ws: FloatArray, transform: FloatArray | None = None) -> list[FloatArray]:
        """Of one image, ws [num_ws, w_dim] and transform [3, 3]: from every layer [H, W, C], of the image's part of
        the canvas."""
        inputs = [tf.constant(value[None]) for value in (ws, transform) if value is not None]
        given = self._synthesis(*inputs)
        return [_inside(layer, value[0].numpy()) for layer, value in zip(self._layers, given, strict=True)]


def _overheard_synthesis(G: Generator, layers: list[Any], ws: tf.Tensor, transform: Any = None) -> list[tf.Tensor]:
    with _overheard(layers) as results:
        G.synthesis(ws, transform=transform)
    return [tf.cast(results[layer.name], tf.float32) for layer in layers]


@contextmanager
def _overheard(layers: list[Any]) -> Iterator[dict[str, tf.Tensor]]:
    """What the layers give while the generator calls them: no second synthesis has to be written down here."""
    results: dict[str, tf.Tensor] = {}

    def listening(layer: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
        results[layer.name] = type(layer).call(layer, *args, **kwargs)
        return results[layer.name]

    for layer in layers:
        layer.call = partial(listening, layer)
    try:
        yield results
    finally:
        for layer in layers:
            del layer.call


def _inside(layer: Any, activation: FloatArray) -> FloatArray:
    """Without the margin around the image, where the layer has one."""
    plan = getattr(layer, "plan", None)
    margin = (plan.out_size - plan.out_rate) // 2 if plan else 0
    return activation[margin : len(activation) - margin, margin : len(activation) - margin]


@dataclasses.dataclass(frozen=True)
class View:
    """How a layer is shown: three of its channels as red, green and blue.

    Attributes:
        channels: [3].
        middle, reach: float32 [3], what is grey, and how far black and white are from it.
    """

    channels: NDArray[np.intp]
    middle: FloatArray
    reach: FloatArray

    @classmethod
    def of(cls, activations: list[FloatArray]) -> View:
        """A view that tells much about images' activations [H, W, C]: the channel of the highest variance, then those
        that add most to what is seen already."""
        values = np.concatenate([a.reshape(-1, a.shape[-1]) for a in activations]).astype(np.float64)
        centred = values - values.mean(axis=0)
        covariance = centred.T @ centred  # its factor has the same pivots, and fewer rows
        order = _pivots(covariance)
        channels = np.resize(order[:3], 3)  # of networks with less than three
        spread = values[:, channels].std(axis=0)
        return cls(
            channels,
            values[:, channels].mean(axis=0).astype(np.float32),
            np.maximum(_CONTRAST * spread, 1e-12).astype(np.float32),
        )

    def __call__(self, activation: FloatArray) -> NDArray[np.uint8]:
        """A picture uint8 [H, W, 3] of an activation [H, W, C]."""
        return to_uint8((activation[..., self.channels] - self.middle) / self.reach)


def _pivots(covariance: NDArray[np.float64]) -> NDArray[np.intp]:
    """Channels by what each adds to the earlier ones: the pivots of QR on the samples, found from their covariance."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    root = np.sqrt(np.maximum(eigenvalues, 0))[:, None] * vectors.T
    return np.asarray(qr(root, mode="r", pivoting=True)[1])
