"""The index of a data set: used where it fits the shards, without consequences where it is not there."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sg3tf.data import shards
from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.record_index import INDEX
from sg3tf.data.shards import MANIFEST, ContentDigest, encode_record, write_manifest
from sg3tf.data.tfrecord import RecordFile, record_writer
from sg3tf.images import save_png


def all_of(path: Path) -> np.ndarray:
    dataset = open_dataset(path)
    return np.stack([dataset[i][0] for i in range(len(dataset))])


@pytest.fixture
def no_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading all headers of a file fails."""
    monkeypatch.setattr(RecordFile, "_scan", None)


@pytest.mark.usefixtures("no_headers")
def test_opening_reads_no_header(shard_set: Path) -> None:
    assert len(all_of(shard_set)) == 6
    (shard_set / INDEX).unlink()
    with pytest.raises(TypeError):
        open_dataset(shard_set)


def test_index_is_where_the_records_are(shard_set: Path) -> None:
    files = [RecordFile(file) for file in sorted(shard_set.glob("*.tfrecords"))]
    sizes = [16 + len(file.read(i)) for file in files for i in range(len(file))]
    content = (shard_set / INDEX).read_bytes()
    assert content[:16] == b"sg3tf-index-1\n  "
    assert np.frombuffer(content[16:], "<u8").tolist() == [sum(sizes[:i]) for i in range(7)]


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.unlink(),
        lambda index: index.write_bytes(b""),
        lambda index: index.write_bytes(index.read_bytes()[:-8]),
        lambda index: index.write_bytes(b"another-index-9\n" + index.read_bytes()[16:]),
    ],
)
def test_without_a_whole_index_the_headers_are_read(shard_set: Path, change: Callable[[Path], None]) -> None:
    expected = all_of(shard_set)
    change(shard_set / INDEX)
    np.testing.assert_array_equal(all_of(shard_set), expected)


def test_a_shard_of_another_size_than_in_the_index(shard_set: Path) -> None:
    """It was written anew: its headers are read, and damage is named as without an index."""
    file = shard_set / "shards-00000-of-00002.tfrecords"
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    with record_writer(file) as write:
        for image in images:
            write(encode_record(np.where(np.arange(16) < 8, 0, image[:, :, 0])[:, :, None].repeat(3, 2), 0))
    found = open_dataset(shard_set)
    assert found[1][0][:, 8:, 0].tolist() == images[1, :, 8:, 0].tolist()
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"00000-of-00002\.tfrecords: record 2 is truncated"):
        open_dataset(shard_set)


def test_every_flipped_bit_of_an_index_is_noticed_or_harmless(shard_set: Path) -> None:
    index, expected = shard_set / INDEX, all_of(shard_set)
    content = index.read_bytes()
    noticed = 0
    for bit in range(0, 8 * len(content), 3):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        index.write_bytes(changed)
        try:
            np.testing.assert_array_equal(all_of(shard_set), expected, err_msg=f"bit {bit}")
        except DataError as error:
            assert f"{shard_set}" in str(error) and "record" in str(error) and "index" in str(error)
            noticed += 1
    assert noticed > 50


@pytest.mark.parametrize("writable", [True, False])
def test_the_index_of_many_records_without_one_is_kept(
    shard_set: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    index = shard_set / INDEX
    content = index.read_bytes()
    index.unlink()
    open_dataset(shard_set)
    assert not index.exists()  # a few are read as fast as an index
    monkeypatch.setattr(shards, "_KEPT_FROM", 6)
    if not writable:

        def refuse(folder: Path, sizes: np.ndarray) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(shards, "write_index", refuse)
    assert len(open_dataset(shard_set)) == 6
    assert (index.read_bytes() == content) if writable else not index.exists()


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """At most 100 files may be open (`ulimit -n 100`)."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    yield 100
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("indexed", [True, False])
def test_more_shards_than_files_may_be_open(
    tmp_path: Path, few_descriptors: int, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    count = 3 * few_descriptors
    monkeypatch.setattr("sg3tf.utils.files.sync", lambda path: None)  # 300 flushes to disk take seconds
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8)
    save_png(tmp_path / "images" / "0.png", images[0])
    build(tmp_path / "images", tmp_path / "x", BuildConfig(4, shards=1))
    manifest = json.loads((tmp_path / "x" / MANIFEST).read_text())
    folder = tmp_path / "many"
    folder.mkdir()
    records = [encode_record(image) for image in images]
    for i, record in enumerate(records):
        with record_writer(folder / f"{i}.tfrecords") as write:
            write(record)
    listed = [{"file": f"{i}.tfrecords", "num_images": 1, "digest": ""} for i in range(count)]
    write_manifest(folder, {**manifest, "num_images": count, "shards": listed, "digest": str(ContentDigest())})
    if indexed:
        shards.write_index(folder, [len(record) + 16 for record in records])
    dataset = open_dataset(folder)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: dataset[i * 7 % count][0], range(2 * count)))
    for i, image in enumerate(found):
        np.testing.assert_array_equal(image, images[i * 7 % count])
    shutil.rmtree(folder)
