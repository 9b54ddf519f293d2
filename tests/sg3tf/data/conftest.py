"""Small data sets in both layouts, with and without labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.labels import Label
from sg3tf.data.tfrecord import RecordFile, parse_example, record_writer, serialize_example

Images = Callable[..., list[np.ndarray]]
MakeSet = Callable[..., Path]


@pytest.fixture
def ffhq_set(tmp_path: Path, noise: Images, write_ffhq: MakeSet) -> MakeSet:
    """ffhq_set(count, resolution=8, labels=None) -> folder faces with NAME-rNN.tfrecords."""

    def make(count: int, resolution: int = 8, labels: list[Label] | None = None) -> Path:
        return write_ffhq(tmp_path / "faces", noise(count, resolution), labels)

    return make


@pytest.fixture
def image_folder(tmp_path: Path, noise: Images) -> Path:
    """Six images, 16x16, two in each of the subfolders ant, bee and cat."""
    folder = tmp_path / "images"
    for i, image in enumerate(noise(6, 16)):
        file = folder / ("ant", "bee", "cat")[i // 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return folder


@pytest.fixture
def shard_set(tmp_path: Path, image_folder: Path) -> Path:
    """image_folder as the project's own records, 16x16, in 2 shards."""
    build(image_folder, tmp_path / "shards", BuildConfig(16, shards=2))
    return tmp_path / "shards"


@pytest.fixture
def drop_label() -> Callable[[Path, int], None]:
    """drop_label(file, i) removes the label of record i of a shard and corrects its checksum."""

    def drop(path: Path, i: int) -> None:
        file = RecordFile(path)
        records = [file.read(record) for record in range(len(file))]
        found = parse_example(records[i], "")
        kept = {k: v[0] if isinstance(v[0], bytes) else list(v) for k, v in found.items() if "label" not in k}
        records[i] = serialize_example(kept)
        with record_writer(path) as add:
            for record in records:
                add(record)

    return drop
