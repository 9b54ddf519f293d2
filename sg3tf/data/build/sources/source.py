"""What a data set is built from: images in a fixed order, and their labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sg3tf.data.labels import Label, LabelSpec


@dataclass(frozen=True)
class Source:
    """Images in order, with their labels.

    Attributes:
      path: the file or folder that holds them.
      entries: (name, label) of every image; the name is unique and says where it is.
      label: what the labels are.
      read: opens the image of a name; can be sent to another process.
      classes: the classes' names where they have any.
    """

    path: Path
    entries: tuple[tuple[str, Label], ...]
    label: LabelSpec
    read: Callable[[str], Image.Image]
    classes: tuple[str, ...] = ()
