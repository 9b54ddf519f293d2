"""Output of img2dataset, as TFRecords written by TensorFlow, as tar files and as Parquet files."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sources import find_source

tf = pytest.importorskip("tensorflow", reason="the environment of Apache Beam has no TensorFlow")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)


def encoded(i: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(IMAGES[i]).save(file, "webp", lossless=True)
    return file.getvalue()


def write_tfrecords(folder: Path, rows: list[list[int]]) -> None:
    """One file per list of images, and the table that img2dataset writes beside it."""
    for number, images in enumerate(rows):
        with tf.io.TFRecordWriter(str(folder / f"{number:05d}.tfrecord")) as writer:
            for i in images:
                values = {"key": f"{number:05d}{i:04d}".encode(), "webp": encoded(i), "txt": b"a caption"}
                feature = {k: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])) for k, v in values.items()}
                feature["width"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[16]))
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
        pq.write_table(pa.table({"key": list(map(str, images))}), folder / f"{number:05d}.parquet")
        (folder / f"{number:05d}_stats.json").write_text("{}")


def write_parquet(folder: Path, rows: list[list[int | None]]) -> None:
    """One file per list of images, None for a download that failed, in groups of two rows."""
    for number, images in enumerate(rows):
        columns = {
            "key": [str(i) for i in range(len(images))],
            "status": ["failed_to_download" if i is None else "success" for i in images],
            "webp": [None if i is None else encoded(i) for i in images],
        }
        pq.write_table(pa.table(columns), folder / f"{number:05d}.parquet", row_group_size=2)


def test_tfrecords(tmp_path: Path) -> None:
    (tmp_path / "laion").mkdir()
    write_tfrecords(tmp_path / "laion", [[0, 1, 2], [3, 4]])
    build(tmp_path / "laion", tmp_path / "x", BuildConfig(16), workers=2)
    data = open_dataset(tmp_path / "x")
    np.testing.assert_array_equal(np.stack([data[i][0] for i in range(len(data))]), IMAGES)


def test_parquet(tmp_path: Path) -> None:
    (tmp_path / "laion").mkdir()
    write_parquet(tmp_path / "laion", [[0, None, 1, 2, None], [None], [3, 4]])
    report = build(tmp_path / "laion", tmp_path / "x", BuildConfig(16))
    assert report.num_skipped == 0 and "downloads that failed, left out: 3" in report.lines()
    data = open_dataset(tmp_path / "x")
    np.testing.assert_array_equal(np.stack([data[i][0] for i in range(len(data))]), IMAGES)
    assert json.loads((tmp_path / "x" / "manifest.json").read_text())["label"]["kind"] == "none"


def test_tar_files(tmp_path: Path) -> None:
    """Captions and tables beside the images are left out; so is a tar file of another name beside pictures."""
    source = tmp_path / "laion"
    source.mkdir()
    for number, images in enumerate([[0, 1, 2], [3, 4]]):
        with tarfile.open(source / f"{number:05d}.tar", "w") as archive:
            for i in images:
                for ending, content in (("json", b"{}"), ("webp", encoded(i)), ("txt", b"a caption")):
                    member = tarfile.TarInfo(f"{number:05d}{i:04d}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        pq.write_table(pa.table({"key": list(map(str, images))}), source / f"{number:05d}.parquet")
    (source / "logs").mkdir()
    (source / "logs" / "0.txt").write_text("no picture")
    assert build(source, tmp_path / "x", BuildConfig(16)).num_skipped == 0
    data = open_dataset(tmp_path / "x")
    np.testing.assert_array_equal(np.stack([data[i][0] for i in range(len(data))]), IMAGES)
    (source / "00002.tar").write_bytes(b"no tar file")
    with pytest.raises(DataError, match=r"00002\.tar is not a readable tar file"):
        find_source(source)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "0.webp").write_bytes(encoded(0))
    (source / "00000.tar").rename(pictures / "backup.tar")
    assert [name for name, _ in find_source(pictures).entries] == ["0.webp"]


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_other_files_of_tar_files_are_said(tmp_path: Path) -> None:
    """Masks are named after their pictures, and macOS stores attributes beside them."""
    names = ["0.JPG", "a.b/1.webp", "0.seg.png", "._0.JPG", "2.gif", "0.txt", "0.json"]
    write_tar(tmp_path / "00000.tar", {name: encoded(0) for name in names})
    source = find_source(tmp_path)
    assert [name for name, _ in source.entries] == ["00000.tar/0", "00000.tar/1"]
    assert source.remarks == ("other files left out: 2, e.g. 00000.tar/0.seg.png",)


@pytest.mark.parametrize("damage", ["header", "no end", "concatenated"])
def test_pictures_of_damaged_tar_files_are_not_lost(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "00000.tar"
    write_tar(file, {f"{i}.webp": encoded(i) for i in range(2)})
    content, second = file.read_bytes(), file.read_bytes().find(b"1.webp")
    end = len(content.rstrip(b"\0")) // 512 * 512 + 512
    damaged = {
        "header": content[:second] + b"?" * 512 + content[second + 512 :],
        "no end": content[:end],
        "concatenated": content + content,
    }
    file.write_bytes(damaged[damage])
    with pytest.raises(DataError, match=r"00000\.tar is damaged, cut off or several tar files in one: from byte \d+"):
        find_source(tmp_path)


def test_pictures_beside_one_file_of_records_are_image_files(tmp_path: Path) -> None:
    write_tfrecords(tmp_path, [[0]])
    for i in range(2):
        (tmp_path / f"{i}.webp").write_bytes(encoded(i))
    assert [name for name, _ in find_source(tmp_path).entries] == ["0.webp", "1.webp"]


def test_attributes_of_macos_beside_records(tmp_path: Path) -> None:
    write_tfrecords(tmp_path, [[0]])
    (tmp_path / "._00000.tfrecord").write_bytes(b"attributes")
    assert [name for name, _ in find_source(tmp_path).entries] == ["00000.tfrecord/0"]
    (tmp_path / "00000.tfrecord").unlink()
    (tmp_path / "00000.parquet").unlink()
    write_parquet(tmp_path, [[0]])
    (tmp_path / "._00000.parquet").write_bytes(b"attributes")
    assert [name for name, _ in find_source(tmp_path).entries] == ["00000.parquet/0"]


def test_folders_of_images_beside_tables_are_image_files(tmp_path: Path) -> None:
    (tmp_path / "00000").mkdir()
    Image.fromarray(IMAGES[0]).save(tmp_path / "00000" / "000000000.png")
    pq.write_table(pa.table({"key": ["000000000"]}), tmp_path / "00000.parquet")
    assert [name for name, _ in find_source(tmp_path).entries] == ["00000/000000000.png"]
    assert len(open_dataset(tmp_path, resolution=8)) == 1


@pytest.mark.parametrize("beside", ["metadata.parquet", "2023.tar"])
def test_pictures_beside_one_table_or_archive_are_image_files(tmp_path: Path, beside: str) -> None:
    """As in the imagefolder layout of Hugging Face."""
    if beside.endswith("parquet"):
        pq.write_table(pa.table({"file_name": ["0.png", "1"]}), tmp_path / beside)
    else:
        tarfile.open(tmp_path / beside, "w").close()
    Image.fromarray(IMAGES[0]).save(tmp_path / "0.png")
    (tmp_path / "1").write_bytes(encoded(1))
    assert [name for name, _ in find_source(tmp_path).entries] == ["0.png", "1"]
    assert len(open_dataset(tmp_path, resolution=8)) == 2


def test_folders_of_pictures_beside_an_archive_are_image_files(tmp_path: Path) -> None:
    tarfile.open(tmp_path / "2020.tar", "w").close()
    for i, year in enumerate(("2021", "2022")):
        (tmp_path / year).mkdir()
        Image.fromarray(IMAGES[i]).save(tmp_path / year / f"{i}.png")
    (tmp_path / ".cache").mkdir()
    source = find_source(tmp_path)
    assert [name for name, _ in source.entries] == ["2021/0.png", "2022/1.png"]
    assert source.remarks == ("other files left out: 1, e.g. 2020.tar",)
    assert len(open_dataset(tmp_path, resolution=8)) == 2


def test_a_picture_beside_tables_with_images_is_left_out(tmp_path: Path) -> None:
    write_parquet(tmp_path, [[3], [4]])
    Image.fromarray(IMAGES[0]).save(tmp_path / "preview.png")
    assert [name for name, _ in find_source(tmp_path).entries] == ["00000.parquet/0", "00001.parquet/0"]


def test_damage_and_tables_without_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"url": ["x"]}), tmp_path / "0.parquet")
    with pytest.raises(DataError, match="holds no images"):
        find_source(tmp_path)
    (tmp_path / "0.parquet").unlink()
    (tmp_path / "1.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"1\.parquet is not a readable Parquet file"):
        find_source(tmp_path)
    (tmp_path / "1.parquet").unlink()
    with tf.io.TFRecordWriter(str(tmp_path / "0.tfrecord")) as writer:
        writer.write(b"")
    with pytest.raises(DataError, match="none of the 1 images could be used"):
        build(tmp_path, tmp_path / "x", BuildConfig(16))
    with pytest.raises(DataError, match="holds neither records nor image files"):
        open_dataset(tmp_path, resolution=8)
