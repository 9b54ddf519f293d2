"""open_dataset and Dataset: both layouts, resolutions, labels, subsets, errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sampler import batches
from sg3tf.data.tfrecord import record_writer, serialize_example
from sg3tf.data.verify import verify
from sg3tf.utils.resolution import Size

MakeSet = Callable[..., Path]


def test_ffhq_folder_gives_every_image_at_the_largest_resolution(
    ffhq_set: MakeSet, noise: Callable[..., list[np.ndarray]]
) -> None:
    dataset = open_dataset(ffhq_set(5))
    assert (dataset.name, dataset.resolution, dataset.channels) == ("faces", 8, 3)
    assert len(dataset) == dataset.num_images == 5
    for i, image in enumerate(noise(5)):
        found, label = dataset[i]
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, image)
        assert label.shape == (0,)
    with pytest.raises(IndexError):
        dataset[5]


def test_lower_levels_are_averages(ffhq_set: MakeSet, noise: Callable[..., list[np.ndarray]]) -> None:
    path = ffhq_set(2)
    expected = noise(2)[1].reshape(4, 2, 4, 2, 3).mean((1, 3))
    for dataset in (open_dataset(path, resolution=4), open_dataset(path / "faces-r02.tfrecords")):
        assert dataset.resolution == 4
        np.testing.assert_array_equal(dataset[1][0], np.rint(expected))


def test_classes_become_one_hot_and_vectors_stay(ffhq_set: MakeSet) -> None:
    path = ffhq_set(3, labels=[2, 0, 2])
    dataset = open_dataset(path, use_labels=True)
    assert dataset.label_dim == 3
    np.testing.assert_array_equal(dataset[0][1], [0, 0, 1])
    np.testing.assert_array_equal(dataset.label(1), [1, 0, 0])
    assert open_dataset(path)[0][1].shape == (0,)

    with open(path / "faces-rxx.labels", "wb") as file:
        np.save(file, np.array([[0.5, 1], [2, 3], [4, 5]]))
    dataset = open_dataset(path, use_labels=True)
    assert dataset[1][1].dtype == np.float32
    np.testing.assert_array_equal(dataset[1][1], [2, 3])


def test_own_records(shard_set: Path, image_folder: Path) -> None:
    dataset = open_dataset(shard_set, use_labels=True)
    assert (dataset.resolution, dataset.channels, dataset.label_dim) == (16, 3, 3)
    files = sorted(image_folder.glob("*/*.png"))
    assert len(dataset) == len(files) == 6
    for i in reversed(range(6)):
        image, label = dataset[i]
        np.testing.assert_array_equal(image, np.array(Image.open(files[i])))
        np.testing.assert_array_equal(label, np.eye(3)[i // 2])
        np.testing.assert_array_equal(dataset.label(i), label)


def test_one_class(shard_set: Path) -> None:
    dataset = open_dataset(shard_set, use_labels=True)
    bees = dataset.of_class("bee")
    assert len(bees) == sum(dataset.label(i).argmax() == 1 for i in range(len(dataset))) > 0
    assert all(bees.label(i).tolist() == [0, 1, 0] for i in range(len(bees)))
    assert bees.part == dataset.of_class("1").part != dataset.part
    for name in ("dog", "3", "-1"):
        with pytest.raises(DataError, match=f"class={name}: .* has the classes ant, bee, cat"):
            dataset.of_class(name)
    with pytest.raises(DataError, match="class=ant: .* has no image of it"):
        bees.of_class("ant")


def test_images_of_a_class_among_several(tmp_path: Path) -> None:
    """An image of two classes belongs to both; vectors whose numbers have no names have no classes."""
    labels = {"0.png": ["red", "round"], "1.png": ["red"], "2.png": ["green"]}
    for name in labels:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": list(labels.items())}))
    dataset = open_dataset(tmp_path, resolution=8, use_labels=True)
    found = {name: [i for i in range(3) if dataset.label(i)[j]] for j, name in enumerate(("green", "red", "round"))}
    assert found == {"green": [2], "red": [0, 1], "round": [0]}
    assert [dataset.of_class("red").label(i).tolist() for i in range(2)] == [[0, 1, 1], [0, 1, 0]]
    assert [len(dataset.of_class(name)) for name in ("green", "round", "2")] == [1, 1, 1]
    with pytest.raises(DataError, match="class=blue: .* has the classes green, red, round"):
        dataset.of_class("blue")
    (tmp_path / "dataset.json").write_text('{"labels": [["0.png", [1, 0]], ["1.png", [0, 1]], ["2.png", [1, 1]]]}')
    with pytest.raises(DataError, match="class=1: .* has none"):
        open_dataset(tmp_path, resolution=8, use_labels=True).of_class("1")


def test_original_numbers_of_classes(tmp_path: Path) -> None:
    """As the official code has them, whose labels have a number for class 0 although no image is in it."""
    labels = {"0.png": 1, "1.png": 4, "2.png": 2}
    for name in labels:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": list(labels.items())}))
    dataset = open_dataset(tmp_path, resolution=8, use_labels=True)
    assert [int(dataset.label(i).argmax()) for i in range(3)] == [0, 2, 1] and dataset.label_dim == 3
    wider = dataset.cached(10**6).with_label_dim(5)
    for _ in range(2):
        rows = [(wider.label(i).tolist(), wider[i][1].tolist()) for i in range(3)]
        assert rows == [(row, row) for row in np.eye(5)[[1, 4, 2]].tolist()]
    assert wider.label_dim == 5 and wider.digest == dataset.digest and len(wider.of_class("4")) == 1
    for same in (3, 4, 0):  # 4 has no place for the number 4
        assert dataset.with_label_dim(same) is dataset
    unused = open_dataset(tmp_path, resolution=8)
    assert unused.with_label_dim(5) is unused
    several = {"0.png": ["1", "4"], "1.png": ["4"], "2.png": ["2"]}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": list(several.items())}))
    wider = open_dataset(tmp_path, resolution=8, use_labels=True).with_label_dim(5)
    assert len(wider.of_class("4")) == 2 and wider.label(0).tolist() == [0, 1, 0, 0, 1]


def test_max_images_spreads_over_all_classes(shard_set: Path) -> None:
    dataset = open_dataset(shard_set, use_labels=True, max_images=3)
    assert len(dataset) == 3
    assert [int(dataset[i][1].argmax()) for i in range(3)] == [0, 1, 2]
    assert len(open_dataset(shard_set, max_images=100)) == 6


@pytest.mark.parametrize("validation", [1, 2, 5, 10, 19])
def test_split_is_disjoint_whole_and_evenly_spread(ffhq_set: MakeSet, validation: int) -> None:
    whole = open_dataset(ffhq_set(20, labels=[(float(i),) for i in range(20)]), use_labels=True)
    parts = training, held_out = whole.split(validation)
    assert (len(training), len(held_out)) == (20 - validation, validation)
    found = [[int(part.label(i)[0]) for i in range(len(part))] for part in parts]
    assert sorted(found[0] + found[1]) == list(range(20))
    for i, image in enumerate(found[1]):
        assert i * 20 // validation <= image < (i + 1) * 20 // validation
    for part, indices in zip(parts, found, strict=True):
        assert (part.name, part.digest, part.path) == (whole.name, whole.digest, whole.path)
        assert (part.resolution, part.channels, part.label_dim, part.num_images) == (8, 3, 1, len(part))
        for i, index in enumerate(indices):
            np.testing.assert_array_equal(part[i][0], whole[index][0])
            assert part.where(i) == whole.where(index)
        with pytest.raises(IndexError):
            part[len(part)]


@pytest.mark.parametrize("validation", [-1, 0, 3, 4])
def test_split_leaves_something_to_both(ffhq_set: MakeSet, validation: int) -> None:
    with pytest.raises(DataError, match=rf"validation is {validation}, it must be in 1\.\.2: .*faces.* has 3 images"):
        open_dataset(ffhq_set(3)).split(validation)


def test_balanced_classes(ffhq_set: MakeSet, shard_set: Path, image_folder: Path) -> None:
    """In every kind of data set, of a part of it, without labels in use, and in a stream."""
    faces = open_dataset(ffhq_set(7, labels=[0, 1, 0, 0, 2, 0, 0]), use_labels=True)
    balanced = faces.balanced()
    assert len(balanced) == 15
    assert np.sum([balanced.label(i) for i in range(15)], axis=0).tolist() == [5, 5, 5]
    assert {balanced.where(i) for i in range(15)} == {faces.where(i) for i in range(7)}
    assert len(faces.subsample(2).balanced()) == 2  # images 0 and 3, of one class
    labels = np.concatenate([labels for _, labels in islice(batches(balanced, 5, seed=0), 3)])
    assert labels.sum(0).tolist() == [5, 5, 5]
    for path in (shard_set, image_folder):
        dataset = open_dataset(path, resolution=16)
        assert len(dataset.split(1)[0].balanced()) == 6 and dataset.balanced().label_dim == 0


def test_balanced_needs_classes(ffhq_set: MakeSet) -> None:
    path = ffhq_set(3)
    with pytest.raises(
        DataError, match=r"r03\.tfrecords has no labels, and only data with one class per image .*; leave"
    ):
        open_dataset(path).balanced()
    with open(path / "faces-rxx.labels", "wb") as file:
        np.save(file, np.zeros([3, 2], np.float32))
    with pytest.raises(DataError, match="has vectors as labels, and only"):
        open_dataset(path).balanced()
    (path / "faces-classes.json").write_text('["red", "round"]')
    with pytest.raises(DataError, match="has several classes per image, and only data with one"):
        open_dataset(path).balanced()


def test_labels_are_read_without_records(shard_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From labels.npy; where it is not as written, from the records. Verifying finds that, by the digest or by both."""
    expected = np.stack([open_dataset(shard_set, use_labels=True)[i][1] for i in range(6)])
    file = shard_set / "labels.npy"
    with monkeypatch.context() as patch:
        patch.setattr("sg3tf.data.tfrecord.RecordFile.read", None)
        data = open_dataset(shard_set, use_labels=True)
        np.testing.assert_array_equal([data.label(i) for i in range(6)], expected)
    labels = np.load(file)
    for wrong in (labels[:5], labels.astype(np.float32), labels[:, None], labels[::-1]):
        np.save(file, wrong)
        data = open_dataset(shard_set, use_labels=True)
        np.testing.assert_array_equal([data.label(i) for i in range(6)], expected)
        assert data.balanced().num_images == 6
    with pytest.raises(DataError, match=r"labels\.npy has changed since it was written; delete it"):
        verify(shard_set)
    manifest = json.loads((shard_set / "manifest.json").read_text())
    del manifest["label"]["sha256"]  # as before there was one
    (shard_set / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"record 0: its label is not that in .*labels\.npy; build"):
        verify(shard_set)


