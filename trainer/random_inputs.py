"""Random inputs of a run, each a pure function of (seed, purpose, cur_nimg)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sg3tf.latents import z_from_seeds
from sg3tf.utils.rng import Purpose, generator
from trainer.augment.random_params import sample_params
from trainer.inputs import Labels, Latents, PseudoRealInputs

_LATENTS = {
    "G": Purpose.LATENTS_G,
    "D": Purpose.LATENTS_D,
    "PL": Purpose.LATENTS_PATH_LENGTH,
    "R2": Purpose.LATENTS_R2,
    "pseudo": Purpose.LATENTS_PSEUDO,
}
_STYLES = {
    "G": Purpose.STYLES_G,
    "D": Purpose.STYLES_D,
    "PL": Purpose.STYLES_PATH_LENGTH,
    "R2": Purpose.STYLES_R2,
    "pseudo": Purpose.STYLES_PSEUDO,
}
_AUGMENT = {
    "G": Purpose.AUGMENT_G,
    "D real": Purpose.AUGMENT_D_REAL,
    "D fake": Purpose.AUGMENT_D_FAKE,
    "R1": Purpose.AUGMENT_R1,
    "G real": Purpose.AUGMENT_G_REAL,
    "R2": Purpose.AUGMENT_R2,
    "validation": Purpose.AUGMENT_VALIDATION,
}


class LabelArray:
    """Labels of a batch.

    Args:
        values: float32 [N, label_dim].

    Examples:
        >>> LabelArray(np.eye(3, dtype=np.float32)).label(1)
        array([0., 1., 0.], dtype=float32)
    """

    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values, self.label_dim = values, values.shape[1]

    def __len__(self) -> int:
        return len(self._values)

    def label(self, i: int) -> NDArray[np.float32]:
        """Label [label_dim]."""
        return self._values[i]


class RandomInputs:
    """Latents for global batches, labels drawn from the data, and the parameters of the augmentation.

    They are drawn for the global batch and then split, so they do not depend on the number of replicas.

    Args:
        labels: data to draw the labels of generated images from, with the same frequencies.
        batch: images of a step.
        z_dim: width of the latents.
        seed: seed of the run.
        style_mixing: share of images with the styles of two latents.
        num_ws: style vectors of an image.
        noise: True: draw seeds for the noise that the generator adds.

    Examples:
        >>> inputs = RandomInputs(LabelArray(np.eye(3, dtype=np.float32)), batch=8, z_dim=512, seed=0)
        >>> latents = inputs.latents("G", cur_nimg=64)
        >>> latents.z.shape, latents.label.shape
        ((8, 512), (8, 3))
    """

    def __init__(
        self,
        labels: Labels,
        batch: int,
        z_dim: int,
        seed: int,
        *,
        style_mixing: float = 0.0,
        num_ws: int = 1,
        noise: bool = False,
    ) -> None:
        self.labels, self.batch, self.z_dim, self.seed = labels, batch, z_dim, seed
        self.style_mixing, self.num_ws, self.noise = style_mixing, num_ws, noise

    def latents(self, purpose: str, cur_nimg: int, count: int | None = None) -> Latents:
        """Return the generator's inputs.

        Args:
            purpose: key of _LATENTS.
            cur_nimg: images that the run has seen.
            count: number of latents; default: the batch.
        """
        rng, count = generator(self.seed, _LATENTS[purpose], cur_nimg), count or self.batch
        z = rng.standard_normal([count, self.z_dim], np.float32)
        label = self._labels(rng, count)
        mix_z = mix_from = noise = None
        rng = generator(self.seed, _STYLES[purpose], cur_nimg)
        if self.style_mixing:
            mixed = rng.random(count) < self.style_mixing
            mix_z = rng.standard_normal([count, self.z_dim], np.float32)
            crossover = rng.integers(1, self.num_ws, size=count)
            mix_from = np.where(mixed, crossover, self.num_ws).astype(np.int32)
        if self.noise:
            noise = _seeds(rng, count)
        return Latents(z, label, mix_z, mix_from, noise)

    def grid(self, count: int) -> Latents:
        """Return the inputs for image grids, with the z of seeds 0 to count - 1 in all runs, without mixing and noise.

        Labels are drawn from the data and are the same for all grids of a run.
        """
        label = self._labels(generator(self.seed, Purpose.LATENTS_GRID), count)
        return Latents(z_from_seeds(range(count), self.z_dim), label)

    def _labels(self, rng: np.random.Generator, count: int) -> NDArray[np.float32]:
        """Labels [N, label_dim] of random examples."""
        if not self.labels.label_dim:
            return np.zeros([count, 0], np.float32)
        indices = rng.integers(len(self.labels), size=count)
        return np.stack([self.labels.label(int(i)) for i in indices])

    def directions(self, cur_nimg: int, count: int) -> NDArray[np.int32]:
        """Return seeds for the random images of path length regularization, int32 [N, 2]."""
        return _seeds(generator(self.seed, Purpose.PATH_LENGTH_DIRECTIONS, cur_nimg), count)

    def pseudo_real(self, cur_nimg: int, p: float) -> PseudoRealInputs:
        """Return inputs of images that replace real ones with probability `p`; the same in all phases of a step."""
        replaced = generator(self.seed, Purpose.PSEUDO_REPLACED, cur_nimg).random(self.batch) < p
        return PseudoRealInputs(self.latents("pseudo", cur_nimg), replaced)

    def augmentation(self, purpose: str, cur_nimg: int) -> NDArray[np.float32]:
        """Return parameters of the augmentation for a key of _AUGMENT, such as "D real"."""
        return sample_params(generator(self.seed, _AUGMENT[purpose], cur_nimg), self.batch)


def _seeds(rng: np.random.Generator, count: int) -> NDArray[np.int32]:
    return rng.integers(-(2**31), 2**31, size=[count, 2]).astype(np.int32)
