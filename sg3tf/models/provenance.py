"""Provenance of weights: training length, training data and results."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from sg3tf.models import hub
from sg3tf.models.loading import class_names, generator_file, label_scale
from sg3tf.models.run_folder import CHECKPOINT_GENERATOR, OPTIONS, run_of, trained_nimg
from sg3tf.utils.files import read_json_lines
from sg3tf.utils.label_scale import LabelScale, labels_of_width

#: File with the provenance of the weights in a repository created by `sg3tf upload`.
PROVENANCE = "provenance.json"
_PUBLISHED = ("training_kimg", "data_name", "data_digest")  # fields that the file adds to those of the network


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Origin of weights.

    Attributes:
        source: name of the file or folder, or address.
        training_kimg: training length in thousands of images; None if unknown.
        data_name, data_digest: of the training data; None if unknown.
        classes: class names; () for none.
        label_scale: of the labels before they were standardized; None if they were not.

    Examples:
        >>> Provenance("g.keras", training_kimg=7.0).to_json()["training_kimg"]
        7.0
    """

    source: str
    training_kimg: float | None = None
    data_name: str | None = None
    data_digest: str | None = None
    classes: tuple[str, ...] = ()
    label_scale: LabelScale | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name; without label_scale if it is None."""
        fields = {**vars(self), "classes": list(self.classes)}
        del fields["label_scale"]
        return {**fields, "label_scale": self.label_scale.to_json()} if self.label_scale else fields


def training_provenance(path: str | os.PathLike[str], label_dim: int | None = None) -> Provenance:
    """Return the training length and training data of the generator at `path`, from the files of its run.

    Args:
        path: run folder, checkpoint folder, .keras file or address, as for `sg3tf.load`.
        label_dim: label width of the generator. Class names and label scales of a different width, found in a folder
            above the generator, are left out.
    """
    found = _provenance(path)
    if label_dim is None:
        return found
    classes, scale = labels_of_width(label_dim, found.classes, found.label_scale)
    return dataclasses.replace(found, classes=classes, label_scale=scale)


def _provenance(path: str | os.PathLike[str]) -> Provenance:
    if hub.is_address(path):
        local = hub.fetch(str(path))
        return Provenance(str(path), **_published(local), classes=class_names(local), label_scale=label_scale(local))
    path = Path(path)
    file = follow_link(generator_file(path))
    source = file.parent if file.name == CHECKPOINT_GENERATOR else file
    run = run_of(file)
    options = _read_json(run / OPTIONS) if run else {}
    nimg = trained_nimg(file)
    return Provenance(
        source=str(source.relative_to(run.parent)) if run else source.name,
        training_kimg=None if nimg is None else nimg / 1000,
        data_name=options.get("data_name"),
        data_digest=options.get("data_digest"),
        classes=class_names(path),
        label_scale=label_scale(path),
    )


def training_metrics(path: Path) -> dict[str, float]:
    """Return the metrics computed during training for the generator at `path`, {name: value}; empty if none were.

    Args:
        path: run folder, checkpoint folder or .keras file.

    Raises:
        ValueError: a metrics file is damaged.
    """
    file = follow_link(generator_file(path))
    nimg = trained_nimg(file)
    run = run_of(file)
    found: dict[str, float] = {}
    for results in sorted(run.glob("metric-*.jsonl")) if run else ():
        if results.stem.endswith("_held_out"):
            continue  # from benchmarks.quality_bench, on other images
        for line in read_json_lines(results):
            if nimg is not None and line["kimg"] == nimg / 1000:
                found |= line["results"]
    return found


def follow_link(file: Path) -> Path:
    """Return the target of a link, or the link itself if it is in a run folder."""
    file = file.parent.resolve() / file.name
    return file if run_of(file) else file.resolve()


def _published(file: Path) -> dict[str, Any]:
    try:
        known = _read_json((file if file.is_dir() else file.parent) / PROVENANCE)
    except (OSError, ValueError):
        return {}
    return {name: known[name] for name in _PUBLISHED if name in known}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: damaged ({error}); restore it") from error
