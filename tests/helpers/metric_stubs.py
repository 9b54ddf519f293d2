"""Images with known features, and data sets that metrics and training draw from.

Each image is of one color, and the colors are normally distributed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf import GeneratorConfig

RESOLUTION = 16
MEAN = np.array([0.1, 0.0, -0.2])  # of the generator's colors, from -1 to 1
SPREAD = np.array([0.1, 0.05, 0.2])


@dataclasses.dataclass
class Colors:
    """A generator of images of the color MEAN + SPREAD * z, brighter by half of the label's last number.

    Attributes:
        shift: added to all colors; its only weight.
        nan: the latent whose image is not finite.
        seen: number of images generated; counts while graphs run.
    """

    config: Any = dataclasses.field(default_factory=lambda: GeneratorConfig(RESOLUTION, z_dim=3))
    shift: float = 0.0
    nan: NDArray[np.float32] | None = None
    seen: int = 0
    supports_noise: bool = False
    dtype_policy = keras.DTypePolicy("float32")

    @property
    def variables(self) -> list[NDArray[Any]]:
        return [np.array(self.shift), MEAN, SPREAD]

    def mapping(self, z: tf.Tensor, label: tf.Tensor | None = None) -> tf.Tensor:
        def count(z: NDArray[np.float32]) -> NDArray[np.float32]:
            self.seen += len(z)
            return z

        z = tf.ensure_shape(tf.numpy_function(count, [z], tf.float32), z.shape)
        brighter = 0.0 if label is None else label[:, -1:] / 2
        broken = (
            0.0
            if self.nan is None
            else tf.where(tf.reduce_all(z == self.nan, 1, keepdims=True), tf.constant(np.nan, tf.float64), 0.0)
        )
        return (MEAN + self.shift + SPREAD * tf.cast(z, tf.float64)) + tf.cast(brighter, tf.float64) + broken

    def synthesis(self, ws: tf.Tensor, noise: str = "const") -> tf.Tensor:
        return tf.cast(tf.tile(ws[:, None, None], [1, RESOLUTION, RESOLUTION, 1]), tf.float32)


def bytes_of(colors: NDArray[Any]) -> NDArray[np.uint8]:
    """Colors from -1 to 1 in 8 bits, rounded down."""
    return np.floor(np.clip(colors * 127.5 + 128, 0, 255)).astype(np.uint8)


class Data:
    """A data set of images that are of one color each.

    Args:
        colors: uint8 [N, 3].
        labels: float32 [N, label_dim].
    """

    path = Path("faces")
    resolution, channels = RESOLUTION, 3
    part = "sha256:all"

    def __init__(self, colors: NDArray[np.uint8], labels: NDArray[np.float32] | None = None) -> None:
        self.colors, self.labels = colors, np.zeros([len(colors), 0], np.float32) if labels is None else labels
        self.label_dim = self.labels.shape[1]
        self.digest = self.cache_digest = f"sha256:{hashlib.sha256(colors.tobytes()).hexdigest()}"
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.colors)

    def __getitem__(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        self.read.append(i)
        return np.tile(self.colors[i], [RESOLUTION, RESOLUTION, 1]), self.labels[i]

    def label(self, i: int) -> NDArray[np.float32]:
        return self.labels[i]


class FiftyLabels:
    """Labels of a data set of 50 images in three classes."""

    label_dim, digest, part = 3, "d", "all"

    def __len__(self) -> int:
        return 50

    def label(self, i: int) -> NDArray[np.float32]:
        return np.eye(3, dtype=np.float32)[i % 3]


def digest(array: Any) -> str:
    """What recorded arrays are compared by: 16 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


class MeanColor:
    """A detector whose features are the mean color from 0 to 255; all its outputs are the same."""

    resize = "to one pixel"

    def __init__(self, digest: str = "sha256:mean color", scale: float = 1.0) -> None:
        self.digest, self.scale = digest, scale
        self.outputs = {"pool": 3, "spatial": 3, "logits": 3, "features": 3}
        self.seen = 0

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        def count(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
            self.seen += len(images)
            return images

        counted = tf.ensure_shape(tf.numpy_function(count, [images], tf.uint8), images.shape)
        features = self.scale * tf.reduce_mean(tf.cast(counted, tf.float32), axis=[1, 2])
        return dict.fromkeys(self.outputs, features)


def two_detectors() -> dict[str, MeanColor]:
    """The detectors of mean colors under the names that metrics load them by."""
    return {"inception": MeanColor(), "vgg16": MeanColor("sha256:other", scale=0.5)}
