"""A source of images in a fixed order, with labels, to build a data set from."""

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
      path: the file or folder that holds them.
      entries: (name, label) of every image; the name is unique and locates it within `path`.
      label: kind and width of the labels.
      read: opens an image by its name; picklable.
      classes: names of the classes, if known.
      unused: (name, reason) of images that are there and not among the entries.
      remarks: lines about the source for the summary of a build.
      scale: of the numbers that the labels were before they were standardized; None if they were not.
    """

    path: Path
    entries: tuple[tuple[str, Label], ...]
    label: LabelSpec
    read: Callable[[str], Image.Image]
    classes: tuple[str, ...] = ()
    unused: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    scale: LabelScale | None = None
