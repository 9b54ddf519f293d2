"""VGG16 (Simonyan and Zisserman 2014, 1409.1556), the features of improved precision and recall.

Kynkäänniemi et al. (2019, 1904.06991) use the second fully connected layer, 4096 numbers. docs/detectors.md covers
their image preprocessing, some of which is uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.convert import torch_file
from sg3tf.metrics.detectors.files import DetectorError, PublishedFile, uint8_to_rgb, verified_digest

Array = NDArray[Any]

PUBLISHED = PublishedFile(
    "vgg16-397923af.pth",
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    size=553_433_881,
    sha256="397923af",
)

# Index of each convolution in torchvision's `features`, by stage; stages are separated by pooling.
STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
WIDTHS = (64, 128, 256, 512, 512)  # channels of each stage
FEATURES = 4096
_SIZE = 224
_POOLED = _SIZE // 2 ** len(STAGES)

# ImageNet's mean and standard deviation, for images in [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Trunk(tf.Module):
    """The 13 convolutions of VGG16."""

    def __init__(self, parameters: Mapping[str, Array]) -> None:
        super().__init__("vgg16_trunk")
        self._stages = [
            [
                (
                    _variable(parameters[f"features.{i}.weight"].transpose(2, 3, 1, 0)),  # OIHW to HWIO
                    _variable(parameters[f"features.{i}.bias"]),
                )
                for i in stage
            ]
            for stage in STAGES
        ]

    def __call__(self, x: tf.Tensor) -> list[tf.Tensor]:
        """Return the last activations of each stage, before pooling, for normalized images [N, H, W, 3]."""
        activations: list[tf.Tensor] = []
        for stage in self._stages:
            if activations:
                x = tf.nn.max_pool2d(x, 2, 2, "VALID")
            for kernel, bias in stage:
                x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
            activations.append(x)
        return activations


class Vgg16(tf.Module):
    """Features for precision and recall."""

    resize = "bilinear to 224x224, as in TensorFlow 1"

    def __init__(self, parameters: Mapping[str, Array], digest: str) -> None:
        super().__init__("vgg16")
        self.digest = digest
        self.outputs = {"features": FEATURES}
        self._trunk = Trunk(parameters)
        channels = WIDTHS[-1]
        first = parameters["classifier.0.weight"].reshape(-1, channels, _POOLED, _POOLED)
        self._dense = [
            (
                _variable(first.transpose(2, 3, 1, 0).reshape(-1, len(first))),  # flattened CHW to flattened HWC
                _variable(parameters["classifier.0.bias"]),
            ),
            (_variable(parameters["classifier.3.weight"].T), _variable(parameters["classifier.3.bias"])),
        ]

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return {"features": float32 [N, 4096]} for images uint8 [N, H, W, 3 or 1]; usable in a tf.function."""
        x = tf.raw_ops.ResizeBilinear(images=uint8_to_rgb(images), size=[_SIZE, _SIZE])  # as in graphs of 2019
        x = (x / 255.0 - _MEAN) / _STD
        x = tf.nn.max_pool2d(self._trunk(x)[-1], 2, 2, "VALID")
        x = tf.reshape(x, [-1, self._dense[0][0].shape[0]])
        for kernel, bias in self._dense:
            x = tf.nn.relu(x @ kernel + bias)
        return {"features": x}


def load(folder: Path) -> Vgg16:
    """Load the network from `vgg16-397923af.pth`.

    Raises:
        DetectorError: the file is broken or belongs to another network.
    """
    parameters, digest = read(folder)
    return Vgg16(parameters, f"sha256:{digest}")


def read(folder: Path) -> tuple[dict[str, Array], str]:
    """Read torchvision's parameters; return them with the SHA-256 of their file."""
    path = folder / PUBLISHED.name
    digest = verified_digest(path, PUBLISHED)
    return read_parameters(path, shapes()), digest


def read_parameters(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Read a state dict that contains at least arrays of these names and shapes.

    Raises:
        DetectorError: an array is missing or has another shape, or the file cannot be read.
    """
    try:
        parameters = torch_file.read(path)
    except torch_file.TorchFileError as error:
        raise DetectorError(str(error)) from error
    for name, shape in shapes.items():
        found = np.shape(parameters.get(name, 0.0)) if isinstance(parameters, dict) else None
        if found != shape:
            raise DetectorError(f"{path}: detector file of the wrong network ({name} is {found}, not {shape})")
    return parameters


def shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of all parameters used, by their names in torchvision."""
    result: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for stage, width in zip(STAGES, WIDTHS, strict=True):
        for i in stage:
            result |= {f"features.{i}.weight": (width, inputs, 3, 3), f"features.{i}.bias": (width,)}
            inputs = width
    inputs *= _POOLED**2
    for i in (0, 3):
        result |= {f"classifier.{i}.weight": (FEATURES, inputs), f"classifier.{i}.bias": (FEATURES,)}
        inputs = FEATURES
    return result


def _variable(value: Array) -> tf.Variable:
    """Create a variable, which a strategy copies to every device."""
    return tf.Variable(np.ascontiguousarray(value), trainable=False)
