"""Source of images for building a data set, in a fixed order, with labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sg3tf.data.labels import Label, LabelSpec
from sg3tf.utils.label_scale import LabelScale


@dataclass(frozen=True)
class Source:
    """Images in order, with their labels.

    Attributes:
        path: file or folder.
        entries: (name, label) of every image; names are unique and locate images within `path`.
        label: kind and width of the labels.
        read: opens an image by its name; picklable.
        classes: class names, if known.
        unused: (name, reason) of existing images that are not among the entries.
        remarks: lines about the source for the summary of a build.
        scale: scale of the labels before standardization; None if they were not standardized.
        num_not_chosen: number of images that a limit leaves out.
    """

    path: Path
    entries: tuple[tuple[str, Label], ...]
    label: LabelSpec
    read: Callable[[str], Image.Image]
    classes: tuple[str, ...] = ()
    unused: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    scale: LabelScale | None = None
    num_not_chosen: int = 0