def test_cached_reads_once(shard_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = open_dataset(shard_set, use_labels=True)
    cached = plain.cached(6 * 16 * 16 * 3)
    first = [cached[i] for i in range(6)]
    monkeypatch.setattr("sg3tf.data.tfrecord.RecordFile.read", None)
    for part in (cached, *cached.split(2)):
        for i in range(len(part)):
            image, label = part[i]
            assert not image.flags.writeable and not label.flags.writeable
    for i, (image, label) in enumerate(first):
        np.testing.assert_array_equal(cached[i][0], image)
        np.testing.assert_array_equal(cached[i][1], label)
        np.testing.assert_array_equal(cached.label(i), label)
    with pytest.raises(TypeError):
        plain[0]


def test_cache_that_is_too_small_names_the_sizes(shard_set: Path) -> None:
    dataset = open_dataset(shard_set)
    with pytest.raises(DataError, match=r"6 images of 16x16x3 take 0\.01 GB .* limited to 4.607e-06"):
        dataset.cached(6 * 16 * 16 * 3 - 1)
    assert len(open_dataset(shard_set, max_images=5).cached(6 * 16 * 16 * 3 - 1)) == 5


def test_cache_from_many_threads(shard_set: Path) -> None:
    plain, cached = open_dataset(shard_set), open_dataset(shard_set).cached(2**20)
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda i: cached[i % 6][0], range(600)))
    for i, image in enumerate(images):
        np.testing.assert_array_equal(image, plain[i % 6][0])


