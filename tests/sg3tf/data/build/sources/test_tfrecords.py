"""Data sets of TFRecords as sources: conversion to the other layout and to a lower resolution."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sg3tf.data.build.command import build
from sg3tf.data.build.conversion import BuildConfig
from sg3tf.data.build.sources import find_source
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.tfrecord import record_writer, serialize_example

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
