"""sg3tf.data.verify detects every kind of damage; the commands report it in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sg3tf.data
from sg3tf.data.errors import DataError
from sg3tf.data.tfrecord import RecordFile, parse_example, record_writer, serialize_example
from sg3tf.data.verify import verify

MakeSet = Callable[..., Path]


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Replace the records of a file, with correct checksums."""
    file = RecordFile(path)
    records = change([file.read(i) for i in range(len(file))])
    with record_writer(path) as add:
        for record in records:
            add(record)


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(sg3tf.data.__file__).parents[2]
    command = [sys.executable, "-m", "sg3tf", "data", name, *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_summaries(shard_set: Path, ffhq_set: MakeSet) -> None:
    assert "ok, 6 images at 16, 3 channels, class labels [3], sha256:" in verify(shard_set)
    faces = ffhq_set(3)
    assert "ok, 3 images at 4, 8, 3 channels, no labels, sha256:" in verify(faces)
    assert "ok, 3 images at 4, 3 channels" in verify(faces / "faces-r02.tfrecords")


def test_levels_of_different_length(ffhq_set: MakeSet) -> None:
    faces = ffhq_set(3)
    rewrite(faces / "faces-r02.tfrecords", lambda records: records[:2])
    with pytest.raises(DataError, match=r"r02\.tfrecords: 2, faces-r03\.tfrecords: 3"):
        verify(faces)


def test_a_corrupt_lower_level(ffhq_set: MakeSet) -> None:
    faces = ffhq_set(3)
    file = faces / "faces-r02.tfrecords"
    file.write_bytes(file.read_bytes()[:-5] + b"?" + file.read_bytes()[-4:])
    with pytest.raises(DataError, match=r"faces-r02\.tfrecords: record 2 is corrupt"):
        verify(faces)


def test_labels_that_are_no_numbers(ffhq_set: MakeSet) -> None:
    faces = ffhq_set(2)
    with open(faces / "faces-rxx.labels", "wb") as file:
        np.save(file, np.array([[0, 1], [np.nan, 1]]))
    with pytest.raises(DataError, match=r"record 1: label \(nan, 1.0\) is not a vector of 2 finite"):
        verify(faces)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 2), (0, 2, 2)])
def test_moved_and_doubled_images_do_not_match_the_digest(shard_set: Path, order: tuple[int, ...]) -> None:
    rewrite(shard_set / "shards-00001-of-00002.tfrecords", lambda records: [records[i] for i in order])
    with pytest.raises(DataError, match=r"00001-of-00002\.tfrecords: the digest in manifest\.json is sha256:\w+, "):
        verify(shard_set)


def test_shards_in_another_order_do_not_match_the_digest(shard_set: Path) -> None:
    file = shard_set / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps({**manifest, "shards": manifest["shards"][::-1]}))
    with pytest.raises(DataError, match=r"shards: the digest in manifest\.json is sha256:\w+, the content's is"):
        verify(shard_set)


@pytest.mark.parametrize("change", [lambda r: r[:2], lambda r: r + r[:1]])
def test_lost_and_added_records(shard_set: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    rewrite(shard_set / "shards-00000-of-00002.tfrecords", change)
    with pytest.raises(DataError, match=r"00000-of-00002\.tfrecords holds [24] records, the manifest lists 3"):
        verify(shard_set)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image/encoded": b"no image"}, "image does not decode"),
        ({"image/class/label": [3]}, r"class label 3 is not in 0\.\.2"),
        ({"image/class/label": []}, "the label is missing; the other images have a class label"),
        ({"image/height": [8]}, r"\[\[8\], \[16\], \[3\]\]"),
    ],
)
def test_one_bad_record(shard_set: Path, change: dict[str, bytes], message: str) -> None:
    def spoil(records: list[bytes]) -> list[bytes]:
        found = parse_example(records[1], "")
        features = {k: v[0] if isinstance(v[0], bytes) else list(v) for k, v in found.items()}
        return [records[0], serialize_example({**features, **change}), records[2]]

    rewrite(shard_set / "shards-00001-of-00002.tfrecords", spoil)
    with pytest.raises(DataError, match=rf"00001-of-00002\.tfrecords: record 1: .*{message}"):
        verify(shard_set)


def test_a_missing_label(shard_set: Path, drop_label: Callable[[Path, int], None]) -> None:
    drop_label(shard_set / "shards-00000-of-00002.tfrecords", 1)
    with pytest.raises(DataError, match=r"00000-of-00002\.tfrecords: record 1: the label is missing"):
        verify(shard_set)


def test_an_encoded_image_of_another_size(shard_set: Path) -> None:
    file = shard_set / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "channels": 1}))
    with pytest.raises(DataError, match=r"record 0: height, width, channels"):
        verify(shard_set)


def test_command_lines(tmp_path: Path, image_folder: Path) -> None:
    made = tmp_path / "made"
    arguments = [f"--source={image_folder}", f"--outdir={made}", "--resolution=8", "--workers=1"]
    first = run("build", *arguments)
    assert (first.returncode, first.stdout.splitlines()) == (
        0,
        [
            f"{made}: 6 images at 8, 0 skipped",
            f"  found: 6 images in {image_folder}",
            "  classes: 3: ant (2), bee (2), cat (2)",
        ],
    )

    second = run("build", *arguments)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.startswith(f"sg3tf data build: {made} exists already")
    assert second.stderr.count("\n") == 1

    nowhere = run("build", *arguments, f"--outdir={made / 'manifest.json' / 'x'}")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (1, 1)
    assert nowhere.stderr.startswith("sg3tf data build: ") and "manifest.json" in nowhere.stderr

    good = run("verify", f"--data={made}")
    assert good.returncode == 0
    assert good.stdout.startswith(f"{made}: ok, 6 images")

    (made / "made-00000-of-00006.tfrecords").write_bytes(b"short")
    bad = run("verify", f"--data={made}")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("sg3tf data verify: ")
    assert "made-00000-of-00006.tfrecords: record 0 is truncated" in bad.stderr
    assert bad.stderr.count("\n") == 1
