"""Data sets small enough to train on in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sg3tf.data.ffhq import encode_levels, ffhq_writer
from sg3tf.data.labels import Label

Images = Callable[..., list[np.ndarray]]
WriteFfhq = Callable[..., Path]


@pytest.fixture(scope="session")
def noise() -> Images:
    """noise(count, resolution=8, channels=3) -> images, all different."""

    def make(count: int, resolution: int = 8, channels: int = 3) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return list(rng.integers(0, 256, (count, resolution, resolution, channels), np.uint8))

    return make


@pytest.fixture(scope="session")
def write_ffhq() -> WriteFfhq:
    """write_ffhq(folder, images, labels=None) -> the new folder, with NAME-rNN.tfrecords named after it."""

    def write(folder: Path, images: list[np.ndarray], labels: list[Label] | None = None) -> Path:
        folder.mkdir()
        with ffhq_writer(folder, folder.name, len(images[0])) as add:
            for i, image in enumerate(images):
                add(encode_levels(image), labels[i] if labels else None)
        return folder

    return write


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory, noise: Images, write_ffhq: WriteFfhq) -> Path:
    """Folder with 64 images, 16x16, in 3 classes of 32, 16 and 16."""
    folder = tmp_path_factory.mktemp("data") / "faces"
    return write_ffhq(folder, noise(64, 16), [(0, 1, 0, 2)[i % 4] for i in range(64)])


@pytest.fixture(scope="session")
def unlabeled(tmp_path_factory: pytest.TempPathFactory, noise: Images, write_ffhq: WriteFfhq) -> Path:
    """The same images without labels."""
    return write_ffhq(tmp_path_factory.mktemp("data") / "faces", noise(64, 16))
