"""Class indices and label vectors, and the float32 rows that networks take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sg3tf.data.errors import DataError

Label = int | tuple[float, ...] | None


@dataclass(frozen=True)
class LabelSpec:
    """Kind of a data set's labels, "none", "class" or "vector", and their width.

    Examples:
      >>> LabelSpec("class", dim=3).row(1, where="faces/0.png")
      array([0., 1., 0.], dtype=float32)
    """

    kind: str
    dim: int

    def row(self, label: Label, where: str) -> np.ndarray:
        """Return `label` as float32 [dim], a class as one-hot; `where` names it in errors."""
        if self.kind == "none":
            return np.zeros(0, np.float32)
        if label is None:
            raise DataError(f"{where}: the label is missing; the other images have a {self.kind} label")
        if self.kind == "class":
            if not isinstance(label, int) or not 0 <= label < self.dim:
                raise DataError(f"{where}: class label {label!r} is not in 0..{self.dim - 1}")
            return (np.arange(self.dim) == label).astype(np.float32)
        if not isinstance(label, tuple) or len(label) != self.dim or not np.isfinite(label).all():
            raise DataError(f"{where}: label {label!r} is not a vector of {self.dim} finite numbers")
        return np.asarray(label, np.float32)


def spec_of(entries: Sequence[tuple[str, Label]], where: str) -> LabelSpec:
    """Find the kind and width common to the labels of all `entries`, (image, label).

    Raises:
      DataError: one has no label, another kind or another width; the message names it.
    """
    if all(label is None for _, label in entries):
        return LabelSpec("none", 0)
    other, given = next((name, label) for name, label in entries if label is not None)
    for name, label in entries:
        if label is None:
            raise DataError(f"{where}: {name} has no label, {other} has {given!r}; label all images or none")
        if _width(label) != _width(given):
            raise DataError(
                f"{where}: {name} has the label {label!r}, {other} has {given!r}; "
                "labels must be all class indices or all vectors of one length"
            )
        if isinstance(label, int) and label < 0:
            raise DataError(f"{where}: {name} has the class label {label}; classes count from 0")
    if isinstance(given, tuple):
        return LabelSpec("vector", len(given))
    return LabelSpec("class", 1 + max(label for _, label in entries if isinstance(label, int)))


def _width(label: Label) -> int | None:
    """Return the length of a vector; None for a class."""
    return len(label) if isinstance(label, tuple) else None
