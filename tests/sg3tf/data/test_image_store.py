"""Image files as a data set: the pixels and labels that the builder stores, in folders and zip files."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.build.builder import build
from sg3tf.data.conversion import ENLARGED, BuildConfig
from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sampler import batches
from sg3tf.data.sources import files
from sg3tf.data.verify import verify


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of many kinds in two classes: sizes, modes, 16 bits, turned by EXIF, smaller than the resolution."""
    folder = tmp_path / "photos"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    files: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "cat/0.png": (Image.fromarray(pixels[:, :, :3]), {}),
        "cat/1.jpg": (Image.fromarray(pixels[:30, :, :3]), {"exif": exif}),
        "cat/2.png": (Image.fromarray(pixels[:, :33]), {}),
        "dog/a.png": (Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257), {}),
        "dog/b.gif": (Image.fromarray(pixels[:, :, :3]).quantize(16), {}),
        "dog/c.webp": (Image.fromarray(pixels[:9, :7, :3]), {"lossless": True}),
    }
    for name, (image, options) in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name, **options)
    (folder / "beside.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    return folder


def zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                archive.write(file, Path("inside") / file.relative_to(folder))
    return folder.with_suffix(".zip")


def assert_equal(one: Dataset, other: Dataset) -> None:
    assert (len(one), one.resolution, one.channels, one.label_dim, one.classes) == (
        *(len(other), other.resolution, other.channels, other.label_dim, other.classes),
    )
    for i in range(len(one)):
        for found, expected in zip(one[i], other[i], strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=one.where(i))
        np.testing.assert_array_equal(one.label(i), other.label(i))


@pytest.mark.parametrize("form", [lambda folder: folder, zipped])
def test_pixels_labels_and_order_are_those_of_a_build(
    photos: Path, tmp_path: Path, form: Callable[[Path], Path]
) -> None:
    build(photos, tmp_path / "built", BuildConfig(16))
    built, direct = (open_dataset(x, use_labels=True, resolution=16) for x in (tmp_path / "built", form(photos)))
    assert (len(direct), direct.name, direct.classes) == (6, "photos", ("cat", "dog"))
    assert_equal(direct, built)
    assert_equal(direct.split(2)[0], built.split(2)[0])
    for start in (0, 7):
        streams = [batches(data, 4, seed=0, start_nimg=start, mirror=True) for data in (direct, built)]
        for (images, labels), (others, other_labels) in islice(zip(*streams, strict=True), 4):
            np.testing.assert_array_equal(images, others)
            np.testing.assert_array_equal(labels, other_labels)


def test_labels_of_dataset_json(photos: Path, tmp_path: Path) -> None:
    names = [file.relative_to(photos).as_posix() for file in sorted(photos.rglob("*.*")) if file.is_file()]
    (photos / "dataset.json").write_text(json.dumps({"labels": [[name, [i, 0.5]] for i, name in enumerate(names)]}))
    build(photos, tmp_path / "built", BuildConfig(8))
    direct = open_dataset(photos, resolution=8, use_labels=True)
    assert direct.label_dim == 2 and len(direct) == 7
    assert_equal(direct, open_dataset(tmp_path / "built", use_labels=True))


def test_labels_that_cannot_be_read_do_no_harm_where_none_are_used(photos: Path) -> None:
    (photos / "cat" / "dataset.json").symlink_to("nothing")
    data = open_dataset(photos, resolution=8)
    assert any(line.startswith("no labels: ") and "cat/dataset.json" in line for line in data.remarks)
    with pytest.raises(DataError, match=r"the labels in cat/dataset\.json are not read"):
        open_dataset(photos, resolution=8, use_labels=True)
    (photos / "dataset.json").symlink_to("nothing")
    with pytest.raises(DataError, match=r"dataset\.json cannot be read: No such file or directory"):
        open_dataset(photos, resolution=8, use_labels=True)
    assert len(open_dataset(photos, resolution=8)) == 7
    (photos / "dataset.json").unlink()
    (photos / "cat" / "dataset.json").unlink()
    (photos / "cat" / "dataset.json").write_text('{"labels": ["cat", "dog"]}')  # of another program
    assert open_dataset(photos, resolution=8, use_labels=True).classes == ("cat", "dog")


def test_digest_follows_content_not_place(photos: Path, tmp_path: Path) -> None:
    def digest(path: Path, resolution: int = 8) -> str:
        return open_dataset(path, resolution=resolution).digest

    before, archive = digest(photos), zipped(photos)
    shutil.copytree(photos, tmp_path / "copy" / "photos")
    assert digest(tmp_path / "copy" / "photos") == before != digest(photos, 16)
    (tmp_path / "copy" / "photos" / "cat" / "0.png").rename(tmp_path / "copy" / "photos" / "cat" / "9.png")
    assert digest(tmp_path / "copy" / "photos") != before
    zip_before = digest(archive)
    image = photos / "cat" / "0.png"
    content = bytearray(image.read_bytes())
    content[60] ^= 1
    image.write_bytes(content)
    other = tmp_path / "other.zip"
    shutil.move(zipped(photos), other)
    assert digest(other) != zip_before  # by its checksum
    image.write_bytes(content + b"\0")
    assert digest(photos) != before


def test_a_damaged_image_is_named_when_it_is_read(photos: Path) -> None:
    file = photos / "dog" / "a.png"
    file.write_bytes(file.read_bytes()[:200])
    data = open_dataset(photos, resolution=8)
    remedy = r".*; repair or remove it, or make a data set, which leaves it out: sg3tf data build --source=\S+ "
    with pytest.raises(DataError, match=rf"photos: dog/a\.png: {remedy}"):
        data[3]
    with pytest.raises(DataError, match=r"photos: dog/a\.png: "):
        verify(photos, 8)
    file.unlink()
    with pytest.raises(DataError, match=r"photos: dog/a\.png: .*No such file"):
        data[3]
    assert verify(photos, 8).startswith(f"{photos}: ok, 5 images at 8, 3 channels, class labels [2]")


@pytest.mark.parametrize("form", [lambda folder: folder, zipped])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE])
def test_a_failing_disk_is_no_reason_to_remove_an_image(
    photos: Path, monkeypatch: pytest.MonkeyPatch, form: Callable[[Path], Path], number: int
) -> None:
    """A run could not be resumed without it."""
    path = form(photos)
    data = open_dataset(path, resolution=8)

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    for function in ("read_file", "zip_version"):
        with monkeypatch.context() as patch, pytest.raises(DataError) as failure:
            patch.setattr(files, function, fail)
            data[3]
        name = data.where(3)
        assert str(failure.value) == f"{name}: cannot be read ({os.strerror(number)})"
    monkeypatch.setattr(files, "stamp", fail)
    with pytest.raises(DataError, match=rf"cat/0\.png cannot be read: {os.strerror(number)}$"):
        open_dataset(path, resolution=8)