def test_digest_follows_content_not_place(ffhq_set: MakeSet, tmp_path: Path) -> None:
    path = ffhq_set(3)
    shutil.copytree(path, tmp_path / "copy")
    assert open_dataset(path).digest == open_dataset(tmp_path / "copy").digest
    assert open_dataset(path).digest != open_dataset(path, resolution=4).digest
    with open(path / "faces-rxx.labels", "wb") as file:
        np.save(file, np.array([0, 1, 2]))
    assert open_dataset(path).digest != open_dataset(tmp_path / "copy").digest


def test_resolutions_that_do_not_exist(ffhq_set: MakeSet, shard_set: Path) -> None:
    faces = ffhq_set(1)
    with pytest.raises(DataError, match=r"resolution 16 does not exist; available: 4, 8"):
        open_dataset(faces, resolution=16)
    with pytest.raises(DataError, match=r"resolution 12 is not a power of two; available: 4, 8"):
        open_dataset(faces, resolution=12)
    with pytest.raises(DataError, match=r"resolution 8 does not exist; available: 16"):
        open_dataset(shard_set, resolution=8)
    with pytest.raises(DataError, match=r"resolution 8 does not exist; available: 4"):
        open_dataset(faces / "faces-r02.tfrecords", resolution=8)


def test_resolutions_in_every_form(image_folder: Path, shard_set: Path, tmp_path: Path) -> None:
    """Forms that users write, and that of options.json."""
    build(image_folder, tmp_path / "wide", BuildConfig(Size(32, 16)))
    for path in (tmp_path / "wide", image_folder):
        for resolution in ("32x16", [32, 16], (32, 16), Size(32, 16)):
            assert open_dataset(path, resolution=resolution).resolution == Size(32, 16)
    assert open_dataset(shard_set, resolution="16x16").resolution == 16
    with pytest.raises(DataError, match=r"resolution 16x32 does not exist; available: 32x16"):
        open_dataset(tmp_path / "wide", resolution="16x32")
    with pytest.raises(ValueError, match=r"resolution='wide': give the side of a square"):
        open_dataset(shard_set, resolution="wide")


