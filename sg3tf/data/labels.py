"""Class indices and label vectors, and their conversion to float32 rows for networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from sg3tf.data.errors import DataError
from sg3tf.utils.label_scale import LabelScale

Label = int | tuple[float, ...] | None
RawLabel = Label | str | tuple[str, ...]  #: as users write them: also one or several class names


@dataclass(frozen=True)
class LabelSpec:
    """Kind of a data set's labels, "none", "class" or "vector", and their width.

    Attributes:
        kind, dim: kind and width.
        optional: labels may be missing; missing labels are all zeros.

    Examples:
        >>> LabelSpec("class", dim=3).row(1, where="faces/0.png")
        array([0., 1., 0.], dtype=float32)
    """

    kind: str
    dim: int
    optional: bool = False

    def row(self, label: Label, where: str) -> np.ndarray:
        """Return `label` as float32 [dim], one-hot for a class; `where` names it in errors."""
        if self.kind == "none":
            return np.zeros(0, np.float32)
        if label is None:
            if self.optional:
                return np.zeros(self.dim, np.float32)
            raise DataError(f"{where}: the label is missing; the other images have a {self.kind} label")
        if self.kind == "class":
            if not isinstance(label, int) or not 0 <= label < self.dim:
                raise DataError(f"{where}: class label {label!r} is not in 0..{self.dim - 1}")
            return (np.arange(self.dim) == label).astype(np.float32)
        if not isinstance(label, tuple) or len(label) != self.dim or not np.isfinite(label).all():
            raise DataError(f"{where}: label {label!r} is not a vector of {self.dim} finite numbers")
        return np.asarray(label, np.float32)


NO_CLASS = -1  #: class of an image without a label, in arrays
MISSING_LABELS_REMEDY = "label all images or none, or use sg3tf data build with --missing_labels or --nolabels"


def number_labels(
    rows: Sequence[tuple[str, RawLabel]], where: str, optional: bool = False
) -> tuple[tuple[tuple[str, Label], ...], tuple[str, ...], tuple[str, ...]]:
    """Number classes from 0, in the order of their names, or of their numbers if these have gaps.

    Args:
        rows: (image, label) pairs.
        where: the file that lists them, for errors.
        optional: labels may be missing.

    Returns:
        Entries (image, label), in which several names become a vector of 0 and 1; class names, () if classes are
        already numbered from 0 and there are several; remarks for the summary of a build.

    Raises:
        DataError: only some labels are names.

    Examples:
        >>> number_labels([("0.png", "dog"), ("1.png", "cat")], "dataset.json")[:2]
        ((('0.png', 1), ('1.png', 0)), ('cat', 'dog'))
        >>> number_labels([("0.png", ("red", "round")), ("1.png", ("red",))], "dataset.json")[0]
        (('0.png', (1.0, 1.0)), ('1.png', (1.0, 0.0)))
    """
    if not optional:
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
            numbered = tuple((image, number[label] if isinstance(label, str) else None) for image, label in rows)
            return numbered, classes, ()
        several: dict[RawLabel, tuple[float, ...] | None] = {None: None} | {
            label: tuple(float(name in _names(label)) for name in classes) for label in set(named)
        }
        return tuple((image, several[label]) for image, label in rows), classes, ()
    entries = cast("tuple[tuple[str, Label], ...]", tuple(rows))
    numbers = sorted({label for label in given if isinstance(label, int)})
    if numbers == [0]:
        return entries, ("0",), ()  # the name tells class 0 from a label of one number
    if not numbers or numbers[0] < 0 or numbers[-1] == len(numbers) - 1:
        return entries, (), ()
    position = {number: i for i, number in enumerate(numbers)}
    remark = f"the {len(numbers)} class numbers from {numbers[0]} to {numbers[-1]} became 0 to {len(numbers) - 1}; "
    remark += "they are kept as the names of the classes"
    entries = tuple((image, position[label] if isinstance(label, int) else label) for image, label in entries)
    return entries, tuple(map(str, numbers)), (remark,)


def original_numbers(classes: Sequence[str], width: int) -> tuple[int, ...]:
    """Return the numbers that classes had before `number_labels` renumbered them; () if names are not such numbers.

    Each must be below `width`, and written as Python writes it, so that no two names have the same number.

    Examples:
        >>> original_numbers(("1", "2", "4"), width=5)
        (1, 2, 4)
        >>> original_numbers(("cat", "dog"), width=5)
        ()
    """
    known = {str(number): number for number in range(width)}
    return tuple(known[name] for name in classes) if set(classes) <= set(known) else ()


def _names(label: RawLabel) -> tuple[str, ...]:
    """Return the class names in a label; () if it has none."""
    names = label if isinstance(label, tuple) else (label,)
    return tuple(name for name in names if isinstance(name, str))


def infer_label_spec(entries: Sequence[tuple[str, Label]], where: str, optional: bool = False) -> LabelSpec:
    """Return the kind and width of the labels of all `entries`.

    Args:
        entries: (image, label) pairs.
        where: the file that lists them, for errors.
        optional: labels may be missing.

    Raises:
        DataError: a label is missing (unless optional), not finite, or differs in kind or width; the message names it.
    """
    labeled = [entry for entry in entries if entry[1] is not None]
    if not labeled:
        return LabelSpec("none", 0)
    if not optional:
        _require_all_or_none(entries, where)
    other, given = labeled[0]
    for name, label in labeled:
        if _width(label) != _width(given):
            raise DataError(
                f"{where}: {name} has the label {label!r}, {other} has {given!r}; "
                "labels must be all class indices or all vectors of one length"
            )
        if isinstance(label, tuple) and not all(map(math.isfinite, label)):
            raise DataError(f"{where}: {name} has the label {label!r}; labels must be finite numbers, correct it")
        if isinstance(label, int) and label < 0:
            raise DataError(f"{where}: {name} has the class label {label}; classes count from 0")
    if isinstance(given, tuple):
        return LabelSpec("vector", len(given), optional)
    return LabelSpec("class", 1 + max(label for _, label in labeled if isinstance(label, int)), optional)


def standardize(entries: Sequence[tuple[str, Label]], where: str) -> tuple[tuple[tuple[str, Label], ...], LabelScale]:
    """Standardize each component of the labels to mean 0 and standard deviation 1; constant components become 0.

    Args:
        entries: (image, label) pairs; labels are vectors of finite numbers, or None.
        where: the source, for errors.

    Returns:
        The standardized entries, and the scale of the original labels.

    Raises:
        DataError: the labels are classes, or all are None.

    Examples:
        >>> standardize([("0.png", (30.0,)), ("1.png", (50.0,)), ("2.png", None)], "ages")
        ((('0.png', (-1.0,)), ('1.png', (1.0,)), ('2.png', None)), LabelScale(mean=(40.0,), std=(10.0,)))
    """
    vectors = [label for _, label in entries if isinstance(label, tuple)]
    if len(vectors) < sum(label is not None for _, label in entries):
        raise DataError(f"{where}: --standardize is for labels that are numbers, these are classes; leave it out")
    if not vectors:
        raise DataError(f"{where}: --standardize needs labels that are numbers, there are none; leave it out")
    numbers = np.array(vectors, np.float64)
    constant = np.ptp(numbers, axis=0) == 0  # equal numbers have a rounding deviation of 1e-17
    mean = np.where(constant, numbers[0], numbers.mean(axis=0))
    std = np.where(constant, 0.0, numbers.std(axis=0))
    scale = LabelScale(tuple(mean.tolist()), tuple(std.tolist()))
    new = iter(scale.standardize(numbers).tolist())
    changed = tuple((image, None if label is None else tuple(next(new))) for image, label in entries)
    return changed, scale


def _require_all_or_none(rows: Sequence[tuple[str, RawLabel]], where: str) -> None:
    labeled, unlabeled = ([row for row in rows if (row[1] is None) == missing] for missing in (False, True))
    if labeled and unlabeled:
        other, given = labeled[0]
        raise DataError(f"{where}: {unlabeled[0][0]} has no label, {other} has {given!r}; {MISSING_LABELS_REMEDY}")


def _width(label: Label) -> int | None:
    """Return the length of a vector; None for a class."""
    return len(label) if isinstance(label, tuple) else None
