"""Images of one generator around one latent: its neighbours in w, an interpolation, and motions of the input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf import latents
from sg3tf.generator import Generator
from sg3tf.metrics import translation
from sg3tf.metrics.samples import uniform_classes

FloatArray = NDArray[np.float32]

_SPREAD_OF = 256  # latents that say how far w varies
_NEIGHBOUR, _SPREAD, _SHIFT = range(3)  # what random numbers are for


class Views:
    """Images of a generator around the latent of a seed.

    Args:
        G: the generator, of either kind.
        seed: of the latent, as in sg3tf.generate, of the class where there are classes, and of all that is random.
        psi: truncation; 0 for the average latent.
        batch: images at a time.
    """

    def __init__(self, G: Generator, seed: int, psi: float, batch: int) -> None:
        self.G = G
        self.seed = seed
        self.batch = batch
        self.psi = psi
        self.centre = self._ws(latents.z_from_seeds([seed], G.config.z_dim), psi)
        self._synthesis = tf.function(G.synthesis, reduce_retracing=True)

    @property
    def movable(self) -> bool:
        """Whether the generator has an input that can be moved."""
        return self.G.config.fourier_input

    def image(self) -> FloatArray:
        """float32 [R, R, C], the image in the middle."""
        return next(self._images(1, lambda i: (self.centre,)))[0]

    def neighbours(self, count: int, radius: float) -> Iterator[FloatArray]:
        """Batches of images whose w differ from the centre by isotropic Gaussian noise.

        Args:
            count: how many in all.
            radius: standard deviation of the noise over that of the w of random latents, per component.
        """
        z = self._rng(_SPREAD).standard_normal([_SPREAD_OF, self.G.config.z_dim])
        w = self._ws(z, psi=1.0)[:, 0]
        sigma = radius * np.sqrt(np.mean(np.square(w - w.mean(axis=0))))
        noise = self._rng(_NEIGHBOUR).standard_normal([count, 1, self.G.config.w_dim])
        return self._images(count, lambda i: (self.centre + sigma * noise[i],))

    def interpolation(self, frames: int) -> Iterator[FloatArray]:
        """Batches of the images on the way to the next seed, at constant angular speed in z."""
        here, there = latents.z_from_seeds([self.seed, self.seed + 1], self.G.config.z_dim)
        ws = self._ws(latents.slerp(here, there, np.linspace(0, 1, frames)), self.psi)
        return self._images(frames, lambda i: (ws[i],))

    def motions(self, count: int) -> Iterator[tuple[FloatArray, FloatArray, FloatArray]]:
        """The central image while the generator's input is translated by up to 1/8 of the width along x and y.

        Yields:
            Batches [N, R, R, C] as generated, the same moved back, and [N, R, R, 1], 1 where the latter are right.
        """
        size = self.G.config.resolution
        shifts = self._rng(_SHIFT).uniform(-size * translation.LONGEST, size * translation.LONGEST, [count, 2])

        def moved(index: NDArray[np.int64]) -> tuple[Any, ...]:
            there = [translation.at(shift, size, translation.LOBES)["transform"] for shift in shifts[index]]
            return np.repeat(self.centre, len(index), axis=0), np.stack(there)

        start = 0
        for images in self._images(count, moved):
            back = [translation.at(-shift, size, translation.LOBES) for shift in shifts[start : start + len(images)]]
            start += len(images)
            returned, mask = translation.translate(
                images, {name: np.stack([b[name] for b in back]) for name in back[0]}
            )
            yield images, returned.numpy(), mask.numpy()

    def _ws(self, z: NDArray[Any], psi: float) -> FloatArray:
        label_dim = self.G.config.label_dim
        label = np.tile(uniform_classes(label_dim, self.seed)(0), [len(z), 1]) if label_dim else None
        return self.G.mapping(tf.cast(z, tf.float32), label, truncation_psi=psi).numpy()

    def _images(self, count: int, inputs: Callable[[NDArray[np.int64]], tuple[Any, ...]]) -> Iterator[FloatArray]:
        """Batches of the images that synthesis makes of inputs(positions)."""
        for start in range(0, count, self.batch):
            index = np.arange(start, min(start + self.batch, count))
            images = self._synthesis(*(tf.cast(value, tf.float32) for value in inputs(index))).numpy()
            if not np.isfinite(images).all():
                raise FloatingPointError("images are not finite; use another network")
            yield images

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose])