def test_labels_missing(ffhq_set: MakeSet) -> None:
    with pytest.raises(DataError, match="faces has no labels; .*--cond"):
        open_dataset(ffhq_set(1), use_labels=True)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(4, int), r"shape \[4\] for 3 images"),
        (np.zeros((3, 2, 2)), r"shape \[3, 2, 2\]"),
        (np.array([0.5, 1, 2]), "integers from 0, not float64"),
        (np.array([0, -1, 2]), "integers from 0"),
    ],
)
def test_bad_label_files(ffhq_set: MakeSet, labels: np.ndarray, message: str) -> None:
    path = ffhq_set(3)
    with open(path / "faces-rxx.labels", "wb") as file:
        np.save(file, labels)
    with pytest.raises(DataError, match=rf"faces-rxx\.labels.*{message}"):
        open_dataset(path)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent does not exist; --data takes a folder"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no images; give a folder or zip file of images, or TFRecords"):
        open_dataset(tmp_path)
    with record_writer(tmp_path / "x-r03.tfrecords"):
        pass
    with pytest.raises(DataError, match=r"x-r03\.tfrecords holds no records"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"shape": [3, 8, 16], "data": bytes(384)}, "8x16 .*square"),
        ({"shape": [3, 12, 12], "data": bytes(432)}, "12x12 .*power of two"),
        ({"shape": [3, 16, 16], "data": bytes(768)}, "16x16 images, but is named -r03;"),
        ({"picture": b"?"}, r"features are \['picture'\]"),
    ],
)
def test_records_of_another_kind(tmp_path: Path, features: dict[str, bytes | list[int]], message: str) -> None:
    with record_writer(tmp_path / "x-r03.tfrecords") as add:
        add(serialize_example(features))
    with pytest.raises(DataError, match=rf"x-r03\.tfrecords.*{message}"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("second", [{"shape": [3, 4, 4], "data": bytes(48)}, {"shape": [3, 8, 8], "data": bytes(191)}])
def test_a_record_unlike_the_first_is_named(tmp_path: Path, second: dict[str, bytes | list[int]]) -> None:
    with record_writer(tmp_path / "x.tfrecords") as add:
        add(serialize_example({"shape": [3, 8, 8], "data": bytes(192)}))
        add(serialize_example(second))
    dataset = open_dataset(tmp_path / "x.tfrecords")
    with pytest.raises(DataError, match=r"x\.tfrecords: record 1: "):
        dataset[1]


def test_two_data_sets_in_one_folder(ffhq_set: MakeSet) -> None:
    path = ffhq_set(1)
    shutil.copy(path / "faces-r02.tfrecords", path / "cats-r02.tfrecords")
    with pytest.raises(DataError, match=r"several data sets \(cats, faces\)"):
        open_dataset(path)
    assert len(open_dataset(path / "cats-r02.tfrecords")) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "photo.png",
            b"\x89PNG\r\n\x1a\n" + bytes(40),
            "is neither a .tfrecords file nor a whole zip file; --data takes",
        ),
        ("images.tar", bytes(1024), "is neither a .tfrecords file nor a whole zip file; --data takes a folder"),
        (
            "images.tar.gz",
            b"\x1f\x8b\x08" + bytes(40),
            "is compressed with gzip; unpack it and give the folder or file",
        ),
        ("x-r03.tfrecords", b"\x1f\x8b\x08" + bytes(40), "is compressed with gzip; unpack it"),
        ("x-r03.tfrecords", bytes(40), "record 0 is not a TFRecord"),
    ],
    ids=["picture", "tar", "compressed tar", "compressed records", "damaged records"],
)
def test_files_that_are_no_data_set(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}:? {message}"):
        open_dataset(tmp_path / name)