def test_a_resolution_is_needed(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"photos holds image files: give the resolution .* --resolution=256"):
        open_dataset(photos)
    with pytest.raises(DataError, match=r"--resolution=12 must be a power of two"):
        open_dataset(photos, resolution=12)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no images"):
        open_dataset(tmp_path / "empty", resolution=8)


def test_what_was_found_is_said(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "notes.txt").write_text("no image")
    remarks = open_dataset(photos, resolution=8).remarks
    assert remarks == (
        f"6 image files in {photos}, class labels [2]",
        "other files left out: 1, e.g. notes.txt",
        "left out: 1, e.g. beside.png: beside the class folders; to use such images, move them into a folder, or make "
        f"a data set without classes: sg3tf data build --source={photos} --resolution=256 --outdir=FOLDER --nolabels",
    )
    verify(photos, 8)
    assert capsys.readouterr().out.splitlines() == [
        *remarks,
        f"note: 1: {ENLARGED}, e.g. {photos}: dog/c.webp",
    ]


def test_what_is_done_to_the_first_image_is_said(tmp_path: Path) -> None:
    for i, image in enumerate((Image.new("L", (8, 9)), Image.new("RGB", (8, 8)))):
        image.save(tmp_path / f"{i}.png")
    build_command = f"sg3tf data build --source={tmp_path} --resolution=256 --outdir=FOLDER"
    assert open_dataset(tmp_path, resolution=16).remarks[1:] == (
        f"grayscale, read as RGB: 0.png, for one; for one channel: {build_command} --channels=1",
        f"{ENLARGED}: 0.png, for one; sg3tf data verify counts them",
    )
    (tmp_path / "0.png").write_bytes(b"damaged")
    assert len(open_dataset(tmp_path, resolution=16).remarks) == 1


def test_malformed_labels_are_an_error_only_in_use(photos: Path) -> None:
    (photos / "dataset.json").write_text('{"labels": [["beside.png", 0], ["cat/0.png", 1.0]]}')
    dataset = open_dataset(photos, resolution=8)
    assert (len(dataset), dataset.label_dim) == (7, 0)
    assert dataset.remarks[1].startswith(f"no labels: {photos}: dataset.json lacks 5 of 7 images")
    for read in (lambda: open_dataset(photos, resolution=8, use_labels=True), lambda: verify(photos, 8)):
        with pytest.raises(DataError, match=r"dataset\.json lacks 5 of 7 images"):
            read()


def test_a_zip_file_from_many_threads(photos: Path) -> None:
    data = open_dataset(zipped(photos), resolution=8)
    expected = [data[i][0] for i in range(6)]
    with ThreadPoolExecutor(8) as pool:
        for i, image in enumerate(pool.map(lambda i: data[i % 6][0], range(300))):
            np.testing.assert_array_equal(image, expected[i % 6])


def test_caches_notice_other_pictures_of_the_same_size(photos: Path, tmp_path: Path) -> None:
    file, pixels = photos / "cat" / "0.bmp", np.zeros([16, 16, 3], np.uint8)
    Image.fromarray(pixels).save(file)
    os.utime(file, ns=(10**18, 10**18))
    before = open_dataset(photos, resolution=8)
    assert open_dataset(photos, resolution=8).cache_digest == before.cache_digest != before.digest
    Image.fromarray(pixels + 255).save(file)
    after = open_dataset(photos, resolution=8)
    assert after.digest == before.digest  # as a copy has other times: ADR 0037
    assert after.cache_digest != before.cache_digest
    build(photos, tmp_path / "built", BuildConfig(8))
    built = open_dataset(tmp_path / "built")
    assert built.cache_digest == built.digest


def test_a_zip_file_that_was_replaced(photos: Path) -> None:
    before = open_dataset(zipped(photos), resolution=8)
    image = before[0][0]
    (photos / "cat" / "0.png").write_bytes((photos / "cat" / "2.png").read_bytes())
    archive = photos.with_suffix(".zip")
    archive.rename(photos.with_suffix(".old"))
    zipped(photos)
    after = open_dataset(archive, resolution=8)
    assert after.digest != before.digest
    assert np.abs(after[0][0].astype(int) - image).max() > 0
    with pytest.raises(DataError, match=r"photos\.zip was removed or written anew while it was in use; start again"):
        before[0]
