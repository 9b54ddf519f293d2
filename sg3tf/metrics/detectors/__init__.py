"""Detectors: functions that compute image features, which metrics compare.

Published metrics use networks from files that the user provides; detectors in BUILT_IN need no files.

from sg3tf.metrics import detectors
inception = detectors.load("inception", "detectors")
inception(images)["pool"]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from sg3tf.metrics.detectors import inception, lpips, vgg16
from sg3tf.metrics.detectors.files import DetectorError, PublishedFile, check_files
from sg3tf.metrics.detectors.laplacian_patches import LaplacianPatches
from sg3tf.metrics.detectors.scattering import Scattering

__all__ = ["BUILT_IN", "DETECTORS", "Detector", "DetectorError", "load", "published_files"]


class Detector(Protocol):
    """Function that computes features of images.

    Attributes:
        digest: "sha256:..." of the files it was loaded from; for a built-in detector, its definition and version.
        resize: how images are resized to the network's input.
        outputs: {output: number of features per image}.
    """

    digest: str
    resize: str
    outputs: dict[str, int]

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return {output: float32 [N, D]} for images uint8 [N, H, W, 3] or [N, H, W, 1]; usable in a tf.function."""


#: Detectors without files, created for images of a given resolution with sides of at least `min_side`.
BUILT_IN: dict[str, type[LaplacianPatches | Scattering]] = {
    "laplacian_patches": LaplacianPatches,
    "scattering": Scattering,
}

#: Loader of each network from a folder, and the files that it reads there.
DETECTORS: dict[str, tuple[Callable[[Path], Any], list[PublishedFile]]] = {
    "inception": (inception.load, [inception.PUBLISHED]),
    "vgg16": (vgg16.load, [vgg16.PUBLISHED]),
    "lpips": (lpips.load, [vgg16.PUBLISHED, lpips.PUBLISHED]),
}


def published_files(names: Iterable[str]) -> list[PublishedFile]:
    """Files that the detectors are loaded from, without duplicates; `names` are keys of DETECTORS or BUILT_IN."""
    return [*dict.fromkeys(file for name in names if name not in BUILT_IN for file in DETECTORS[name][1])]


def load(name: str, folder: str | os.PathLike[str]) -> Any:
    """Load a network from its published files; nothing is downloaded.

    Args:
        name: key of DETECTORS.
        folder: folder with the files.

    Returns:
        A Detector; for "lpips", an Lpips.

    Raises:
        DetectorError: unknown name, missing files (the message says where they are published), or a wrong file.
    """
    if name not in DETECTORS:
        raise DetectorError(f"detector={name!r}: known are {', '.join(DETECTORS)}")
    loader, files = DETECTORS[name]
    check_files(Path(folder), files)
    return loader(Path(folder))