def test_one_file_of_a_data_set(shard_set: Path) -> None:
    with pytest.raises(DataError, match=rf"is one file of a data set; give its folder, {shard_set}"):
        open_dataset(shard_set / "shards-00000-of-00002.tfrecords")


def test_an_empty_name_is_not_the_current_folder(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(image_folder)
    assert len(open_dataset(".", resolution=8)) == 6
    with pytest.raises(DataError, match="the name of the data set is empty"):
        open_dataset("", resolution=8)


def test_attributes_of_macos_beside_records(ffhq_set: MakeSet) -> None:
    path = ffhq_set(2)
    (path / "._faces-r03.tfrecords").write_bytes(b"attributes")
    assert len(open_dataset(path)) == 2


def test_manifests_that_cannot_be_trusted(shard_set: Path) -> None:
    file = shard_set / "manifest.json"
    good = json.loads(file.read_text())
    changes = [
        ({**good, "format": "other"}, "format is 'other'"),
        ({**good, "num_images": 7}, "counts 7 images, the shards hold 6"),
        ({k: v for k, v in good.items() if k != "label"}, "lacks 'label'"),
        ({**good, "shards": [{"file": "gone.tfrecords", "num_images": 6}]}, "gone.tfrecords"),
        ({**good, "num_images": 2, "shards": [{**good["shards"][0], "num_images": 2}]}, "manifest lists 2"),
    ]
    for manifest, message in changes:
        file.write_text(json.dumps(manifest))
        with pytest.raises(DataError, match=message):
            open_dataset(shard_set)
    file.write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        open_dataset(shard_set)
