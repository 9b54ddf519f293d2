"""Texture sticking: images around a latent, and the detail that stays in place (arXiv 2106.12423, figure 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.latents import slerp, transform_matrix, z_from_seeds
from sg3tf.metrics.equivariance import LANCZOS_LOBES, MAX_TRANSLATION, stack_params, translate, translation_params_for
from sg3tf.metrics.samples import Index, uniform_classes
from sg3tf.metrics.spectra import radial_average, window
from sg3tf.utils.resolution import Size, size_of

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]


# --- The average of similar images ------------------------------------------------------------------------------------


class AverageImage(NamedTuple):
    """Average of similar images.

    Attributes:
        image: float64 [H, W, C].
        frequency: [K] in cycles per pixel.
        fixed_share: [K], the share of power at each frequency that has the same phase in all images, and so stays in
            place: 1 if they are equal, 0 if they are unrelated.

    Examples:
        >>> image = np.random.default_rng(0).normal(size=[1, 16, 16, 3]).astype(np.float32)
        >>> average = average_images([np.repeat(image, 4, axis=0)])
        >>> average.image.shape, float(average.fixed_share.min().round(3))
        ((16, 16, 3), 1.0)
    """

    image: Array
    frequency: Array
    fixed_share: Array


def average_images(batches: Iterable[FloatArray]) -> AverageImage:
    """Average at least two images, in batches [N, H, W, C].

    For the spectra F_i of the windowed images, the fixed share is the sum of conj(F_i) F_j over all i != j, divided by
    its maximum. Excluding i = j makes its mean 0 for independent images, however few there are.
    """
    count = 0
    image = np.zeros([1, 1, 1])
    spectrum = np.zeros([1, 1, 1])
    power = np.zeros([1, 1, 1])
    for batch in batches:
        images = np.asarray(batch, np.float64)
        side = max(images.shape[1:3])  # of the zero-padded square
        weights = window(Size(images.shape[2], images.shape[1]))
        spectra = scipy.fft.fft2(images * weights[..., None], s=(side, side), axes=(1, 2))
        count += len(images)
        image = image + images.sum(0)
        spectrum = spectrum + spectra.sum(0)
        power = power + np.sum(np.abs(spectra) ** 2, axis=0)
    size = max(image.shape[:2])
    pairs = np.sum(np.abs(spectrum) ** 2 - power, axis=-1) / (count - 1)
    frequency, fixed_power = radial_average(pairs, size)
    _, total_power = radial_average(power.sum(-1), size)
    return AverageImage(image / count, frequency, fixed_power / np.maximum(total_power, np.finfo(float).tiny))


# --- Images around one latent -----------------------------------------------------------------------------------------

_NUM_SPREAD_LATENTS = 256  # to estimate the standard deviation of w
_NEIGHBOR, _SPREAD, _SHIFT = range(3)  # purposes of random numbers


class Views:
    """Generated images around a seed's latent: neighbors in w, an interpolation, and translations of the input.

    Args:
        G: the generator.
        seed: seed of the latent, as for sg3tf.generate, and of all random numbers.
        psi: truncation; 0 for the average latent.
        batch: batch size.
        label: float32 [label_dim] of all images; None for a class drawn with the seed, if the network has classes.

    Examples:
        >>> import sg3tf
        >>> size = {"resolution": 16, "channel_base": 128, "channel_max": 8, "num_layers": 4, "num_critical": 1}
        >>> G = sg3tf.Generator.from_preset("stylegan3-t", **size)
        >>> views = Views(G, seed=0, psi=0.7, batch=4)
        >>> [images.shape for images in views.neighbors(6, radius=0.1)]
        [(4, 16, 16, 3), (2, 16, 16, 3)]
    """

    def __init__(self, G: Any, seed: int, psi: float, batch: int, label: FloatArray | None = None) -> None:
        self.G = G
        self.seed = seed
        self.batch = batch
        self.psi = psi
        label_dim = G.config.label_dim
        self.label = uniform_classes(label_dim, seed)(0) if label is None and label_dim else label
        self.center = self._ws(z_from_seeds([seed], G.config.z_dim), psi)
        self._synthesis = tf.function(
            lambda ws, transform: G.synthesis(ws, transform=transform), autograph=False, reduce_retracing=True
        )

    def image(self) -> FloatArray:
        """The central image, float32 [H, W, C]."""
        return next(self._images(1, lambda index: (self.center, None)))[0]

    def neighbors(self, count: int, radius: float) -> Iterator[FloatArray]:
        """Yield batches of images whose w differs from the center by isotropic Gaussian noise.

        Args:
            count: total number of images.
            radius: standard deviation of the noise, relative to that of w over random latents, per component.
        """
        z = self._rng(_SPREAD).standard_normal([_NUM_SPREAD_LATENTS, self.G.config.z_dim])
        w = self._ws(z, psi=1.0)[:, 0]
        sigma = radius * np.sqrt(np.mean(np.square(w - w.mean(axis=0))))
        noise = self._rng(_NEIGHBOR).standard_normal([count, 1, self.G.config.w_dim])
        return self._images(count, lambda index: (self.center + sigma * noise[index], None))

    def interpolation(self, frames: int) -> Iterator[FloatArray]:
        """Yield batches of images on the path to the next seed, at constant angular speed in z."""
        start, end = z_from_seeds([self.seed, self.seed + 1], self.G.config.z_dim)
        ws = self._ws(slerp(start, end, np.linspace(0, 1, frames)), self.psi)
        return self._images(frames, lambda index: (ws[index], None))

    def translations(self, count: int) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        """Yield the central image with the generator's input translated by up to 1/8 of the width and height.

        Yields:
            Batches [N, H, W, C] as generated, the same images translated back, and a mask of the latter's valid pixels,
            [N, H, W, 1].
        """
        size = np.array(size_of(self.G.config.resolution))
        width = int(size[0])
        shifts = self._rng(_SHIFT).uniform(-size * MAX_TRANSLATION, size * MAX_TRANSLATION, [count, 2])

        def inputs(index: Index) -> tuple[FloatArray, FloatArray]:
            transforms = [transform_matrix(0.0, *(shift / width)) for shift in shifts[index]]
            return np.repeat(self.center, len(index), axis=0), np.stack(transforms)

        start = 0
        for images in self._images(count, inputs):
            batch = shifts[start : start + len(images)]
            start += len(images)
            params = [translation_params_for(-shift, width, LANCZOS_LOBES) for shift in batch]
            returned, mask = translate(images, stack_params(params))
            yield images, returned.numpy(), mask.numpy()

    def _ws(self, z: NDArray[Any], psi: float) -> FloatArray:
        label = None if self.label is None else np.tile(self.label, [len(z), 1])
        return self.G.mapping(tf.cast(z, tf.float32), label, truncation_psi=psi).numpy()

    def _images(
        self, count: int, inputs: Callable[[Index], tuple[NDArray[Any], FloatArray | None]]
    ) -> Iterator[FloatArray]:
        """Yield batches of images for inputs(positions) -> (ws, transform or None)."""
        for start in range(0, count, self.batch):
            index = np.arange(start, min(start + self.batch, count))
            ws, transform = inputs(index)
            images = self._synthesis(tf.cast(ws, tf.float32), transform).numpy()
            if not np.isfinite(images).all():
                raise FloatingPointError("images are not finite; use another network")
            yield images

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose])
