"""Random draws of a run, each a pure function of (seed, purpose, cur_nimg)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data import Dataset

_PURPOSES = {"G": 2, "D": 3, "show": 4}  # 0 and 1 are the data sampler's


class Draws:
    """Latents for whole batches, and labels drawn from the data.

    They are drawn for the global batch and then split, so that the number of replicas changes nothing.
    """

    def __init__(self, dataset: Dataset, batch: int, z_dim: int, seed: int) -> None:
        self.dataset, self.batch, self.z_dim, self.seed = dataset, batch, z_dim, seed

    def latents(self, purpose: str, cur_nimg: int, count: int | None = None) -> dict[str, NDArray[Any]]:
        """{"z": float32 [N, z_dim], "label": float32 [N, label_dim]} for `purpose` ("G", "D" or "show")."""
        philox = np.random.Philox(key=[self.seed, _PURPOSES[purpose]], counter=[0, 0, 0, cur_nimg])
        rng = np.random.Generator(philox)
        count = count or self.batch
        z = rng.standard_normal([count, self.z_dim], np.float32)
        label = np.zeros([count, self.dataset.label_dim], np.float32)
        if self.dataset.label_dim:
            label = np.stack([self.dataset.label(int(i)) for i in rng.integers(len(self.dataset), size=count)])
        return {"z": z, "label": label}
