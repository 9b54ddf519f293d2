"""Real images, as metrics want them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Images(Protocol):
    """A data set of images of one size; trainer.data.Dataset is one.

    Attributes:
        path: where it is.
        resolution, channels: of every image.
        label_dim: width of a label; 0 without labels.
        digest: names the content of all that is at `path`.
        part: names which of that these images are, and in which order.
    """

    path: Path
    resolution: int
    channels: int
    label_dim: int
    digest: str

    @property
    def part(self) -> str: ...
    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Image [R, R, C] and label [label_dim]; from many threads at once."""

    def label(self, i: int) -> NDArray[np.float32]:
        """Label [label_dim] without decoding the image."""


def open_data(path: str | os.PathLike[str], *, resolution: int | None = None, labels: bool = False) -> Any:
    """The data set at `path`, in any form that trainer.data reads: its images as they are, none mirrored.

    Args:
        path: what --data of trainer.main takes.
        resolution: which one is wanted, where there are several; None: the largest.
        labels: whether labels are wanted, where there are any.

    Raises:
        ValueError: nothing is there, the resolution is not, or a file is truncated or corrupt.
    """
    # The one way from the library to what stands on it, only when it is taken: data sets belong to the trainer.
    from trainer.data.dataset import Dataset, open_store

    return Dataset(open_store(Path(path), resolution), use_labels=labels)


def resize_filter(data: Images) -> str | None:
    """The filter that the images were resized with, where the data set knows it."""
    try:
        return json.loads((Path(data.path) / "manifest.json").read_text()).get("resize_filter")
    except OSError:  # the form with one file per resolution has none
        return None
