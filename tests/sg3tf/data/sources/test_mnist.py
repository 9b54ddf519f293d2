"""MNIST: idx files, with two black pixels around every digit."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sources import find_source, mnist

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
NUMBERS = (3, 1, 4, 0, 2, 1)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def digits() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress(idx(digits())))
    (folder / f"{LABELS}.gz").write_bytes(gzip.compress(idx(np.array(NUMBERS, np.uint8))))
    return folder


def test_pixels_stay_and_get_a_border(tmp_path: Path, folder: Path) -> None:
    report = build(folder, tmp_path / "x", BuildConfig(32, channels=1))
    assert (report.num_images, report.num_skipped) == (6, 0)
    dataset = open_dataset(tmp_path / "x", use_labels=True)
    for i, digit in enumerate(digits()):
        image, label = dataset[i]
        np.testing.assert_array_equal(image[2:30, 2:30, 0], digit)
        assert image.sum() == digit.sum()
        np.testing.assert_array_equal(label, np.eye(5)[NUMBERS[i]])


def test_classes_that_do_not_count_from_0(folder: Path) -> None:
    """Such as the letters of EMNIST, 1 to 26."""
    (folder / f"{LABELS}.gz").write_bytes(gzip.compress(idx(1 + np.array(NUMBERS, np.uint8))))
    source = find_source(folder)
    assert [label for _, label in source.entries] == [*NUMBERS] and source.label.dim == 5
    assert source.classes == ("1", "2", "3", "4", "5")
    assert "the 5 class numbers from 1 to 5 became 0 to 4" in source.remarks[0]


def test_only_as_much_as_the_header_states_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress(idx(digits()) + bytes(2**26)))
    tracemalloc.start()
    with pytest.raises(DataError, match="is not a whole idx file"):
        find_source(folder)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    (folder / f"{IMAGES}.gz").write_bytes(gzip.compress(idx(digits())))
    monkeypatch.setattr(mnist, "_MAX_BYTES", 4000)
    with pytest.raises(DataError, match="holds 4,704 bytes by its header; at most 4,000 are read"):
        find_source(folder)


def test_files_that_are_not_compressed(folder: Path) -> None:
    packed = find_source(folder)
    assert (packed.classes, packed.remarks) == ((), ())  # numbered from 0
    for name in (IMAGES, LABELS):
        (folder / name).write_bytes(gzip.decompress((folder / f"{name}.gz").read_bytes()))
        (folder / f"{name}.gz").unlink()
    plain = find_source(folder)
    assert plain.entries == packed.entries
    np.testing.assert_array_equal(plain.read("4"), packed.read("4"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (LABELS, idx(np.zeros(5, np.uint8)), "5 labels for 6 images"),
        (LABELS, idx(np.zeros([6, 1], np.uint8)), r"labels-idx1-ubyte\.gz is not a whole idx file"),
        (IMAGES, idx(digits())[:-1], r"images-idx3-ubyte\.gz is not a whole idx file"),
        (IMAGES, b"\0\0\x08\3\0", r"images-idx3-ubyte\.gz is not a whole idx file"),
    ],
)
def test_damaged_files(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=message):
        find_source(folder)


def test_what_cannot_be_read_is_named(folder: Path) -> None:
    file = folder / f"{IMAGES}.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz cannot be read"):
        find_source(folder)
    (folder / f"{LABELS}.gz").unlink()
    file.write_bytes(gzip.compress(idx(digits())))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte cannot be read"):
        find_source(folder)
