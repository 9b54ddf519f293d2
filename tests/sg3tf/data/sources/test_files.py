"""Folders and zip files as people have them: links, stray files, names of other systems, labels with gaps."""

from __future__ import annotations

import io
import json
import os
import tarfile
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sg3tf.data.build.builder import build
from sg3tf.data.build.report import Report
from sg3tf.data.conversion import ENLARGED, BuildConfig, convert
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sources import files, find_source
from sg3tf.image_files import FIRST_FRAME


def png(value: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), value).save(file, "PNG")
    return file.getvalue()


def folder_of(path: Path, *names: str, labels: Any = None) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(png())
    if labels is not None:
        (path / "dataset.json").write_text(json.dumps({"labels": labels}))
    return path


def zip_of(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is, backslashes too
            archive.writestr(info, data)
    return path


def built(source: Path, tmp_path: Path, **options: Any) -> tuple[Report, dict[str, Any]]:
    report = build(source, tmp_path / "built", BuildConfig(8, **options))
    return report, json.loads((tmp_path / "built" / "manifest.json").read_text())


# --- Names of files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}/{}.png", "./{}/{}.png", "{}\\{}.png", "/{}/{}.png", ".hidden/set/{}/{}.png"])
def test_classes_of_a_zip_file_whatever_program_wrote_it(tmp_path: Path, form: str) -> None:
    names = [form.format(kind, i) for kind in ("cat", "dog") for i in range(2)]
    source = zip_of(tmp_path / "a.zip", {name: png() for name in names})
    report, manifest = built(source, tmp_path)
    assert report.classes() == {"cat": 2, "dog": 2}
    assert [manifest["label"][key] for key in ("kind", "dim", "classes")] == ["class", 2, ["cat", "dog"]]


@pytest.mark.parametrize("in_zip", [True, False])
@pytest.mark.parametrize(("stored", "listed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_with_accents_are_found_in_either_form(tmp_path: Path, in_zip: bool, stored: str, listed: str) -> None:
    names = [unicodedata.normalize(form, "\u00e9t\u00e9/\u00e9.png") for form in (stored, listed)]
    labels = {"labels": [[names[1], [0.5, 2]]]}
    if in_zip:
        source = zip_of(tmp_path / "a.zip", {names[0]: png(), "dataset.json": json.dumps(labels).encode()})
    else:
        source = folder_of(tmp_path / "a", names[0], labels=labels["labels"])
    assert find_source(source).entries == ((names[0], (0.5, 2.0)),)


def test_utf8_names_without_the_flag_that_says_so(tmp_path: Path) -> None:
    """As the Finder of macOS writes them: the bytes are UTF-8, and by the standard they would be code page 437."""
    path = zip_of(tmp_path / "a.zip", {"aa/0.png": png(), "bb/0.png": png()})
    raw = path.read_bytes().replace(b"aa/0.png", "\u00e9/0.png".encode())
    path.write_bytes(raw)
    source = find_source(path)
    assert source.classes == ("bb", "\u00e9")
    assert source.read("\u00e9/0.png").size == (8, 8)


def test_dataset_json_with_backslashes(tmp_path: Path) -> None:
    entries = {"cat/1.png": png(), "dataset.json": json.dumps({"labels": [["cat\\1.png", 0]]}).encode()}
    assert find_source(zip_of(tmp_path / "a.zip", entries)).entries == (("cat/1.png", 0),)


def test_entries_of_a_zip_file_that_share_a_name(tmp_path: Path) -> None:
    entries = {"a/0.png": png(1), "./a/0.png": png(2), "a\\0.png": png(3), "b/0.png": png(4)}
    source = find_source(zip_of(tmp_path / "a.zip", entries))
    remark = "entries of the zip file that share a name with a later one, which is used: 2, e.g. a/0.png"
    assert source.remarks == (remark,)
    assert source.read("a/0.png").getpixel((0, 0)) == 3


@pytest.mark.parametrize(
    ("offset", "value", "reason"), [(6, 70, "zip file version 7.0"), (8, 0x800, "'utf-8' codec can't decode")]
)
def test_zip_files_that_python_cannot_list(tmp_path: Path, offset: int, value: int, reason: str) -> None:
    path = zip_of(tmp_path / "a.zip", {"0.png": png()})
    start = path.read_bytes().find(b"PK\1\2")
    raw = bytearray(path.read_bytes().replace(b"0.png", b"\xff.png"))
    raw[start + offset : start + offset + 2] = value.to_bytes(2, "little")
    path.write_bytes(raw)
    with pytest.raises(DataError, match=rf"a\.zip is not a readable zip file: {reason}"):
        find_source(path)


def test_a_zip_file_that_is_replaced_during_a_build(tmp_path: Path) -> None:
    """Its pictures would get the labels of the old ones."""
    path = zip_of(tmp_path / "a.zip", {"cat/0.png": png(), "dog/0.png": png()})
    source = find_source(path)
    zip_of(path, {"dog/0.png": png(), "cat/0.png": png(), "more.png": png()})
    with pytest.raises(DataError, match=r"a\.zip was removed or written anew while it was in use; start again"):
        convert(BuildConfig(8), source.read, source.label, source.entries[0])


def test_an_encrypted_zip_file(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"0.png": png()})
    raw = bytearray(path.read_bytes())
    raw[raw.find(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"a\.zip is encrypted: unpack it"):
        find_source(path)


# --- Which files are images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README", "dataset.json"])
def test_a_damaged_file_in_a_zip_file(tmp_path: Path, name: str) -> None:
    """Deflated data that end in zlib.error, which is no OSError and no ValueError."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", png())
        archive.writestr(name, bytes(100))
        start = archive.getinfo(name).header_offset + 30 + len(name)
    data = bytearray(path.read_bytes())
    data[start : start + 4] = b"\xff" * 4  # a block of a kind that does not exist
    path.write_bytes(data)
    if name == "README":
        assert find_source(path).remarks == ("other files left out: 1, e.g. README",)
    else:
        with pytest.raises(DataError, match=r"dataset\.json must be"):
            find_source(path)


def test_images_without_a_known_ending_are_found_by_their_content(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "0.png", "phone.heic", "no_extension", ".hidden.png", "._0.png")
    (source / "notes.txt").write_text("no image")
    report, _ = built(source, tmp_path)
    assert (report.num_found, report.num_images, report.num_skipped) == (3, 3, 0)
    assert "hidden images left out: 1, e.g. .hidden.png" in report.lines()
    assert "other files left out: 1, e.g. notes.txt" in report.lines()
    assert "recognized as images by content alone: 2, e.g. no_extension" in report.lines()


@pytest.mark.parametrize("folder", ["@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"])
def test_pictures_in_folders_that_systems_add_are_hidden(tmp_path: Path, folder: str) -> None:
    """They would be another class, or the only one among pictures without."""
    source = find_source(folder_of(tmp_path / "a", "cat/0.png", f"cat/{folder}/0.png", f"{folder}/1.png", "dog/0.png"))
    assert [name for name, _ in source.entries] == ["cat/0.png", "dog/0.png"]
    assert source.remarks == (f"hidden images left out: 2, e.g. {min(f'{folder}/1.png', f'cat/{folder}/0.png')}",)
    assert files.count_images(tmp_path / "a", 9) == 2
    assert not find_source(folder_of(tmp_path / "b", "__MACOSX/0.png", "x/__MACOSX/1.png", "x/0.png")).classes


def test_videos_are_no_images(tmp_path: Path) -> None:
    """Pillow recognizes MPEG and HDF5, but cannot read them; EPS and WMF are vector graphics."""
    source = folder_of(tmp_path / "a", "0.png")
    for name in ("clip.mpg", "table.h5", "logo.eps", "logo.wmf"):
        (source / name).write_bytes(b"\x00\x00\x01\xb3 and more")
    found = find_source(source)
    assert [name for name, _ in found.entries] == ["0.png"]
    assert found.remarks == ("other files left out: 4, e.g. clip.mpg",)


def test_a_foreign_manifest_is_another_file(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "0.png")
    (source / "manifest.json").write_text('{"name": "page", "icons": []}')
    assert built(source, tmp_path)[0].num_images == 1
    assert len(open_dataset(source, resolution=8)) == 1


def test_a_tar_file_that_is_not_cifars(tmp_path: Path) -> None:
    folder_of(tmp_path / "a", "0.png")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "a", "a")
    with pytest.raises(DataError, match=r"a\.tar is a tar file of another kind than CIFAR-10: unpack it and give"):
        find_source(tmp_path / "a.tar")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "dog/0.png", "dog/1.png")
    folder_of(tmp_path / "elsewhere", "0.png", "1.png")
    (source / "cat").symlink_to("../elsewhere")
    (source / "dog" / "up").symlink_to("..")
    (source / "one.png").symlink_to("dog/0.png")
    (source / "lost.png").symlink_to("nothing")
    (tmp_path / "elsewhere" / "back").symlink_to(source / "dog")
    os.mkfifo(source / "dog" / "pipe.png")  # reading it would wait forever
    found = [name for name, _ in find_source(source).entries]
    assert {"cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"} < set(found)
    assert find_source(source).classes == ("cat", "dog")
    assert len(found) == 6  # with cat/back/, which is dog again from another side
    assert [name for name, _ in find_source(source).unused] == ["lost.png", "one.png"]
    (source / "horse").symlink_to("../nowhere")
    assert find_source(source).remarks == ("broken links: 1, e.g. horse",)


def test_a_folder_that_cannot_be_listed_is_an_error_unless_it_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder_of(tmp_path / "a", "cat/0.png", "dog/0.png", ".trash/0.png", "lost+found/0.png")
    scandir = os.scandir
    refused = {".trash", "lost+found"}

    def refuse(path: Path) -> Any:
        if Path(path).name in refused:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # tests may run as root, who may list everything
    found = find_source(source)
    assert found.classes == ("cat", "dog")
    assert found.remarks[0].startswith("folders that may not be listed, left out: 2, e.g. ")
    refused.add("dog")
    with pytest.raises(DataError, match="a/dog cannot be listed: Permission denied"):
        find_source(source)


# --- Classes ----------------------------------------------------------------------------------------------------------


def test_a_stray_image_beside_class_folders_is_skipped_and_said(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "cat/0.png", "dog/0.png", "cover.png")
    report, manifest = built(source, tmp_path)
    assert report.classes() == {"cat": 1, "dog": 1}
    reason = "lies beside the class folders; --nolabels uses it, without classes"
    assert report.skipped == {"cover.png": reason}
    assert (report.num_found, manifest["num_images"], manifest["num_skipped"]) == (3, 2, 1)
    with pytest.raises(DataError, match=r"a: cover\.png: lies beside the class folders"):
        build(source, tmp_path / "strict", BuildConfig(8), strict=True)
    report = build(source, tmp_path / "without", BuildConfig(8, labels=False))
    assert (report.num_images, report.classes()) == (3, {})


def test_many_images_beside_folders_mean_no_classes(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "0.png", "1.png", "2.png", "album/0.png", "walk/0.png")
    report, _ = built(source, tmp_path)
    assert (report.num_images, report.classes()) == (5, {})
    assert "no classes: 3 images lie beside the folders, e.g. 0.png" in report.lines()


def test_many_images_beside_class_folders_may_have_no_label(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "0.png", "1.png", "2.png", "cat/0.png", "dog/0.png")
    report, _ = built(source, tmp_path, missing_labels=True)
    assert report.classes() == {"cat": 1, "dog": 1} and report.num_unlabeled() == 3


def test_one_folder_is_no_class(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "cover.png", "photos/0.png", "photos/1.png", "photos/2.png")
    report, _ = built(source, tmp_path)
    assert (report.num_images, report.classes()) == (4, {})


def test_train_and_test_are_parts_rather_than_classes(tmp_path: Path) -> None:
    names = [f"{part}/{kind}/0.png" for part in ("train", "Test") for kind in ("cat", "dog")]
    report, _ = built(folder_of(tmp_path / "a", *names), tmp_path)
    assert report.classes() == {"cat": 2, "dog": 2}
    assert "taken as parts of the data set, not as classes: Test, train" in report.lines()
    assert not find_source(folder_of(tmp_path / "b", "train/0.png", "test/0.png")).classes


def labels_of(folder: Path) -> list[list[float]]:
    dataset = open_dataset(folder, use_labels=True)
    return [dataset.label(i).tolist() for i in range(len(dataset))]


@pytest.mark.parametrize("ids", [(1, 2), (0, 20260101), (3, 7)])
def test_class_numbers_with_gaps_become_names(tmp_path: Path, ids: tuple[int, int]) -> None:
    names = [f"{i}.png" for i in range(4)]
    rows = [[name, ids[i % 2]] for i, name in enumerate(names)]
    report, manifest = built(folder_of(tmp_path / "a", *names, labels=rows), tmp_path)
    names = [str(number) for number in ids]
    assert [manifest["label"][key] for key in ("kind", "dim", "classes")] == ["class", 2, names]
    assert report.classes() == {str(number): 2 for number in ids}
    remark = f"the 2 class numbers from {ids[0]} to {ids[1]} became 0 to 1; they are kept as the names of the classes"
    assert remark in report.lines()
    assert labels_of(tmp_path / "built") == [[1, 0], [0, 1]] * 2


def test_classes_by_name_in_dataset_json(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "0.png", "1.png", labels=[["0.png", "People & Body"], ["1.png", "Flags"]])
    _, manifest = built(source, tmp_path)
    assert manifest["label"]["classes"] == ["Flags", "People & Body"]
    assert labels_of(tmp_path / "built") == [[0, 1], [1, 0]]


def test_several_names_and_single_numbers_are_vectors(tmp_path: Path) -> None:
    names = ("0.png", "1.png")
    source = folder_of(tmp_path / "a", *names, labels=[["0.png", ["red", "round"]], ["1.png", ["red"]]])
    _, manifest = built(source, tmp_path)
    assert [manifest["label"][key] for key in ("kind", "dim", "classes")] == ["vector", 2, ["red", "round"]]
    assert labels_of(tmp_path / "built") == [[1, 1], [1, 0]]
    source = folder_of(tmp_path / "b", *names, labels=[["0.png", 34.5], ["1.png", 2.0]])
    assert find_source(source).entries == (("0.png", (34.5,)), ("1.png", (2.0,)))


def test_names_and_numbers_do_not_mix(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "0.png", "1.png", labels=[["0.png", "cat"], ["1.png", 1]])
    with pytest.raises(DataError, match=r"dataset\.json: 'cat' is the name of a class, 1 is not"):
        find_source(source)


def test_an_image_listed_twice(tmp_path: Path) -> None:
    rows = [["0.png", 0], ["./0.png", 1], ["1.png", 0]]
    source = folder_of(tmp_path / "a", "0.png", "1.png", labels=rows)
    with pytest.raises(DataError, match=r"dataset\.json lists \./0\.png with the labels 0 and 1; keep one of them"):
        find_source(source)
    folder_of(source, labels=[["0.png", 0], ["0.png", 0], ["1.png", 1], ["missing.png", 1]])
    assert find_source(source).remarks == ("dataset.json lists 1 files that are not there, e.g. missing.png",)


@pytest.mark.parametrize("labels", [[["0.png", 5.0]], None])
@pytest.mark.parametrize(
    ("names", "beside"),
    [(["set1/0.png", "set2/0.png"], "set2/0.png"), (["set1/0.png", "cover.png"], "cover.png")],
)
def test_labels_of_some_images_alone(tmp_path: Path, names: list[str], beside: str, labels: Any) -> None:
    """They were neither read nor mentioned, and folders became classes; a file without labels does no harm."""
    source = folder_of(tmp_path / "a", *names)
    folder_of(source / "set1", labels=labels)
    (source / "set1" / "dataset.json").write_text(json.dumps({"labels": labels}))
    if labels is None:
        assert len(find_source(source).entries) == 2
        return
    message = rf"a: the labels in set1/dataset\.json are not read, as {beside} is not below its folder; put one "
    with pytest.raises(DataError, match=message):
        find_source(source)
    with pytest.raises(DataError, match=message):
        open_dataset(source, resolution=8, use_labels=True)
    assert len(find_source(source, labels=False).entries) == 2
    dataset = open_dataset(source, resolution=8)  # without labels in use
    assert len(dataset) == 2 and any("no labels: " in remark for remark in dataset.remarks)
    folder_of(source, labels=[[name, 1] for name in names])
    assert find_source(source).remarks[0] == "labels in set1/dataset.json are not read, those in dataset.json are"


def test_whole_numbers_written_as_fractions(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "0.png", "1.png", labels=[["0.png", 3.0], ["1.png", 4.0]])
    assert find_source(source).remarks == (
        "labels such as 3.0 are read as one number each; for classes, write them as 3",
    )
    assert not find_source(source, standardized=True).remarks
    for label in (0.5, [3.0]):
        folder_of(source, labels=[["0.png", label], ["1.png", label]])
        assert not find_source(source).remarks


def test_a_label_that_is_not_finite_is_named(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "0.png", "1.png", labels=[["0.png", 3.5], ["1.png", float("nan")]])
    with pytest.raises(DataError, match=r"a: dataset\.json: 1\.png has the label \(nan,\); labels must be finite"):
        find_source(source)


# --- Summary ----------------------------------------------------------------------------------------------------------


def test_the_summary_says_what_was_done_to_images(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "a", "cat/0.png", "dog/1.png", "dog/odd\nname.png")
    (source / "cat" / "text.png").write_text("no image")
    frames = [Image.new("L", (16, 16), value) for value in (10, 200)]
    frames[0].save(source / "cat" / "2.gif", save_all=True, append_images=frames[1:])
    report = build(source, tmp_path / "built", BuildConfig(16))
    assert report.lines() == [
        f"found: 5 images in {source}",
        "skipped: 1: is not an image that Pillow can read, e.g. cat/text.png",
        "classes: 2: cat (2), dog (2)",
        f"note: 3: {ENLARGED}, e.g. cat/0.png",
        f"note: 1: {FIRST_FRAME}, e.g. cat/2.gif",
    ]


def test_the_summary_of_many_classes_names_the_least_and_the_most(tmp_path: Path) -> None:
    names = [f"c{kind:02d}/{i}.png" for kind in range(21) for i in range(1 + (kind == 7))]
    report, _ = built(folder_of(tmp_path / "a", *names), tmp_path)
    assert "classes: 21, from 1 images (c00) to 2 (c07)" in report.lines()


def test_names_that_are_not_text_are_printed_as_escapes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = folder_of(tmp_path / "a", "0.png")
    (source / os.fsdecode(b"\xff\n.png")).write_text("no image")
    report, _ = built(source, tmp_path)
    assert "skipped \\udcff\\n.png: is not an image" in capfd.readouterr().err
    assert report.lines()[1].endswith("e.g. \\udcff\\n.png")


def test_huge_images_have_a_flag(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.mkdir()
    Image.new("1", (200, 200)).save(source / "0.png")
    folder_of(source, "1.png")
    report, _ = built(source, tmp_path, max_megapixels=0.03)
    assert report.skipped == {"0.png": "has more than 0.03 million pixels; raise --max_megapixels"}
    assert build(source, tmp_path / "all", BuildConfig(8, max_megapixels=0.04)).num_images == 2


def test_a_zip_file_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are not read beyond the bytes of the largest image; as a data set, without a build, and its labels."""
    monkeypatch.setattr(files, "_LEAST_LIMIT", 2**20)
    source = zip_of(tmp_path / "a.zip", {"0.png": png() + bytes(2**21), "1.png": png()})
    report, _ = built(source, tmp_path, max_megapixels=0.1)
    message = "has 2,097,220 bytes, more than the 1,048,576 of the largest image that may be opened"
    assert report.skipped == {"0.png": message.replace("2,097,220", f"{2**21 + len(png()):,}")}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**4)
    with pytest.raises(DataError, match="0.png: has .* bytes, more than the 1,048,576"):
        open_dataset(source, resolution=8)[0]
    labels = json.dumps({"labels": []}).encode() + b" " * 2**21
    with pytest.raises(DataError, match=r"dataset\.json must be .*: has .* bytes, more than"):
        find_source(zip_of(tmp_path / "b.zip", {"1.png": png(), "dataset.json": labels}))


@pytest.mark.parametrize("limit", [0, float("inf"), float("nan")])
def test_the_limit_of_pixels_is_a_number(limit: float) -> None:
    with pytest.raises(DataError, match=f"--max_megapixels={limit} must be above 0 and finite"):
        BuildConfig(8, max_megapixels=limit)


@pytest.mark.parametrize(("channels", "bar"), [(1, [0]), (3, [0, 0, 0]), (4, [0, 0, 0, 0])])
def test_pad_keeps_the_whole_image(tmp_path: Path, channels: int, bar: list[int]) -> None:
    for name, size in (("wide", (32, 16)), ("high", (8, 32))):
        (tmp_path / name).mkdir()
        Image.new("RGB", size, "white").save(tmp_path / name / "0.png")
        build(tmp_path / name, tmp_path / f"{name} built", BuildConfig(16, "pad", channels))
        pixels = open_dataset(tmp_path / f"{name} built")[0][0]
        seen = np.full((16, 16, channels), bar, np.uint8)
        seen[(slice(4, 12) if name == "wide" else slice(None)), (slice(6, 10) if name == "high" else slice(None))] = 255
        np.testing.assert_array_equal(pixels, seen)
