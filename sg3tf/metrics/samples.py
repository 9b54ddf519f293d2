"""Real and generated images for metrics. No TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sg3tf.data.dataset import Dataset, open_store
from sg3tf.data.selection import Spread
from sg3tf.utils import rng
from sg3tf.utils.resolution import AnyResolution, Resolution, to_resolution
from sg3tf.utils.rng import Purpose

FloatArray = NDArray[np.float32]
Index = NDArray[np.int64]


# --- Real images ------------------------------------------------------------------------------------------------------


class Images(Protocol):
    """Data set of images of one size, such as sg3tf.data.dataset.Dataset and ArrayImages.

    Attributes:
        path: location, for messages.
        resolution, channels: image size; resolution is the side of a square, or a Size (width, height).
        label_dim: width of a label; 0 without labels.
        digest: identifies the content of everything at `path`.
        cache_digest: key of cached features; changes with the content, even where `digest` does not.
        part: identifies the subset of those images, and its order.
    """

    path: Path
    resolution: Resolution
    channels: int
    label_dim: int
    digest: str
    cache_digest: str

    @property
    def part(self) -> str: ...
    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> tuple[NDArray[np.uint8], FloatArray]:
        """Return image [H, W, C] and label [label_dim]; called from several threads concurrently."""

    def label(self, i: int) -> FloatArray:
        """Return label [label_dim], without decoding the image."""

    def subsample(self, max_images: int) -> Images:
        """Return at most `max_images` of the images, spread over all of them."""


class ArrayImages:
    """In-memory images as a data set for metrics.

    Args:
        images: uint8 [N, H, W, C].
        labels: float32 [N, label_dim]; None without labels.

    Raises:
        ValueError: wrong shape or dtype.

    Examples:
        >>> import numpy as np
        >>> from sg3tf import metrics
        >>> data = metrics.ArrayImages(np.zeros([100, 64, 64, 3], np.uint8))
        >>> len(data), data.resolution
        (100, 64)
    """

    path = Path("array")
    part = "all"

    def __init__(self, images: ArrayLike, labels: ArrayLike | None = None) -> None:
        self._images = np.asarray(images)
        shape = self._images.shape
        if self._images.dtype != np.uint8 or len(shape) != 4:
            raise ValueError(f"images: {self._images.dtype} {list(shape)}; give uint8 [N, H, W, C]")
        self._labels = np.zeros([len(self), 0], np.float32) if labels is None else np.asarray(labels, np.float32)
        if self._labels.ndim != 2 or len(self._labels) != len(self):
            raise ValueError(f"labels of shape {list(self._labels.shape)}: give [{len(self)}, label_dim]")
        self.resolution, self.channels = to_resolution(shape[2:0:-1]), shape[3]
        self.label_dim = self._labels.shape[1]
        content = hashlib.sha256(repr((shape, self.label_dim)).encode())
        content.update(self._images.tobytes())
        content.update(self._labels.tobytes())
        self.digest = self.cache_digest = f"sha256:{content.hexdigest()}"

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, i: int) -> tuple[NDArray[np.uint8], FloatArray]:
        return self._images[i], self._labels[i]

    def label(self, i: int) -> FloatArray:
        return self._labels[i]

    def subsample(self, max_images: int) -> ArrayImages:
        """Return at most `max_images` of the images, spread over all of them."""
        count = min(max_images, len(self))
        chosen = Spread(len(self), count)(np.arange(count))
        return ArrayImages(self._images[chosen], self._labels[chosen])


def open_data(
    path: str | os.PathLike[str], *, resolution: AnyResolution | None = None, labels: bool = False
) -> Dataset:
    """Open a data set in any format that sg3tf.data reads, without mirrored images.

    Args:
        path: as for --data of trainer.main.
        resolution: selects one of several in a folder; None for the largest.
        labels: use labels, if there are any.

    Raises:
        ValueError: no data set found, the resolution is missing, or a file is truncated or corrupt.
    """
    return Dataset(open_store(path, resolution, labels), use_labels=labels)


def resize_filter(data: Images) -> str | None:
    """Name of the filter used to resize the images, if the data set records it."""
    try:
        return json.loads((Path(data.path) / "manifest.json").read_text()).get("resize_filter")
    except (OSError, ValueError, AttributeError):  # other formats have no manifest, or an unrelated one
        return None


# --- Generated images: random numbers that depend on nothing but the seed and an image's position ---------------------


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of generated images.

    Attributes:
        origin: description of their distribution; equal origin and seed mean equal labels.
        label_at: sample position -> float32 [label_dim].

    Examples:
        >>> labels = Labels("first class", lambda position: np.float32([1, 0, 0]))
        >>> labels(5)
        array([1., 0., 0.], dtype=float32)
    """

    origin: str
    label_at: Callable[[int], FloatArray]

    def __call__(self, position: int) -> FloatArray:
        return self.label_at(position)


