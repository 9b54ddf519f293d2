"""Feature maps of a generator's layers, and their visualization (arXiv 2106.12423, figure 6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.linalg import qr

from sg3tf.generate.latents_file import Latents
from sg3tf.generate.network import Network
from sg3tf.generate.sheets import with_captions
from sg3tf.images import enlarge, to_uint8
from sg3tf.models.generators import Generator
from sg3tf.models.layer_outputs import record_outputs
from sg3tf.models.stylegan3 import StyleGAN3Generator
from sg3tf.utils.resolution import longer_side, size_of

FloatArray = NDArray[np.float32]
Picture = NDArray[np.uint8]

_CONTRAST = 2.5  # standard deviations from gray to black and white
_MAX_REFERENCES = 8  # images that determine which channels are shown, and their range


def layers_of(G: Generator) -> list[Any]:
    """Return the layers with nonlinearities, from coarse to fine; each has a `name`."""
    return list(G.synthesis_layers[:-1] if isinstance(G, StyleGAN3Generator) else G.convs)


class FeatureMaps:
    """Function that returns layer outputs, for one image at a time.

    Args:
        G: any generator.
        positions: indices into layers_of(G).

    Examples:
        >>> from sg3tf.generate.open_network import open_network
        >>> network = open_network("examples/portraits-32.keras")
        >>> feature_maps = FeatureMaps(network.generator, [0, 13])
        >>> [layer.shape[:2] for layer in feature_maps(network.map(np.ones([1, 512]))[0])]
        [(16, 16), (32, 32)]
    """

    def __init__(self, G: Generator, positions: Sequence[int]) -> None:
        self._layers = [layers_of(G)[position] for position in positions]
        self._synthesis = tf.function(partial(_synthesize_and_record, G, self._layers), autograph=False)
        self.names = [layer.name for layer in self._layers]

    def __call__(self, ws: FloatArray, transform: FloatArray | None = None) -> list[FloatArray]:
        """Return the feature maps of one image, without the canvas margin.

        Args:
            ws: [num_ws, w_dim].
            transform: [3, 3], or None.

        Returns:
            [H, W, C] for every layer.
        """
        inputs = [tf.constant(value[None]) for value in (ws, transform) if value is not None]
        outputs = self._synthesis(*inputs)
        return [_crop_margin(layer, output[0].numpy()) for layer, output in zip(self._layers, outputs, strict=True)]


def _synthesize_and_record(G: Generator, layers: list[Any], ws: tf.Tensor, transform: Any = None) -> list[tf.Tensor]:
    with record_outputs(layers) as outputs:
        G.synthesis(ws, transform=transform)
    return [tf.cast(outputs[layer.name], tf.float32) for layer in layers]


def _crop_margin(layer: Any, feature_map: FloatArray) -> FloatArray:
    plan = getattr(layer, "plan", None)
    margin = (longer_side(plan.out_size) - plan.out_rate) // 2 if plan else 0
    height, width = feature_map.shape[:2]
    return feature_map[margin : height - margin, margin : width - margin]


@dataclasses.dataclass(frozen=True)
class ColorMapping:
    """Mapping of three channels of a layer to red, green and blue.

    Attributes:
        channels: [3].
        center, radius: float32 [3], the value shown as gray, and the distance from it to black and white.

    Examples:
        >>> feature_map = np.random.default_rng(0).standard_normal([8, 8, 5])
        >>> ColorMapping.from_feature_maps([feature_map])(feature_map).shape
        (8, 8, 3)
    """

    channels: NDArray[np.intp]
    center: FloatArray
    radius: FloatArray

    @classmethod
    def from_feature_maps(cls, feature_maps: Sequence[FloatArray]) -> ColorMapping:
        """Choose the channel with the highest variance, then those that add the most variance.

        Args:
            feature_maps: feature maps of some images, [H, W, C].
        """
        values = np.concatenate([a.reshape(-1, a.shape[-1]) for a in feature_maps]).astype(np.float64)
        centered = values - values.mean(axis=0)
        covariance = centered.T @ centered  # its factor has the same pivots, and fewer rows
        channels = np.resize(_pivots(covariance)[:3], 3)  # repeats channels if there are fewer than three
        deviation = values[:, channels].std(axis=0)
        return cls(
            channels,
            values[:, channels].mean(axis=0).astype(np.float32),
            np.maximum(_CONTRAST * deviation, 1e-12).astype(np.float32),
        )

    def __call__(self, feature_map: FloatArray) -> Picture:
        """Return an image uint8 [H, W, 3] of a feature map [H, W, C]."""
        return to_uint8((feature_map[..., self.channels] - self.center) / self.radius)


def _pivots(covariance: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order channels by the variance each adds to the previous ones, as the pivots of a QR decomposition do."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    root = np.sqrt(np.maximum(eigenvalues, 0))[:, None] * vectors.T
    return np.asarray(qr(root, mode="r", pivoting=True)[1])


class LayerPictures:
    """Visualizations of layers for some latents.

    Args:
        network: network with a Keras model.
        latents: the latents; some of them determine the color mappings.
        positions: indices of the layers in layers_of(network.generator).

    Examples:
        >>> from sg3tf.generate.open_network import open_network
        >>> network = open_network("examples/portraits-32.keras")
        >>> pictures = LayerPictures(network, Latents(network.map(np.ones([1, 512]))), [0, 5, 13])
        >>> [tile.shape for tile in pictures.tiles(0)]
        [(32, 32, 3), (32, 32, 3), (32, 32, 3), (32, 32, 3)]
    """

    def __init__(self, network: Network, latents: Latents, positions: Sequence[int]) -> None:
        self._network = network
        self._latents = latents
        self._feature_maps = FeatureMaps(network.generator, positions)
        count = min(len(latents), _MAX_REFERENCES)
        references = [self._compute(number) for number in np.linspace(0, len(latents) - 1, count).astype(int)]
        self._colors = [ColorMapping.from_feature_maps(layer) for layer in zip(*references, strict=True)]

    def tiles(self, number: int) -> list[Picture]:
        """Return the layer visualizations and the image of one latent.

        Returns:
            uint8 [H, W, 3] each, at the image size; the image has 4 channels if the network's images do.
        """
        tiles = [colors(layer) for colors, layer in zip(self._colors, self._compute(number), strict=True)]
        one = self._latents[[number]]
        image = self._network.synthesize(one.ws, one.transform)[0]
        tiles.append(image.repeat(3, axis=2) if image.shape[2] == 1 else image)
        return [enlarge(tile, size_of(self._network.resolution).height // len(tile)) for tile in tiles]

    def sheet(self, rows: Sequence[tuple[str, list[Picture]]], columns: int, scale: int) -> Picture:
        """Lay out tiles with captions.

        Args:
            rows: caption and `tiles` of each row.
            columns: number of layers side by side.
            scale: integer enlargement factor.

        Returns:
            uint8 [H, W, 3], or 4 channels like the image.
        """
        names = [*self._feature_maps.names, "image"]
        blocks = []
        for start in range(0, len(names), columns):
            part = slice(start, start + columns)
            blank = [""] * (columns - len(names[part]) if start else 0)
            block = [(caption, [enlarge(tile, scale) for tile in tiles[part]]) for caption, tiles in rows]
            blocks.append(with_captions([*names[part], *blank], block))
        _, width, channels = np.max([block.shape for block in blocks], axis=0)  # captions differ in length
        missing = [((0, 0), (0, width - block.shape[1]), (0, channels - block.shape[2])) for block in blocks]
        white = [np.pad(block, pad, constant_values=255) for block, pad in zip(blocks, missing, strict=True)]
        return np.concatenate(white)

    def _compute(self, number: int) -> list[FloatArray]:
        transform = self._latents.transform
        return self._feature_maps(self._latents.ws[number], None if transform is None else transform[number])
