"""Random draws of a run, each a pure function of (seed, purpose, cur_nimg)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.data.dataset import Dataset
from sg3tf.utils.rng import Purpose, generator
from trainer.augment.random_params import sample_params

Arrays = dict[str, NDArray[Any]]

_LATENTS = {
    "G": Purpose.LATENTS_G,
    "D": Purpose.LATENTS_D,
    "PL": Purpose.LATENTS_PATH_LENGTH,
    "grid": Purpose.LATENTS_GRID,
}
_STYLES = {"G": Purpose.STYLES_G, "D": Purpose.STYLES_D, "PL": Purpose.STYLES_PATH_LENGTH}
_AUGMENT = {
    "G": Purpose.AUGMENT_G,
    "D real": Purpose.AUGMENT_D_REAL,
    "D fake": Purpose.AUGMENT_D_FAKE,
    "R1": Purpose.AUGMENT_R1,
    "validation": Purpose.AUGMENT_VALIDATION,
}


class RandomInputs:
    """Latents for whole batches, labels drawn from the data, and the numbers that augmentation needs.

    They are drawn for the global batch and then split, so that the number of replicas changes nothing.

    Args:
        dataset: whose labels the generator is asked for.
        batch: images of a step.
        z_dim: width of the latents.
        seed: of the run.
        style_mixing: share of images that get the styles of two latents.
        num_ws: style vectors of an image.
        noise: whether the generator adds noise.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch: int,
        z_dim: int,
        seed: int,
        *,
        style_mixing: float = 0.0,
        num_ws: int = 1,
        noise: bool = False,
    ) -> None:
        self.dataset, self.batch, self.z_dim, self.seed = dataset, batch, z_dim, seed
        self.style_mixing, self.num_ws, self.noise = style_mixing, num_ws, noise

    def latents(self, purpose: str, cur_nimg: int, count: int | None = None) -> Arrays:
        """What the generator makes images of for `purpose` ("G", "D", "PL" or "grid").

        Returns:
            z float32 [N, z_dim], label float32 [N, label_dim]; with style mixing (not for the grid) mix_z like z and
            mix_from int32 [N], the first style vector that is not of z; with noise, noise int32 [N, 2], seeds.
        """
        rng, count = generator(self.seed, _LATENTS[purpose], cur_nimg), count or self.batch
        drawn: Arrays = {"z": rng.standard_normal([count, self.z_dim], np.float32)}
        drawn["label"] = np.zeros([count, self.dataset.label_dim], np.float32)
        if self.dataset.label_dim:
            indices = rng.integers(len(self.dataset), size=count)
            drawn["label"] = np.stack([self.dataset.label(int(i)) for i in indices])
        if purpose == "grid":
            return drawn
        styles_rng = generator(self.seed, _STYLES[purpose], cur_nimg)
        if self.style_mixing:
            mixed = styles_rng.random(count) < self.style_mixing
            drawn["mix_z"] = styles_rng.standard_normal([count, self.z_dim], np.float32)
            crossover = styles_rng.integers(1, self.num_ws, size=count)
            drawn["mix_from"] = np.where(mixed, crossover, self.num_ws).astype(np.int32)
        if self.noise:
            drawn["noise"] = _seeds(styles_rng, count)
        return drawn

    def directions(self, cur_nimg: int, count: int) -> NDArray[np.int32]:
        """int32 [N, 2]: seeds of the random images of path length regularisation."""
        return _seeds(generator(self.seed, Purpose.PATH_LENGTH_DIRECTIONS, cur_nimg), count)

    def augmentation(self, purpose: str, cur_nimg: int) -> NDArray[np.float32]:
        """Numbers that say what happens to each image, for "G", "D real", "D fake", "R1" or "validation"."""
        return sample_params(generator(self.seed, _AUGMENT[purpose], cur_nimg), self.batch)


def _seeds(rng: np.random.Generator, count: int) -> NDArray[np.int32]:
    return rng.integers(-(2**31), 2**31, size=[count, 2]).astype(np.int32)