@dataclasses.dataclass(frozen=True)
class Samples:
    """Inputs of the images that a metric generates.

    Attributes:
        count: number of samples.
        z_dim: size of a latent.
        seed: seed of all random numbers.
        labels: labels, or None for an unconditional generator.

    Examples:
        >>> samples = Samples(count=100, z_dim=512, seed=0, labels=uniform_classes(label_dim=3, seed=0))
        >>> samples.latents(np.arange(8)).shape, samples.label(np.arange(8)).shape
        ((8, 512), (8, 3))
    """

    count: int
    z_dim: int
    seed: int
    labels: Labels | None

    def latents(self, index: Index) -> FloatArray:
        """Return latents float32 [N, z_dim] for N positions."""
        streams = [rng.generator(self.seed, Purpose.METRIC_LATENT, i) for i in index]
        return np.stack([stream.standard_normal(self.z_dim, np.float32) for stream in streams])

    def label(self, index: Index) -> FloatArray | None:
        """Return labels float32 [N, label_dim] for N positions; None without labels."""
        return None if self.labels is None else np.stack([self.labels(int(i)) for i in index])

    def noise_seeds(self, index: Index) -> NDArray[np.int32]:
        """Return seeds of StyleGAN2's noise, int32 [N, 2], for N positions."""
        streams = [rng.generator(self.seed, Purpose.METRIC_NOISE, i) for i in index]
        return np.stack([stream.integers(2**31, size=2, dtype=np.int32) for stream in streams])

    def params_rng(self, position: int) -> np.random.Generator:
        """Return the random generator for a sample's other parameters: its transform, or its position on a path."""
        return rng.generator(self.seed, Purpose.METRIC_PARAMS, position)


def uniform_classes(label_dim: int, seed: int) -> Labels:
    """One-hot labels of uniformly distributed classes.

    Raises:
        ValueError: label_dim is 1, which cannot encode classes.
    """
    if label_dim == 1:
        raise ValueError(
            "label_dim=1: the label is one number, of which no classes can be drawn; use labels of a data set, "
            "or another network"
        )
    classes = np.eye(label_dim, dtype=np.float32)

    def label_at(position: int) -> FloatArray:
        return classes[rng.generator(seed, Purpose.METRIC_CLASS, position).integers(label_dim)]

    return Labels("uniform classes", label_at)


def labels_from_data(data: Images, seed: int) -> Labels:
    """Labels of images chosen uniformly from a data set, which preserves class frequencies."""

    def label_at(position: int) -> FloatArray:
        return data.label(int(rng.generator(seed, Purpose.METRIC_LABEL, position).integers(len(data))))

    return Labels(f"of images drawn from {data.digest}, part {data.part}", label_at)


def comparison_rng(seed: int) -> np.random.Generator:
    """Random generator for the subsets of images that metrics compare."""
    return rng.generator(seed, Purpose.METRIC_SUBSETS)


class Batch(NamedTuple):
    """Positions start to stop - 1; `padded` repeats the last one to fill the batch.

    Examples:
        >>> for start, stop, padded in padded_batches(0, 5, size=3):
        ...     print(start, stop, padded)
        0 3 [0 1 2]
        3 5 [3 4 4]
    """

    start: int
    stop: int
    padded: Index


def padded_batches(start: int, stop: int, size: int) -> Iterator[Batch]:
    """Yield positions `start` to `stop` - 1 in batches of equal size, so that only one graph is traced."""
    for first in range(start, stop, size):
        yield Batch(first, min(first + size, stop), np.minimum(np.arange(first, first + size), stop - 1))


def check_finite(values: ArrayLike, noun: str, start: int, stop: int) -> None:
    """Raise if values are not all finite.

    Args:
        values: of samples `start` to `stop` - 1.
        noun: a plural that names them, such as "images of samples".

    Raises:
        FloatingPointError: they are not.
    """
    if not np.isfinite(values).all():
        raise FloatingPointError(f"{noun} {start} to {stop - 1} are not finite")
