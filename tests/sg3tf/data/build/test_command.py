"""sg3tf.data.build: a folder or zip file of images to TFRecords, atomically."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.build.builder import build
from sg3tf.data.build.command import define_flags, main
from sg3tf.data.conversion import BuildConfig, parse_aspect, resolution_of_aspect
from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.encoding import Encoding
from sg3tf.data.errors import DataError
from sg3tf.data.open_files import RandomAccessFile
from sg3tf.data.sampler import batches
from sg3tf.data.sources import find_source
from sg3tf.data.verify import verify
from sg3tf.utils import command_line
from sg3tf.utils.checksums import digest_file
from sg3tf.utils.resolution import Size


def contents(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}


def digest(dataset: Dataset, indices: Iterable[int]) -> str:
    whole = hashlib.sha256()
    for i in indices:
        image, label = dataset[i]
        whole.update(hashlib.sha256(image.tobytes() + label.tobytes()).digest())
    return f"sha256:{whole.hexdigest()}"


def write_labels(folder: Path, rows: object) -> None:
    (folder / "dataset.json").write_text(json.dumps({"labels": rows}))


def test_manifest_says_what_is_there(shard_set: Path) -> None:
    manifest = json.loads((shard_set / "manifest.json").read_text())
    dataset = open_dataset(shard_set, use_labels=True)
    assert manifest == {
        "format": "sg3tf-images-1",
        "name": "shards",
        "resolution": 16,
        "channels": 3,
        "num_images": 6,
        "num_skipped": 0,
        "label": {
            **{"kind": "class", "dim": 3, "optional": False},
            **{"classes": ["ant", "bee", "cat"], "counts": [2, 2, 2]},
            "sha256": digest_file(shard_set / "labels.npy"),
        },
        "crop": "center",
        "aspect": None,
        "resize_filter": "lanczos",
        "encoding": "png",
        "digest": digest(dataset, range(6)),
        "shards": [
            {"file": "shards-00000-of-00002.tfrecords", "num_images": 3, "digest": digest(dataset, range(3))},
            {"file": "shards-00001-of-00002.tfrecords", "num_images": 3, "digest": digest(dataset, range(3, 6))},
        ],
    }


@pytest.mark.parametrize("kind", ["shards", "ffhq"])
def test_workers_do_not_change_a_byte(tmp_path: Path, image_folder: Path, kind: str) -> None:
    config = BuildConfig(8, format=kind, shards=2)
    report = build(image_folder, tmp_path / "1" / "x", config, workers=1)
    assert (report.num_images, report.num_skipped) == (6, 0)
    report = build(image_folder, tmp_path / "2" / "x", config, workers=2)
    assert (report.num_images, report.num_skipped) == (6, 0)
    assert contents(tmp_path / "1" / "x") == contents(tmp_path / "2" / "x")


def test_zip_is_like_the_folder(tmp_path: Path, image_folder: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in image_folder.glob("*/*.png"):
            archive.write(file, Path("holiday") / file.relative_to(image_folder))
        archive.writestr("__MACOSX/holiday/ant/0.png", "no image")
    build(image_folder, tmp_path / "1" / "x", BuildConfig(16))
    build(tmp_path / "images.zip", tmp_path / "2" / "x", BuildConfig(16))
    assert contents(tmp_path / "1" / "x") == contents(tmp_path / "2" / "x")


def test_ffhq_layout(tmp_path: Path, image_folder: Path) -> None:
    build(image_folder, tmp_path / "x", BuildConfig(16, format="ffhq"))
    names = ["sha256.json", "x-classes.json", "x-r02.tfrecords", "x-r03.tfrecords", "x-r04.tfrecords", "x-rxx.labels"]
    assert sorted(contents(tmp_path / "x")) == names
    dataset = open_dataset(tmp_path / "x", use_labels=True)
    files = sorted(image_folder.glob("*/*.png"))
    for i in range(6):
        np.testing.assert_array_equal(dataset[i][0], np.array(Image.open(files[i])))
        assert dataset[i][1].argmax() == i // 2
    assert dataset.classes == ("ant", "bee", "cat")


def test_labels_from_dataset_json(tmp_path: Path, image_folder: Path) -> None:
    names = [f.relative_to(image_folder).as_posix() for f in sorted(image_folder.glob("*/*.png"))]
    write_labels(image_folder, [[name, [i, 0.5]] for i, name in enumerate(names)])
    build(image_folder, tmp_path / "vectors", BuildConfig(8))
    dataset = open_dataset(tmp_path / "vectors", use_labels=True)
    np.testing.assert_array_equal(dataset[4][1], [4, 0.5])

    write_labels(image_folder, [[name, 5 - i] for i, name in enumerate(names)])
    build(image_folder, tmp_path / "classes", BuildConfig(8, format="ffhq"))
    dataset = open_dataset(tmp_path / "classes", use_labels=True)
    assert [int(dataset.label(i).argmax()) for i in range(6)] == [5, 4, 3, 2, 1, 0]

    write_labels(image_folder, None)
    build(image_folder, tmp_path / "none", BuildConfig(8))
    with pytest.raises(DataError, match="no labels"):
        open_dataset(tmp_path / "none", use_labels=True)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["ant/0.png", 1]], r"lacks 5 of 6 images, e\.g\. ant/1\.png"),
        ([["ant/0.png", True]], "must be"),
        ([["ant/0.png", []]], r"gives ant/0\.png an empty list; give labels, or null with --missing_labels"),
        ("ant", "must be"),
    ],
)
def test_bad_dataset_json(tmp_path: Path, image_folder: Path, rows: object, message: str) -> None:
    write_labels(image_folder, rows)
    with pytest.raises(DataError, match=rf"dataset\.json {message}"):
        build(image_folder, tmp_path / "x", BuildConfig(8))
    assert not (tmp_path / "x").exists()


def test_one_image_without_a_label_is_named(tmp_path: Path, image_folder: Path) -> None:
    names = [f.relative_to(image_folder).as_posix() for f in sorted(image_folder.glob("*/*.png"))]
    write_labels(image_folder, [[name, None if name == "bee/3.png" else 1] for name in names])
    with pytest.raises(
        DataError, match=r"dataset\.json: bee/3\.png has no label, ant/0\.png has 1; label all images or none"
    ):
        build(image_folder, tmp_path / "x", BuildConfig(8))


def test_images_without_sub_folders_have_no_labels(tmp_path: Path, image_folder: Path) -> None:
    for i in range(6):
        shutil.copy(image_folder / "ant" / "0.png", image_folder / f"{i}.png")
    build(image_folder, tmp_path / "x", BuildConfig(8))
    with pytest.raises(DataError, match="no labels"):
        open_dataset(tmp_path / "x", use_labels=True)


def test_bad_images_are_named_and_skipped(
    tmp_path: Path, image_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (image_folder / "ant" / "text.png").write_text("no image")
    whole = (image_folder / "bee" / "2.png").read_bytes()
    (image_folder / "bee" / "half.png").write_bytes(whole[: len(whole) // 2])
    report = build(image_folder, tmp_path / "x", BuildConfig(16))
    assert (report.num_images, report.num_skipped) == (6, 2)
    stderr = capfd.readouterr().err
    assert "skipped ant/text.png: is not an image that Pillow can read" in stderr
    assert "skipped bee/half.png: " in stderr
    verify(tmp_path / "x")


def test_strict_stops_and_leaves_nothing(tmp_path: Path, image_folder: Path) -> None:
    (image_folder / "bee" / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"images: bee/text\.png: is not an image"):
        build(image_folder, tmp_path / "x", BuildConfig(8), strict=True, workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_nothing_usable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent does not exist"):
        build(tmp_path / "absent", tmp_path / "x", BuildConfig(8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no images"):
        build(tmp_path / "empty", tmp_path / "x", BuildConfig(8))
    (tmp_path / "empty" / "text.png").write_text("no image")
    with pytest.raises(DataError, match="none of the 1 images could be used"):
        build(tmp_path / "empty", tmp_path / "x", BuildConfig(8))
    (tmp_path / "bad.zip").write_text("no zip")
    with pytest.raises(DataError, match=r"bad\.zip is of an unknown kind; --source takes a folder or zip file"):
        build(tmp_path / "bad.zip", tmp_path / "x", BuildConfig(8))
    assert not (tmp_path / "x").exists()


def test_existing_destination_is_left_alone(shard_set: Path, image_folder: Path) -> None:
    before = contents(shard_set)
    with pytest.raises(FileExistsError, match="shards exists already"):
        build(image_folder, shard_set, BuildConfig(8))
    with pytest.raises(FileExistsError, match="shards exists already"):  # refused before any work
        build(image_folder / "absent", shard_set, BuildConfig(8))
    assert contents(shard_set) == before


def test_interruption_leaves_nothing(tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> Callable[..., None]:
        raise KeyboardInterrupt

    monkeypatch.setattr("sg3tf.data.build.shard_writer.write_manifest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(image_folder, tmp_path / "x", BuildConfig(8))
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_max_images_takes_some_of_every_class(tmp_path: Path, image_folder: Path) -> None:
    report = build(image_folder, tmp_path / "x", BuildConfig(8), max_images=3)
    assert (report.num_images, report.num_skipped) == (3, 0)
    assert report.lines()[0] == f"found: 6 images in {image_folder}, 3 chosen by --max_images"
    dataset = open_dataset(tmp_path / "x", use_labels=True)
    assert [int(dataset.label(i).argmax()) for i in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["shards", "ffhq"])
def test_channels(tmp_path: Path, image_folder: Path, channels: int, kind: str) -> None:
    build(image_folder, tmp_path / "x", BuildConfig(8, channels=channels, format=kind))
    dataset = open_dataset(tmp_path / "x")
    assert dataset.channels == channels
    assert dataset[0][0].shape == (8, 8, channels)


def test_wide_crop_and_box_filter_are_in_the_manifest(tmp_path: Path, image_folder: Path) -> None:
    build(image_folder, tmp_path / "x", BuildConfig(8, crop="wide", aspect=(16, 9), resize="box"))
    manifest = json.loads((tmp_path / "x" / "manifest.json").read_text())
    assert (manifest["crop"], manifest["aspect"], manifest["resize_filter"]) == ("wide", [16, 9], "box")


def test_bits_and_filter_of_the_command(tmp_path: Path) -> None:
    """Dark images of 16 bits, which without --bits are taken for 12; averages of 2x2 pixels."""
    values = np.random.default_rng(0).integers(0, 16, [16, 16], np.uint16)
    (tmp_path / "source").mkdir()
    Image.fromarray(values * np.uint16(257)).save(tmp_path / "source" / "dark.png")
    flags = [f"--source={tmp_path / 'source'}", "--resolution=8", "--channels=1", "--workers=1", "--filter=box"]
    means = values.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    for more, scale in ((["--bits=16"], 1), ([], 65535 / 4095)):
        assert (
            command_line.run("build", main, define_flags, "", [*flags, f"--outdir={tmp_path / str(scale)}", *more]) == 0
        )
        image, _ = open_dataset(tmp_path / str(scale))[0]
        np.testing.assert_allclose(image[..., 0], means * scale, atol=1)


@pytest.mark.parametrize("text", ["4", "4:", "a:3", "0:0", "-4:3", "4:0"])
def test_aspect_is_width_and_height(text: str) -> None:
    with pytest.raises(DataError, match=f"--aspect={text} must be"):
        BuildConfig(8, aspect=parse_aspect(text))


@pytest.mark.parametrize(
    ("flags", "size"), [(["--resolution=24x16"], (24, 16)), (["--resolution=32", "--aspect=9:16"], (18, 32))]
)
def test_pictures_that_are_not_square(
    tmp_path: Path, image_folder: Path, flags: list[str], size: tuple[int, int]
) -> None:
    arguments = [f"--source={image_folder}", f"--outdir={tmp_path / 'x'}", "--workers=1", *flags]
    assert command_line.run("build", main, define_flags, "", arguments) == 0
    dataset = open_dataset(tmp_path / "x")
    assert dataset.resolution == size and json.loads((tmp_path / "x/manifest.json").read_text())["resolution"] == [
        *size
    ]
    image, _ = dataset[0]
    assert image.shape == (size[1], size[0], 3)
    images, _ = next(batches(dataset, 2, seed=0, mirror=True))
    assert images.shape == (2, *image.shape)
    assert f"at {size[0]}x{size[1]}, 3 channels" in verify(tmp_path / "x")


@pytest.mark.parametrize(
    ("resolution", "options", "message"),
    [
        (Size(1280, 720), {}, "--resolution=1280x720: .* 3 to 20 times the same power of two.* near it are 1280x704"),
        (Size(32, 2), {}, "--resolution=32x2: both sides must be"),
        (Size(24, 16), {"format": "ffhq"}, "--resolution=24x16: --format=ffhq holds squares only"),
        ("24xx", {}, "resolution='24xx': give the side of a square, or width x height"),
    ],
)
def test_sizes_that_are_refused(resolution: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BuildConfig(resolution, **options)


def test_aspect_of_a_whole_size_is_refused() -> None:
    with pytest.raises(DataError, match="--resolution=24x16 has an aspect ratio of its own"):
        resolution_of_aspect(Size(24, 16), (3, 2))
    with pytest.raises(DataError, match="--resolution=100 with --aspect=16:9: no size"):
        resolution_of_aspect(100, (16, 9))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--beam_options=--runner=FlinkRunner"], "--beam_options=--runner=FlinkRunner: needs --runner=beam"),
        (["--format=ffhq", "--shards=8"], "--shards=8: is for --format=shards; leave it out with --format=ffhq"),
        (["--runner=beam", "--workers=3"], "--workers=3: is for --runner=local; leave it out with --runner=beam"),
        (["--source="], "--source is missing"),  # rather than the current folder
    ],
)
def test_flags_without_effect_are_refused(
    tmp_path: Path, image_folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    arguments = [f"--source={image_folder}", f"--outdir={tmp_path / 'x'}", "--resolution=8", *flags]
    assert command_line.run("build", main, define_flags, "", arguments) == 1
    assert f"build: {message}" in capsys.readouterr().err and not (tmp_path / "x").exists()


@pytest.mark.parametrize("resolution", [0, 2, 12, -8])
def test_resolution_is_a_power_of_two(resolution: int) -> None:
    with pytest.raises(DataError, match=f"--resolution={resolution} must be a power of two"):
        BuildConfig(resolution)


NAMES = ["a[b]", "a b", "a'b\"", "50%", "a\nb", "\u00e9\u732b", "x" * 200, "-a", "*?", "a:b", "#x;y&z", "\\"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["shards", "ffhq"])
def test_paths_of_any_name(tmp_path: Path, image_folder: Path, name: str, kind: str) -> None:
    source = tmp_path / name / name
    source.parent.mkdir()
    image_folder.rename(source)
    dest = tmp_path / name / f"{name[:190]} built"
    build(source, dest, BuildConfig(8, format=kind))
    verify(dest)
    assert len(open_dataset(dest)) == 6
    build(dest, tmp_path / name / "again", BuildConfig(8))
    (tmp_path / "link").symlink_to(dest)
    assert len(open_dataset(tmp_path / "link")) == 6


def test_an_environment_without_home_temporary_folder_and_unicode(tmp_path: Path, image_folder: Path) -> None:
    """As in a container, and for a user without an entry in the list of users."""
    (image_folder / "bee" / "\u00e9.png").write_bytes((image_folder / "bee" / "3.png").read_bytes()[:40])
    built = tmp_path / "d\u00fc"
    command = [sys.executable, "-m", "sg3tf", "data", "build", "--resolution=16", "--workers=2"]
    done = subprocess.run(
        [*command, f"--source={image_folder}", f"--outdir={built}"],
        env={
            **{"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TMPDIR": "/nonexistent"},
            **{"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        },
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rb"skipped bee/\udcc3\udca9.png: " in done.stderr and b"6 images at 16, 1 skipped" in done.stdout
    assert len(open_dataset(built)) == 6


def test_what_is_no_data_set_is_refused_with_the_command_that_makes_one(tmp_path: Path, image_folder: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "data.mdb").write_bytes(b"LMDB")
    command = r"sg3tf data build '--source=.*a b' --resolution=256 --outdir=FOLDER"
    with pytest.raises(DataError, match=rf"a b holds neither records nor image files; make .* from it: {command}"):
        open_dataset(tmp_path / "a b", resolution=8)
    for scheme in ("gs", "s3"):
        with pytest.raises(ValueError, match=rf"{scheme}:/bucket: give a local path"):
            open_dataset(f"{scheme}://bucket")
        with pytest.raises(ValueError, match=rf"{scheme}:/bucket: give a local path"):
            build(image_folder, Path(f"{scheme}://bucket"), BuildConfig(8))
        with pytest.raises(ValueError, match=rf"{scheme}:/bucket: give a local path"):
            build(Path(f"{scheme}://bucket"), tmp_path / "x", BuildConfig(8))


@pytest.mark.parametrize(
    ("encoding", "channels", "most"),
    # Largest difference of a smooth image, by quality: 95 and 90 of JPEG, 90 of WebP with half the colors.
    [("jpeg:95", 3, 6), ("jpeg:90", 1, 6), ("webp:90", 3, 16), ("webp", 3, 0), ("webp", 4, 0), ("webp:90", 4, 16)],
)
def test_encodings(tmp_path: Path, encoding: str, channels: int, most: int) -> None:
    """The opaque and the half transparent image of RGBA; the digest is that of the decoded pixels."""
    y, x = np.mgrid[:32, :32]
    image = np.stack([8 * x, 8 * y, 4 * (x + y), 255 - 0 * x], axis=2).astype(np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(image).save(tmp_path / "images" / "0.png")
    image[:, :16, 3] = 90
    Image.fromarray(image).save(tmp_path / "images" / "1.png")
    plain, small = tmp_path / "png", tmp_path / "small"
    build(tmp_path / "images", plain, BuildConfig(32, channels=channels))
    config = BuildConfig(32, channels=channels, encoding=Encoding.parse(encoding))
    build(tmp_path / "images", small, config)
    assert json.loads((small / "manifest.json").read_text())["encoding"] == encoding
    signature = {"jpeg": b"\xff\xd8\xff", "webp": b"WEBPVP8"}[config.encoding.kind]
    assert all(file.read_bytes().count(signature) == 1 for file in small.glob("*.tfrecords"))
    verify(small)
    for i in range(2):
        found, expected = (open_dataset(path)[i][0].astype(int) for path in (small, plain))
        assert found.shape == (32, 32, channels) and np.abs(found - expected).max() <= most
    assert open_dataset(small).digest == digest(open_dataset(small), range(2))


@pytest.mark.parametrize(
    ("encoding", "more", "message"),
    [
        ("gif", {}, "--encoding=gif must be png, webp"),
        ("jpeg", {}, "--encoding=jpeg must be"),
        ("jpeg:0", {}, "--encoding=jpeg:0 must be"),
        ("jpeg:101", {}, "--encoding=jpeg:101 must be"),
        ("png:9", {}, "--encoding=png:9 must be"),
        ("jpeg:95", {"channels": 4}, "JPEG has no transparency"),
        ("webp", {"channels": 1}, "WebP has no grayscale"),
        ("jpeg:95", {"format": "ffhq"}, "--format=ffhq stores raw pixels"),
    ],
)
def test_encodings_that_do_not_fit(encoding: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        BuildConfig(32, encoding=Encoding.parse(encoding), **more)


# --- Labels -----------------------------------------------------------------------------------------------------------


def label_images(folder: Path, labels: dict[str, object]) -> None:
    """Write an image for each name, and dataset.json with those labels that are not "left out"."""
    folder.mkdir()
    for i, name in enumerate(labels):
        Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(folder / name)
    write_labels(folder, [[name, label] for name, label in labels.items() if label != "left out"])


def test_counts_of_classes_of_which_an_image_may_have_several(tmp_path: Path) -> None:
    label_images(tmp_path / "a", {"0.png": ["red", "round"], "1.png": "red", "2.png": None, "3.png": ["blue", "red"]})
    report = build(tmp_path / "a", tmp_path / "x", BuildConfig(8, missing_labels=True))
    expected = "classes: 3, of which an image may have several: blue (1), red (3), round (1)"
    assert report.lines()[1:] == [expected, "without a label: 1"]
    assert json.loads((tmp_path / "x" / "manifest.json").read_text())["label"]["counts"] == [1, 3, 1]


def test_standardized_numbers(tmp_path: Path) -> None:
    """Whole numbers are numbers, too; a constant one becomes 0; means and deviations are in the manifest."""
    label_images(tmp_path / "a", {"0.png": [20, 5, 0.0], "1.png": [40, 5, 0.0], "2.png": [60, 5, 1.5]})
    report = build(tmp_path / "a", tmp_path / "x", BuildConfig(8, standardize=True))
    labels = np.stack([open_dataset(tmp_path / "x", use_labels=True)[i][1] for i in range(3)])
    # Of 20, 40, 60: mean 40, deviation sqrt(800 / 3); of 0, 0, 1.5: mean 0.5, deviation sqrt(0.5).
    expected = [[-1.2247449, 0, -0.70710678], [0, 0, -0.70710678], [1.2247449, 0, 1.41421356]]
    np.testing.assert_allclose(labels, expected, atol=1e-6)
    label = json.loads((tmp_path / "x" / "manifest.json").read_text())["label"]
    assert label["mean"] == [40, 5, 0.5] and label["std"] == pytest.approx([(800 / 3) ** 0.5, 0, 0.5**0.5])
    standardized = "standardized: means 40, 5, 0.5, standard deviations 16.33, 0, 0.7071"
    assert f"labels: vectors of 3 numbers, {standardized}" in report.lines()
    verify(tmp_path / "x")

    label_images(tmp_path / "b", {"0.png": 34, "1.png": 36})
    build(tmp_path / "b", tmp_path / "y", BuildConfig(8, standardize=True))
    dataset = open_dataset(tmp_path / "y", use_labels=True)
    assert [dataset.label(i).tolist() for i in range(2)] == [[-1], [1]]
    with pytest.raises(DataError, match="the labels are standardized, and --format=ffhq cannot hold their means"):
        build(tmp_path / "y", tmp_path / "ffhq", BuildConfig(8, format="ffhq"))

    label_images(tmp_path / "c", dict.fromkeys(["0.png", "1.png", "2.png"], 0.1))  # their deviation is rounded to 1e-17
    build(tmp_path / "c", tmp_path / "constant", BuildConfig(8, standardize=True))
    assert open_dataset(tmp_path / "constant", use_labels=True).label(0).tolist() == [0]
    label = json.loads((tmp_path / "constant" / "manifest.json").read_text())["label"]
    assert (label["mean"], label["std"]) == ([0.1], [0])

    report = build(tmp_path / "a", tmp_path / "z", BuildConfig(8))
    assert "labels: vectors of 3 numbers from 0 to 60; --standardize makes them small, for training" in report.lines()


def test_numbers_that_none_of_the_chosen_images_has(tmp_path: Path) -> None:
    label_images(tmp_path / "a", {"0.png": [20.0], "1.png": None, "2.png": None, "3.png": None})
    entries = find_source(tmp_path / "a", max_images=1, missing_labels=True).entries
    assert [label for _, label in entries] == [None]
    report = build(tmp_path / "a", tmp_path / "x", BuildConfig(8, missing_labels=True), max_images=1)
    assert report.lines()[1:] == ["labels: vectors of 1 numbers", "without a label: 1"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"0.png": "cat", "1.png": "dog"}, "--standardize is for labels that are numbers, these are classes"),
        ({"0.png": None, "1.png": None}, "--standardize needs labels that are numbers, there are none"),
        ({"0.png": 1.0, "1.png": float("inf")}, r"1\.png has the label \(inf,\); labels must be finite numbers"),
    ],
)
def test_what_cannot_be_standardized(tmp_path: Path, labels: dict[str, object], message: str) -> None:
    label_images(tmp_path / "a", labels)
    with pytest.raises(DataError, match=message):
        build(tmp_path / "a", tmp_path / "x", BuildConfig(8, standardize=True))


@pytest.mark.parametrize(
    ("labels", "rows", "count"),
    [
        ({"0.png": "dog", "1.png": None, "2.png": "cat"}, [[0, 1], [0, 0], [1, 0]], 1),
        ({"0.png": 1, "1.png": "left out", "2.png": 0}, [[0, 1], [0, 0], [1, 0]], 1),
        ({"0.png": 5, "1.png": None, "2.png": 7}, [[1, 0], [0, 0], [0, 1]], 1),
        ({"0.png": ["red", "big"], "1.png": None, "2.png": ["red"]}, [[1, 1], [0, 0], [0, 1]], 1),
        ({"0.png": None, "1.png": [0.5, 2.0], "2.png": "left out"}, [[0, 0], [0.5, 2], [0, 0]], 2),
    ],
)
def test_missing_labels(tmp_path: Path, labels: dict[str, object], rows: list[list[float]], count: int) -> None:
    label_images(tmp_path / "a", labels)
    with pytest.raises(DataError, match="sg3tf data build with --missing_labels"):
        build(tmp_path / "a", tmp_path / "x", BuildConfig(8))
    report = build(tmp_path / "a", tmp_path / "x", BuildConfig(8, missing_labels=True))
    assert f"without a label: {count}" in report.lines()
    verify(tmp_path / "x")
    for labels_file in (True, False):
        if not labels_file:
            (tmp_path / "x" / "labels.npy").unlink()
        dataset = open_dataset(tmp_path / "x", use_labels=True)
        assert [dataset[i][1].tolist() for i in range(3)] == rows
        assert [dataset.label(i).tolist() for i in range(3)] == rows


def test_images_beside_class_folders_may_have_no_label(tmp_path: Path, image_folder: Path) -> None:
    shutil.copy(image_folder / "bee" / "2.png", image_folder / "beside.png")
    report = build(image_folder, tmp_path / "x", BuildConfig(8, missing_labels=True))
    assert report.classes() == {"ant": 2, "bee": 2, "cat": 2} and report.num_unlabeled() == 1
    dataset = open_dataset(tmp_path / "x", use_labels=True)
    assert [dataset.label(i).sum() for i in range(7)] == [1, 1, 1, 1, 0, 1, 1]


@pytest.mark.parametrize("more", [{"format": "ffhq"}, {"labels": False}])
@pytest.mark.parametrize("name", ["missing_labels", "standardize"])
def test_label_options_that_do_not_fit(name: str, more: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=f"--{name} needs labels and --format=shards"):
        BuildConfig(8, **{name: True}, **more)


# --- What may not be read or written ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read", [lambda path, out: build(path, out, BuildConfig(8)), lambda path, _: open_dataset(path)]
)
def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path, Path], object]
) -> None:
    """And not a file that might be in it. The tests' user may be root, who may read everything."""
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != image_folder)
    with pytest.raises(PermissionError, match=rf"this user may not read it: '{image_folder}'"):
        read(image_folder, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_files_that_may_not_be_read_are_counted_together(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, name: str) -> bytes:
        if name.startswith("bee"):
            raise PermissionError(13, "Permission denied", str(path / name))
        return (path / name).read_bytes()

    monkeypatch.setattr("sg3tf.data.sources.files.read_file", refuse)
    report = build(image_folder, tmp_path / "x", BuildConfig(8))
    assert "skipped: 2: Permission denied, e.g. bee/2.png" in report.lines()


def test_a_disk_that_fails_ends_the_build(tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the data set would lack intact images."""

    def fail(path: Path, name: str) -> bytes:
        raise OSError(5, "Input/output error", str(path / name))

    monkeypatch.setattr("sg3tf.data.sources.files.read_file", fail)
    with pytest.raises(DataError, match=r"ant/0\.png: cannot be read \(Input/output error\); check the disk"):
        build(image_folder, tmp_path / "x", BuildConfig(8))
    assert not (tmp_path / "x").exists()


def test_a_disk_that_fails_ends_the_build_from_records(
    tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their readers wrap the error of the system."""
    build(image_folder, tmp_path / "records", BuildConfig(8))
    read = RandomAccessFile.read

    def fail(self: RandomAccessFile, position: int, size: int) -> bytes:
        if size > 12:  # not the header of a record, which opening the file reads
            raise OSError(5, "Input/output error")
        return read(self, position, size)

    monkeypatch.setattr(RandomAccessFile, "read", fail)
    with pytest.raises(DataError, match=r"cannot be read \(Input/output error\); check the disk"):
        build(tmp_path / "records", tmp_path / "x", BuildConfig(8))
