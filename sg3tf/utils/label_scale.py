"""Scale of standardized labels, to convert from the original numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class LabelScale:
    """Means and standard deviations of labels before `sg3tf data build --standardize`.

    Attributes:
        mean, std: one value per label component.

    Examples:
        >>> scale = LabelScale(mean=(40.0, 5.0), std=(10.0, 0.0))
        >>> scale.standardize([[30, 5]]).tolist()
        [[-1.0, 0.0]]
        >>> str(scale)
        'means 40, 5, standard deviations 10, 0'
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_json(cls, value: Any) -> LabelScale | None:
        """Return the scale from {"mean": [...], "std": [...]}; None for anything else."""
        try:
            scale = cls(*(tuple(map(float, value[name])) for name in ("mean", "std")))
        except (LookupError, TypeError, ValueError):
            return None
        is_whole = len(scale.mean) == len(scale.std) > 0 and np.isfinite([scale.mean, scale.std]).all()
        return scale if is_whole else None

    def to_json(self) -> dict[str, Sequence[float]]:
        """Return the argument for `from_json`."""
        return asdict(self)

    def standardize(self, numbers: ArrayLike) -> NDArray[np.float64]:
        """Standardize numbers [..., label_dim] like the data set, in which constant components become 0."""
        std = np.asarray(self.std, np.float64)
        return (np.asarray(numbers, np.float64) - np.asarray(self.mean)) / np.where(std > 0, std, 1)

    def __str__(self) -> str:
        means, stds = (", ".join(f"{number:.4g}" for number in row) for row in (self.mean, self.std))
        return f"means {means}, standard deviations {stds}"


def labels_of_width(
    dim: int, classes: Sequence[str], scale: LabelScale | None
) -> tuple[tuple[str, ...], LabelScale | None]:
    """Return class names and label scale, without those of labels of another width than `dim`.

    Both are looked up in folders above a network, where they may belong to another one.

    Examples:
        >>> labels_of_width(2, ("tabby", "manx"), LabelScale(mean=(40.0,), std=(10.0,)))
        (('tabby', 'manx'), None)
    """
    fits = scale is not None and len(scale.mean) == dim
    return tuple(classes) if len(classes) == dim else (), scale if fits else None
