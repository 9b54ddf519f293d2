"""LPIPS, the perceptual distance for path lengths (Zhang et al. 2018, 1801.03924), version 0.1 with VGG16."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.metrics.detectors import vgg16
from sg3tf.metrics.detectors.files import PublishedFile, to_rgb, verified_digest

PUBLISHED = PublishedFile(
    "vgg.pth",
    "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/vgg.pth",
    size=7_289,
    sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",  # of the file in the package lpips 0.1.4
)

# ImageNet's mean and standard deviation for images in [-1, 1], rounded as in LPIPS.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10

#: (images, other images), float32 [N, H, W, C] nominally in [-1, 1] -> float32 [N].
Distance = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

MAX_SIZE = 256  # longer side of images for published values


def reduce_by_boxes(images: tf.Tensor) -> tf.Tensor:
    """Average images [N, H, W, C] over boxes of pixels if they are larger than MAX_SIZE."""
    box = max(images.shape[1:3]) // MAX_SIZE
    return tf.nn.avg_pool2d(images, box, box, "VALID") if box > 1 else images


class Lpips(tf.Module):
    """Perceptual distance of images: weighted squared differences of unit-normalized activations of VGG16."""

    resize = "means of boxes, to 256x256 where larger"

    def __init__(self, trunk: vgg16.Trunk, weights: list[NDArray[Any]], digest: str) -> None:
        super().__init__("lpips")
        self.digest = digest
        self._trunk = trunk
        self._weights = [tf.Variable(weight, trainable=False) for weight in weights]

    def distance(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Distances float32 [N] of images float32 [N, H, W, 3] or [N, H, W, 1] in [-1, 1], at least 16x16 pixels."""
        pairs = zip(self._activations(a), self._activations(b), self._weights, strict=True)
        return tf.add_n([tf.reduce_mean(tf.square(p - q) @ w[:, None], [1, 2, 3]) for p, q, w in pairs])

    def _activations(self, images: tf.Tensor) -> list[tf.Tensor]:
        return [_unit(x) for x in self._trunk((to_rgb(images) - _SHIFT) / _SCALE)]


def _unit(x: tf.Tensor) -> tf.Tensor:
    return x / (tf.norm(x, axis=-1, keepdims=True) + _EPSILON)


def load(folder: Path) -> Lpips:
    """Load the distance from `vgg16-397923af.pth` and its own `vgg.pth`.

    Raises:
        DetectorError: a file is broken or belongs to another network.
    """
    path = folder / PUBLISHED.name
    linear_digest = verified_digest(path, PUBLISHED)
    linear = vgg16.read_parameters(path, shapes())
    parameters, vgg16_digest = vgg16.read(folder)
    digest = hashlib.sha256(f"{vgg16_digest} {linear_digest}".encode()).hexdigest()
    return Lpips(vgg16.Trunk(parameters), [linear[name].reshape(-1) for name in shapes()], f"sha256:{digest}")


def shapes() -> Mapping[str, tuple[int, ...]]:
    """Shapes of the weights of each stage, by their names in LPIPS."""
    return {f"lin{i}.model.1.weight": (1, width, 1, 1) for i, width in enumerate(vgg16.WIDTHS)}
