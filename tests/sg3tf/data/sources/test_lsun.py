"""LMDB folders with encoded images."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sources import find_source
from sg3tf.utils.extras import MissingExtraError


def encode(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True)  # LSUN's files are WebP, too
    return file.getvalue()


@pytest.mark.parametrize("workers", [1, 2])
def test_images_in_the_order_of_their_keys(tmp_path: Path, workers: int) -> None:
    lmdb = pytest.importorskip("lmdb")
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    with lmdb.open(str(tmp_path / "rooms"), map_size=2**20) as db, db.begin(write=True) as transaction:
        for key, image in zip((b"c", b"a\xff", b"b", b"e", b"d"), images, strict=True):
            transaction.put(key, encode(image))
        transaction.put(b"f", b"no image")
    report = build(tmp_path / "rooms", tmp_path / "x", BuildConfig(16), workers=workers)
    assert (report.num_images, report.num_skipped) == (5, 1)
    dataset = open_dataset(tmp_path / "x")
    for i, row in enumerate((1, 2, 0, 4, 3)):
        np.testing.assert_array_equal(dataset[i][0], images[row])


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    (tmp_path / "data.mdb").write_bytes(b"damaged" * 1000)
    with pytest.raises(DataError, match="is not a readable LMDB folder"):
        find_source(tmp_path)
    lmdb.open(str(tmp_path / "empty"), map_size=2**20).close()
    with pytest.raises(DataError, match="empty holds no images"):
        find_source(tmp_path / "empty")


def test_a_damaged_or_incomplete_database(tmp_path: Path) -> None:
    """LMDB maps the file into memory: reading beyond its end would kill the process."""
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(tmp_path), map_size=2**22) as db, db.begin(write=True) as transaction:
        for i in range(300):
            transaction.put(b"%05d" % i, bytes(3000))
    content = (tmp_path / "data.mdb").read_bytes()
    head = 2 * os.sysconf("SC_PAGE_SIZE")  # two pages that say where the others are
    damaged = content[:head] + b"?" * (len(content) - head)
    for name, stored, words in (
        ("damaged", damaged, r"damaged is not a readable LMDB folder: .*MDB_.*; copy it again"),
        ("incomplete", content[: len(content) // 2], r"data\.mdb has [\d,]+ of [\d,]+ bytes; copy it again"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.mdb").write_bytes(stored)
        with pytest.raises(DataError, match=words):
            find_source(tmp_path / name)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.mdb").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(
        MissingExtraError, match=r"reading an LMDB folder needs the package lmdb: pip install 'sg3tf\[lmdb\]'"
    ):
        find_source(tmp_path)
