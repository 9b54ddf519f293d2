"""Class indices and label vectors, and the float32 rows that networks take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from sg3tf.data.errors import DataError

Label = int | tuple[float, ...] | None
Given = Label | str | tuple[str, ...]  #: as people write them: also the name of a class, or of several


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


def number_labels(
    rows: Sequence[tuple[str, Given]], where: str
) -> tuple[tuple[tuple[str, Label], ...], tuple[str, ...], tuple[str, ...]]:
    """Number classes from 0 in the order of their names, or of their own numbers if these have gaps.

    Args:
      rows: (image, label).
      where: the file that lists them, for errors.

    Returns:
      Entries (image, label), where several names become a vector of 0 and 1; names of the classes, () if they are
      numbered from 0 already; remarks for the summary of a build.

    Raises:
      DataError: some labels are names and others are not.

    Examples:
      >>> number_labels([("0.png", "dog"), ("1.png", "cat")], "dataset.json")[:2]
      ((('0.png', 1), ('1.png', 0)), ('cat', 'dog'))
      >>> number_labels([("0.png", ("red", "round")), ("1.png", ("red",))], "dataset.json")[0]
      (('0.png', (1.0, 1.0)), ('1.png', (1.0, 0.0)))
    """
    _require_all_or_none(rows, where)
    given = [label for _, label in rows if label is not None]
    named = [label for label in given if _names(label)]
    if named and len(named) < len(given):
        other = next(label for label in given if not _names(label))
        raise DataError(f"{where}: {named[0]!r} is the name of a class, {other!r} is not; use names for all or none")
    if named:
        classes = tuple(sorted({name for label in named for name in _names(label)}))
        number = {name: i for i, name in enumerate(classes)}
        if all(isinstance(label, str) for label in named):
            return tuple((image, number[_names(label)[0]]) for image, label in rows), classes, ()
        several: dict[Given, tuple[float, ...]] = {
            label: tuple(float(name in _names(label)) for name in classes) for label in set(named)
        }
        return tuple((image, several[label]) for image, label in rows), classes, ()
    entries = cast("tuple[tuple[str, Label], ...]", tuple(rows))
    numbers = sorted({label for label in given if isinstance(label, int)})
    if not numbers or numbers[0] < 0 or numbers[-1] == len(numbers) - 1:
        return entries, (), ()
    position = {number: i for i, number in enumerate(numbers)}
    remark = f"the {len(numbers)} class numbers from {numbers[0]} to {numbers[-1]} became 0 to {len(numbers) - 1}; "
    remark += "they are kept as the names of the classes"
    entries = tuple((image, position[label] if isinstance(label, int) else label) for image, label in entries)
    return entries, tuple(map(str, numbers)), (remark,)


def _names(label: Given) -> tuple[str, ...]:
    """Return the names of classes in a label; () for a label of another kind."""
    names = label if isinstance(label, tuple) else (label,)
    return tuple(name for name in names if isinstance(name, str))


def spec_of(entries: Sequence[tuple[str, Label]], where: str) -> LabelSpec:
    """Find the kind and width common to the labels of all `entries`, (image, label).

    Raises:
      DataError: one has no label, another kind or another width; the message names it.
    """
    if all(label is None for _, label in entries):
        return LabelSpec("none", 0)
    _require_all_or_none(entries, where)
    other, given = entries[0]
    for name, label in entries:
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


def _require_all_or_none(rows: Sequence[tuple[str, Given]], where: str) -> None:
    labeled, unlabeled = ([row for row in rows if (row[1] is None) == missing] for missing in (False, True))
    if labeled and unlabeled:
        other, given = labeled[0]
        raise DataError(f"{where}: {unlabeled[0][0]} has no label, {other} has {given!r}; label all images or none")


def _width(label: Label) -> int | None:
    """Return the length of a vector; None for a class."""
    return len(label) if isinstance(label, tuple) else None
