"""A generator to draw with, wherever it is: in a .keras file or run folder, in a SavedModel, on a server."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sg3tf import latents
from sg3tf.models.generators import Generator

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What fits a network; label_dim is 0 without labels, and `supports_transform` says whether images can be moved and turned."""

    z_dim: int
    w_dim: int
    num_ws: int
    label_dim: int
    resolution: int
    channels: int
    supports_transform: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network(Sizes):
    """Latents to style vectors to images, for all kinds of networks alike.

    Every image is a function of its own latents alone, to the last bit: docs/generate.md.

    Attributes:
        name: what it was opened with.
        batch: images that are computed at a time.
        mapping: (z [N, z_dim], label [N, label_dim] or None) -> style vectors [N, num_ws, w_dim], not truncated.
        average: () -> the average style vector [w_dim].
        synthesis: (ws, transform [N, 3, 3] or None) -> uint8 [N, resolution, resolution, channels].
        identity: () -> a text that tells networks of different weights apart.
        model: the Keras model, where there is one.
    """

    name: str
    batch: int
    mapping: Callable[[FloatArray, FloatArray | None], FloatArray]
    average: Callable[[], FloatArray]
    synthesis: Callable[[FloatArray, FloatArray | None], ByteArray]
    identity: Callable[[], str]
    model: Generator | None = None

    @cached_property
    def w_avg(self) -> FloatArray:
        """float32 [w_dim], the average style vector, which truncation leads to."""
        return self.average()

    @property
    def generator(self) -> Generator:
        """The Keras model; ValueError where there is none here."""
        if self.model is None:
            raise ValueError(f"network={self.name}: its layers are out of reach; give a .keras file or a run folder")
        return self.model

    def map(
        self, z: ArrayLike, psi: ArrayLike = 1.0, cutoff: int | None = None, label: ArrayLike | None = None
    ) -> FloatArray:
        """Style vectors.

        Args:
            z: [N, z_dim].
            psi, cutoff: truncation, as of sg3tf.latents.truncate.
            label: [label_dim] for all or [N, label_dim]; needed by a network with labels, refused by one without.

        Returns:
            float32 [N, num_ws, w_dim].

        Raises:
            ValueError: shapes that do not fit the network.
            OSError: no answer from the server.
        """
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z of shape {z.shape}: give [N, {self.z_dim}]")
        ws = self._in_batches(self.mapping, z, self._labels(label, len(z)))
        return latents.truncate(np.stack([*ws]) if len(z) else self._no_ws(), self.w_avg, psi, cutoff)

    def images(self, ws: ArrayLike, transform: ArrayLike | None = None) -> Iterator[ByteArray]:
        """Images one by one, computed `batch` at a time as they are asked for; arguments as of `synthesize`."""
        ws = np.asarray(ws, np.float32)
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws of shape {ws.shape}: network={self.name} takes [N, {self.num_ws}, {self.w_dim}]")
        if transform is not None:
            self.require_transform()
            transform = np.asarray(np.broadcast_to(np.asarray(transform, np.float32), [len(ws), 3, 3]))
        return self._in_batches(self.synthesis, ws, transform)

    def synthesize(self, ws: ArrayLike, transform: ArrayLike | None = None) -> ByteArray:
        """Images.

        Args:
            ws: [N, num_ws, w_dim].
            transform: inverse transform of the image, [3, 3] or [N, 3, 3], in units of the image width; None for none.

        Returns:
            uint8 [N, resolution, resolution, channels].

        Raises:
            ValueError: shapes that do not fit the network, or a transform of one that cannot be moved.
            OSError: no answer from the server.
        """
        images = [*self.images(ws, transform)]
        return np.stack(images) if images else np.zeros([0, self.resolution, self.resolution, self.channels], np.uint8)

    def require_transform(self) -> None:
        """Raises ValueError where images cannot be moved."""
        if not self.supports_transform:
            raise ValueError(f"network={self.name}: StyleGAN2 cannot be moved; leave out what rotates and translates")

    def _in_batches(
        self, function: Callable[..., NDArray[Any]], inputs: NDArray[Any], optional: NDArray[Any] | None
    ) -> Iterator[NDArray[Any]]:
        """Rows of function(inputs, optional), computed `batch` at a time."""
        for start in range(0, len(inputs), self.batch):
            part = slice(start, start + self.batch)
            yield from function(inputs[part], None if optional is None else optional[part])

    def _no_ws(self) -> FloatArray:
        return np.zeros([0, self.num_ws, self.w_dim], np.float32)

    def _labels(self, label: ArrayLike | None, count: int) -> FloatArray | None:
        if label is None and not self.label_dim:
            return None
        shape = None if label is None else np.shape(label)
        if not self.label_dim or shape not in ((self.label_dim,), (count, self.label_dim)):
            remedy = f"give [{self.label_dim}] or [{count}, {self.label_dim}]" if self.label_dim else "leave it out"
            raise ValueError(f"label of shape {shape}: {remedy}, as network={self.name} has {self.label_dim} classes")
        return np.asarray(np.broadcast_to(np.asarray(label, np.float32), [count, self.label_dim]))


def open_network(text: str, batch: int | None = None) -> Network:
    """The network that `text` names.

    Args:
        text: a .keras file, checkpoint folder or run folder; a SavedModel's folder, or that of its versions, of which
            the newest is taken; or grpc://HOST:PORT/MODEL, a model on a server.
        batch: images at a time; None for 8, or fewer where the memory is short.

    Raises:
        OSError: nothing there, or no answer.
        ValueError: something else is there.
    """
    # One of the three ways, and only what it needs.
    if text.startswith("grpc://"):
        from sg3tf.generate.exported_network import served_network

        return served_network(text, batch)
    from sg3tf.generate.exported_network import saved_network, version_folder

    if folder := version_folder(Path(text)):
        return saved_network(folder, text, batch)
    from sg3tf.generate.keras_network import keras_network
    from sg3tf.models.loading import load

    return keras_network(load(text), text, batch)


# ---------------------------------------------------------------------------------------------------------------------
# Style vectors of random latents, and their statistics.
# ---------------------------------------------------------------------------------------------------------------------

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
