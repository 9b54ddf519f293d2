"""Averages the power spectra of many images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from sg3tf.generator import Generator
from sg3tf.images import to_uint8
from sg3tf.metrics.samples import Samples, uniform_classes
from sg3tf.metrics.spectra.spectrum import Spectrum, window

Images = NDArray[np.uint8]


def average(batches: Iterable[ArrayLike], settings: dict[str, Any]) -> Spectrum:
    """The average spectrum of images [N, R, R, C], at least one batch of them; summed in float64."""
    total: list[Any] = []
    values = 0
    for images in batches:
        images = tf.cast(images, tf.float64)
        sums = _sums(images, window(images.shape[1]))
        total = [a + b for a, b in zip(total, sums, strict=True)] if total else list(sums)
        values += images.shape[0] * images.shape[3]
    power, image, square = (part.numpy() / values for part in total)
    return Spectrum(power, image, float(square.mean()), settings)


@tf.function(reduce_retracing=True)
def _sums(images: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Sums over images and channels: power [2R, R + 1], pixels [R, R] and their squares [R, R]."""
    x = tf.transpose(images, [0, 3, 1, 2])
    spectra = tf.signal.rfft2d(x * weights, 2 * tf.shape(weights))
    parts = tf.square(tf.math.real(spectra)) + tf.square(tf.math.imag(spectra)), x, tf.square(x)
    return tuple(tf.reduce_sum(part, [0, 1]) for part in parts)


def of_data(dataset: Any, num_images: int, batch: int) -> Iterator[Images]:
    """Batches [N, R, R, C] of `num_images` images of a data set, spread evenly."""
    index = np.arange(num_images) * len(dataset) // num_images
    for start in range(0, num_images, batch):
        yield np.stack([dataset[int(i)][0] for i in index[start : start + batch]])


def of_network(G: Generator, num_images: int, seed: int, batch: int) -> Iterator[Images]:
    """Batches [N, R, R, C] of generated images, in 8 bits as data are; classes are drawn uniformly.

    Raises:
        FloatingPointError: images that are not finite.
    """
    label_dim = G.config.label_dim
    samples = Samples(num_images, G.config.z_dim, seed, uniform_classes(label_dim, seed) if label_dim else None)

    @tf.function(reduce_retracing=True)
    def generate(z: tf.Tensor, label: tf.Tensor | None) -> tf.Tensor:
        return G.synthesis(G.mapping(z, label))

    for start in range(0, num_images, batch):
        index = np.minimum(np.arange(start, start + batch), num_images - 1)  # all of one size, for one graph
        wanted = min(batch, num_images - start)
        images = generate(samples.latents(index), samples.label(index)).numpy()[:wanted]
        if not np.isfinite(images).all():
            raise FloatingPointError(f"images of samples {start} to {start + wanted - 1} are not finite")
        yield to_uint8(images)
