"""Real and generated images that metrics measure."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sg3tf.utils import rng
from sg3tf.utils.rng import Purpose

# ---------------------------------------------------------------------------------------------------------------------
# Real images, as metrics want them.
# ---------------------------------------------------------------------------------------------------------------------


class Images(Protocol):
    """A data set of images of one size; sg3tf.data.Dataset is one.

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
    """The data set at `path`, in any form that sg3tf.data reads: its images as they are, none mirrored.

    Args:
        path: what --data of trainer.main takes.
        resolution: which one is wanted, where there are several; None: the largest.
        labels: whether labels are wanted, where there are any.

    Raises:
        ValueError: nothing is there, the resolution is not, or a file is truncated or corrupt.
    """
    # The one way from the library to what stands on it, only when it is taken: data sets belong to the trainer.
    from sg3tf.data.dataset import Dataset, open_store

    return Dataset(open_store(Path(path), resolution), use_labels=labels)


def resize_filter(data: Images) -> str | None:
    """The filter that the images were resized with, where the data set knows it."""
    try:
        return json.loads((Path(data.path) / "manifest.json").read_text()).get("resize_filter")
    except OSError:  # the form with one file per resolution has none
        return None


# ---------------------------------------------------------------------------------------------------------------------
# What a metric generates images from: random numbers that depend on nothing but the seed and an image's position.
# ---------------------------------------------------------------------------------------------------------------------

FloatArray = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of generated images.

    Attributes:
        origin: what they are drawn from; labels of equal origins are equal.
        at: position of a sample -> float32 [label_dim].
    """

    origin: str
    at: Callable[[int], FloatArray]

    def __call__(self, position: int) -> FloatArray:
        return self.at(position)


@dataclasses.dataclass(frozen=True)
class Samples:
    """The images of one metric.

    Attributes:
        count: how many.
        z_dim: size of a latent.
        seed: of every draw.
        labels: None for a generator without labels.
    """

    count: int
    z_dim: int
    seed: int
    labels: Labels | None

    def latents(self, index: NDArray[np.int64]) -> FloatArray:
        """float32 [N, z_dim] for N positions."""
        return np.stack(
            [rng.generator(self.seed, Purpose.METRIC_LATENT, i).standard_normal(self.z_dim, np.float32) for i in index]
        )

    def label(self, index: NDArray[np.int64]) -> FloatArray | None:
        """float32 [N, label_dim] for N positions."""
        return None if self.labels is None else np.stack([self.labels(int(i)) for i in index])

    def noise(self, index: NDArray[np.int64]) -> NDArray[np.int32]:
        """Seeds of the noise in StyleGAN2's images, int32 [N, 2] for N positions."""
        return np.stack(
            [rng.generator(self.seed, Purpose.METRIC_NOISE, i).integers(2**31, size=2, dtype=np.int32) for i in index]
        )

    def motion(self, position: int) -> np.random.Generator:
        """Where the motion of the image at `position` is drawn from."""
        return rng.generator(self.seed, Purpose.METRIC_MOTION, position)


def uniform_classes(label_dim: int, seed: int) -> Labels:
    """Classes drawn uniformly: 1 at the class and else 0."""
    classes = np.eye(label_dim, dtype=np.float32)
    return Labels(
        "uniform classes",
        lambda position: classes[rng.generator(seed, Purpose.METRIC_CLASS, position).integers(label_dim)],
    )


def labels_of(data: Images, seed: int) -> Labels:
    """Labels of images drawn uniformly from a data set, so that classes are as frequent as there."""
    return Labels(
        f"of images drawn from {data.digest}, part {data.part}",
        lambda position: data.label(int(rng.generator(seed, Purpose.METRIC_LABEL, position).integers(len(data)))),
    )


def comparison(seed: int) -> np.random.Generator:
    """Where metrics draw from that compare random subsets of images."""
    return rng.generator(seed, Purpose.METRIC_SUBSETS)
