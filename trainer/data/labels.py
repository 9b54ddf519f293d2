"""Class indices and label vectors, and the float32 rows that the networks see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.data.errors import DataError

Label = int | tuple[float, ...] | None


@dataclass(frozen=True)
class LabelSpec:
    """What the labels of a data set are: kind "none", "class" or "vector", and their width."""

    kind: str
    dim: int

    def row(self, label: Label, where: str) -> np.ndarray:
        """Returns `label` as float32 [dim], a class as one-hot; `where` names it in errors."""
        if self.kind == "none":
            return np.zeros(0, np.float32)
        if self.kind == "class":
            if not isinstance(label, int) or not 0 <= label < self.dim:
                raise DataError(f"{where}: class label {label!r} is not in 0..{self.dim - 1}")
            return (np.arange(self.dim) == label).astype(np.float32)
        if not isinstance(label, tuple) or len(label) != self.dim:
            raise DataError(f"{where}: label {label!r} is not a vector of {self.dim} numbers")
        return np.asarray(label, np.float32)


def spec_of(labels: Sequence[Label], where: str) -> LabelSpec:
    """Finds the kind and width common to all `labels`.

    Raises:
      DataError: they are of several kinds or widths, or some images have none.
    """
    kinds = {("none", 0) if x is None else _kind(x, where) for x in labels}
    if len(kinds) > 1:
        raise DataError(
            f"{where}: labels must be all class indices or all vectors of one length, "
            f"found {sorted(kinds)} (kind, length); give every image one kind of label"
        )
    if not kinds:
        return LabelSpec("none", 0)
    kind, dim = kinds.pop()
    if kind == "class":
        dim = 1 + max(x for x in labels if isinstance(x, int))
    return LabelSpec(kind, dim)


def _kind(label: int | tuple[float, ...], where: str) -> tuple[str, int]:
    if isinstance(label, tuple):
        return "vector", len(label)
    if label < 0:
        raise DataError(f"{where}: class label {label} is negative; classes count from 0")
    return "class", 0
