"""Data sets of TFRecords as sources: conversion to the other layout and to a lower resolution."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sources import find_source
from sg3tf.data.tfrecord import record_writer, serialize_example
from sg3tf.data.verify import verify

MakeSet = Callable[..., Path]


@pytest.mark.parametrize("workers", [1, 2])
def test_there_and_back(tmp_path: Path, shard_set: Path, workers: int) -> None:
    build(shard_set, tmp_path / "there", BuildConfig(16, format="ffhq"), workers=workers)
    build(tmp_path / "there", tmp_path / "back", BuildConfig(16), workers=workers)
    first, back = (open_dataset(path, use_labels=True) for path in (shard_set, tmp_path / "back"))
    assert first.digest == back.digest
    for i in range(6):
        np.testing.assert_array_equal(first[i][0], back[i][0])
        np.testing.assert_array_equal(first[i][1], back[i][1])


def test_class_names_stay(shard_set: Path) -> None:
    assert find_source(shard_set).classes == ("ant", "bee", "cat")


def test_another_resolution_from_the_largest(tmp_path: Path, ffhq_set: MakeSet) -> None:
    path = ffhq_set(3, 16, labels=[(0.5, 1.0), (2.0, 3.0), (4.0, 5.0)])
    build(path, tmp_path / "x", BuildConfig(8, resize="box"))
    small, large = open_dataset(tmp_path / "x", use_labels=True), open_dataset(path, use_labels=True)
    for i in range(3):
        average = large[i][0].reshape(8, 2, 8, 2, 3).mean((1, 3))
        assert np.abs(small[i][0] - average).max() <= 1
        np.testing.assert_array_equal(small[i][1], large[i][1])


def test_grayscale_and_transparent(tmp_path: Path, image_folder: Path) -> None:
    for channels in (1, 4):
        build(image_folder, tmp_path / f"{channels}", BuildConfig(16, channels=channels))
        build(tmp_path / f"{channels}", tmp_path / f"{channels} again", BuildConfig(16, channels=channels))
        assert open_dataset(tmp_path / f"{channels}").digest == open_dataset(tmp_path / f"{channels} again").digest


def test_one_file_of_records(tmp_path: Path) -> None:
    with record_writer(tmp_path / "x.tfrecords") as add:
        add(serialize_example({"shape": [3, 8, 8], "data": bytes(range(192))}))
    image = np.asarray(find_source(tmp_path / "x.tfrecords").read("0"))
    np.testing.assert_array_equal(image, np.arange(192).reshape(3, 8, 8).transpose(1, 2, 0))


def test_a_record_without_its_label_is_named(tmp_path: Path, shard_set: Path, drop_label: Callable[..., None]) -> None:
    drop_label(shard_set / "shards-00001-of-00002.tfrecords", 2)
    (shard_set / "labels.npy").unlink()  # which has it
    with pytest.raises(DataError, match=r"00001-of-00002\.tfrecords: record 2: the label is missing"):
        build(shard_set, tmp_path / "x", BuildConfig(8))
    assert not (tmp_path / "x").exists()


@pytest.fixture
def partly_labeled(tmp_path: Path, image_folder: Path) -> Callable[[list[object]], Path]:
    """partly_labeled(labels) -> a data set of records with these labels of six images, null for none."""

    def make(labels: list[object]) -> Path:
        names = [str(file.relative_to(image_folder)) for file in sorted(image_folder.glob("*/*.png"))]
        rows = [list(row) for row in zip(names, labels, strict=True)]
        (image_folder / "dataset.json").write_text(json.dumps({"labels": rows}))
        build(image_folder, tmp_path / "partly", BuildConfig(16, missing_labels=True))
        return tmp_path / "partly"

    return make


@pytest.mark.parametrize("labels_file", [True, False])
@pytest.mark.parametrize(
    "labels", [[None, 0, 1, 1, None, 2], [[0.0, 0.0], None, [0.5, 1.0], None, [2.0, 0.0], [1.0, 1.0]]]
)
def test_missing_labels_stay_missing(
    tmp_path: Path, partly_labeled: Callable[[list[object]], Path], labels: list[object], labels_file: bool
) -> None:
    """A labeled vector of zeros is one of the labels."""
    path = partly_labeled(labels)
    if not labels_file:
        (path / "labels.npy").unlink()
    found = [None if label is None else label if isinstance(label, int) else list(label)
             for _, label in find_source(path).entries]  # fmt: skip
    assert found == labels
    report = build(path, tmp_path / "again", BuildConfig(16))
    assert report.num_unlabeled() == 2
    assert open_dataset(path, use_labels=True).digest == open_dataset(tmp_path / "again", use_labels=True).digest
    verify(tmp_path / "again")


def test_the_layout_without_missing_labels_refuses_them(
    tmp_path: Path, partly_labeled: Callable[[list[object]], Path]
) -> None:
    path = partly_labeled([None, 0, 1, 1, None, 2])
    with pytest.raises(
        DataError, match=r"partly: 2 images have no label.*--format=ffhq.*--format=shards or --nolabels"
    ):
        build(path, tmp_path / "x", BuildConfig(16, format="ffhq"))
    assert not (tmp_path / "x").exists()
    build(path, tmp_path / "x", BuildConfig(16, format="ffhq", labels=False))


def test_statistics_of_standardized_numbers_stay(tmp_path: Path, image_folder: Path) -> None:
    names = [str(file.relative_to(image_folder)) for file in sorted(image_folder.glob("*/*.png"))]
    (image_folder / "dataset.json").write_text(json.dumps({"labels": [[name, 10 * i] for i, name in enumerate(names)]}))
    build(image_folder, tmp_path / "first", BuildConfig(16, standardize=True))
    report = build(tmp_path / "first", tmp_path / "again", BuildConfig(8))
    first, again = (json.loads((tmp_path / name / "manifest.json").read_text())["label"] for name in ("first", "again"))
    assert first["mean"] == [25] and again == first
    assert any("standardized: means 25" in line for line in report.lines())
    with pytest.raises(DataError, match="first: the labels are standardized already; leave --standardize out"):
        build(tmp_path / "first", tmp_path / "x", BuildConfig(8, standardize=True))
    build(tmp_path / "first", tmp_path / "x", BuildConfig(8, labels=False))
    assert "mean" not in json.loads((tmp_path / "x" / "manifest.json").read_text())["label"]


def test_classes_without_images_stay(tmp_path: Path, image_folder: Path) -> None:
    """In NVIDIA's layout, too, where the names alone tell how many classes there are."""
    (image_folder / "cat" / "4.png").write_bytes(b"damaged")
    (image_folder / "cat" / "5.png").write_bytes(b"damaged")
    build(image_folder, tmp_path / "first", BuildConfig(16, format="ffhq"))
    dataset = open_dataset(tmp_path / "first", use_labels=True)
    assert dataset.classes == ("ant", "bee", "cat") and dataset[0][1].tolist() == [1, 0, 0]
    build(tmp_path / "first", tmp_path / "again", BuildConfig(16))
    assert open_dataset(tmp_path / "again", use_labels=True).classes == ("ant", "bee", "cat")
