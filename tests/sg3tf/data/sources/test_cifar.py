"""CIFAR-10: tar file and folder, pickles in the form of Python 2, refusal of pickles with code."""

from __future__ import annotations

import gzip
import io
import pickle
import re
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.dataset import open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sources import cifar, find_source

BATCHES = [f"data_batch_{i}" for i in range(1, 6)]
CLASSES = ["plane", "car", "bird"]
PER_BATCH = 3


class Python2Pickler(pickle._Pickler):
    """Pickler that writes bytes and text as Python 2's str."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, obj: bytes | str) -> None:
        content = obj.encode() if isinstance(obj, str) else obj
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(obj)

    dispatch[bytes] = dispatch[str] = save_string


def python2_pickle(content: Any) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(content)
    return file.getvalue().replace(b"numpy._core", b"numpy.core")  # its name when the files were made


def pixels() -> np.ndarray:
    """Return pixels, [batches, images, channels * rows * columns]."""
    return np.random.default_rng(0).integers(0, 256, (len(BATCHES), PER_BATCH, 3 * 32 * 32), np.uint8)


def write(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for batch, data in zip(BATCHES, pixels(), strict=True):
        labels = [(i + int(batch[-1])) % len(CLASSES) for i in range(PER_BATCH)]
        content = {b"batch_label": b"1", b"labels": labels, b"data": data, b"filenames": [b"a.png"] * PER_BATCH}
        (folder / batch).write_bytes(python2_pickle(content))
    (folder / "batches.meta").write_bytes(python2_pickle({b"label_names": CLASSES, b"num_vis": 3072}))
    return folder


def pack(folder: Path) -> Path:
    path = folder.parent / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-py")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "cifar-10-batches-py")


@pytest.mark.parametrize("workers", [1, 2])
def test_images_labels_and_names(tmp_path: Path, folder: Path, workers: int) -> None:
    report = build(pack(folder), tmp_path / "x", BuildConfig(32), workers=workers)
    assert (report.num_images, report.num_skipped) == (15, 0)
    dataset = open_dataset(tmp_path / "x", use_labels=True)
    assert dataset._store.classes == tuple(CLASSES)
    for i in range(15):
        image, label = dataset[i]
        batch, row = divmod(i, PER_BATCH)
        for channel in range(3):
            expected = pixels()[batch, row, channel * 1024 : (channel + 1) * 1024].reshape(32, 32)
            np.testing.assert_array_equal(image[:, :, channel], expected)
        assert label.argmax() == (row + batch + 1) % 3


def test_the_folder_and_what_holds_it_are_like_the_tar_file(folder: Path) -> None:
    packed = find_source(pack(folder))
    for path in (folder, folder.parent):
        found = find_source(path)
        assert (found.entries, found.label, found.classes) == (packed.entries, packed.label, packed.classes)
        np.testing.assert_array_equal(found.read("data_batch_2/1"), packed.read("data_batch_2/1"))


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code was run",)


def test_a_pickle_that_would_run_code_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data_batch_3").write_bytes(pickle.dumps(Malicious(), 2, fix_imports=False))
    with pytest.raises(DataError, match=r"data_batch_3 is not a batch .*it refers to 'builtins\.print', which is not"):
        find_source(folder)
    assert capsys.readouterr().out == ""


def test_arrays_of_objects_are_refused(folder: Path) -> None:
    """The real class of NumPy arrays would make objects of any bytes, and end the process."""
    array = b"cnumpy\nndarray\n((K\x08tcnumpy\ndtype\n(U\x01OtR\x96" + struct.pack("<Q", 64) + b"A" * 64 + b"tR"
    (folder / "data_batch_1").write_bytes(b"\x80\x02" + array + b"K\x00K\x00s.")
    with pytest.raises(DataError, match="data_batch_1 is not a batch"):
        find_source(folder)


def test_batches_that_python_3_has_written_again(folder: Path) -> None:
    """After pickle.load with encoding="bytes", as CIFAR-10's page advises, the keys and names are bytes."""
    for file in folder.iterdir():
        file.write_bytes(pickle.dumps(pickle.loads(file.read_bytes(), encoding="bytes")))
    assert b"data" in pickle.loads((folder / "data_batch_1").read_bytes())
    test_images_labels_and_names(folder.parent, folder, workers=1)


def test_names_in_the_text_protocol(folder: Path) -> None:
    """As in the published batches.meta."""
    names = b"".join(b"S'%s'\np%d\na" % (name.encode(), 5 + i) for i, name in enumerate(CLASSES))
    meta = b"(dp1\nS'num_cases_per_batch'\np2\nI10000\nsS'label_names'\np3\n(lp4\n" + names + b"s."
    (folder / "batches.meta").write_bytes(meta)
    assert find_source(folder).classes == tuple(CLASSES)


def test_large_members_of_a_tar_file_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "_MAX_BYTES", 9000)
    with pytest.raises(DataError, match="data_batch_1 has .* bytes, more than a batch"):
        find_source(pack(folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a batch of CIFAR-10's Python version"),
        (python2_pickle([1]), "has no labels"),
        (python2_pickle({b"labels": [0, 1]}), "has no data"),
        (python2_pickle({b"labels": [0, None]}), ""),
        (python2_pickle({b"labels": [0], b"data": np.zeros([1, 5], np.uint8)}), r"not uint8 \[N, 3072\]"),
        (python2_pickle({b"labels": [0], b"data": np.zeros([2, 3072], np.uint8)}), "1 labels for 2 images"),
    ],
)
def test_damaged_batches(folder: Path, content: bytes, message: str) -> None:
    (folder / "data_batch_4").write_bytes(content)
    with pytest.raises(DataError, match=rf"data_batch_4.* {message}"):
        find_source(folder)


def test_what_is_missing_is_named(folder: Path) -> None:
    (folder / "data_batch_5").unlink()
    for path in (folder, pack(folder)):
        with pytest.raises(DataError, match=rf"^{re.escape(str(path))} lacks cifar-10-batches-py/data_batch_5"):
            find_source(path)


def test_half_a_tar_file(folder: Path) -> None:
    path = pack(folder)
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is not a readable tar file"):
        find_source(path)


def test_changed_bytes_in_a_tar_file(folder: Path) -> None:
    """The pixels hardly compress, so that a changed one is noticed only by the checksum at the end of the file."""
    path = pack(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is not a readable tar file"):
        find_source(path)


def test_compressed_data_that_are_none(folder: Path) -> None:
    """A gzip stream that ends in zlib.error, which is no OSError, while a batch is read."""
    path = pack(folder)
    whole = zlib.compressobj(0, wbits=31)
    start = whole.compress(gzip.decompress(path.read_bytes())[:30000]) + whole.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(start + b"\xff" * 100)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is not a readable tar file: Error -3"):
        find_source(path)
