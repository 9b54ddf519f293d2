"""Detectors: features of images that metrics compare.

Those of published metrics are networks from files that the user provides; those of BUILT_IN need none.

from sg3tf.metrics import detectors
inception = detectors.load("inception", "detectors")
inception(images)["pool"]
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from sg3tf.metrics.detectors import inception, lpips, vgg16
from sg3tf.metrics.detectors.files import DetectorError, PublishedFile, check_files
from sg3tf.metrics.detectors.laplacian_patches import LaplacianPatches
from sg3tf.metrics.detectors.scattering import Scattering

__all__ = ["BUILT_IN", "DETECTORS", "Detector", "DetectorError", "load", "published_files"]


class Detector(Protocol):
    """A function that computes features of images.

    Attributes:
        digest: "sha256:..." of the files that it was loaded from, or definition and version of a built-in one.
        outputs: {output: number of features of an image}.
    """

    digest: str
    outputs: dict[str, int]

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """{output: float32 [N, D]} of images uint8 [N, H, W, 3] or [N, H, W, 1]; usable inside tf.function."""


#: Detectors without files, made for images of a given resolution, whose sides are `min_side` at least.
BUILT_IN: dict[str, type[LaplacianPatches | Scattering]] = {
    "laplacian_patches": LaplacianPatches,
    "scattering": Scattering,
}

DETECTORS = {"inception": inception.load, "vgg16": vgg16.load, "lpips": lpips.load}

_FILES = {
    "inception": [inception.PUBLISHED],
    "vgg16": [vgg16.PUBLISHED],
    "lpips": [vgg16.PUBLISHED, lpips.PUBLISHED],
}


def published_files(names: Iterable[str]) -> list[PublishedFile]:
    """Files that detectors are loaded from, each once; `names` are keys of DETECTORS or BUILT_IN."""
    return [*dict.fromkeys(file for name in names if name not in BUILT_IN for file in _FILES[name])]


def load(name: str, folder: str | os.PathLike[str]) -> Any:
    """Load a network from its published files; nothing is downloaded.

    Args:
        name: key of DETECTORS.
        folder: place of the files.

    Returns:
        A Detector; for "lpips" an Lpips.

    Raises:
        DetectorError: unknown name, missing files (the message says where they are published), or a wrong one.
    """
    if name not in DETECTORS:
        raise DetectorError(f"detector={name!r}: known are {', '.join(DETECTORS)}")
    check_files(Path(folder), published_files([name]))
    return DETECTORS[name](Path(folder))
