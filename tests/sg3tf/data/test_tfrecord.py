"""TFRecord files: records survive writing and reading, and every kind of damage is detected."""

from __future__ import annotations

import struct
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg3tf.data import open_files
from sg3tf.data.errors import DataError
from sg3tf.data.tfrecord import RecordFile, masked_crc, record_writer

payloads = st.lists(st.binary(max_size=300), max_size=8)


def write(path: Path, records: list[bytes]) -> None:
    with record_writer(path) as add:
        for record in records:
            add(record)


def read_all(path: Path) -> list[bytes]:
    file = RecordFile(path)
    return [file.read(i) for i in range(len(file))]


def test_masked_crc_of_the_published_check_value() -> None:
    crc = 0xE3069283  # crc32c of "123456789", RFC 3720 and every catalog of CRCs
    assert masked_crc(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32


@given(payloads)
def test_round_trip(records: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tfrecords"
        write(path, records)
        assert read_all(path) == records
        backwards = RecordFile(path)
        assert [backwards.read(i) for i in reversed(range(len(records)))] == records[::-1]


@given(payloads.filter(bool), st.data())
def test_every_truncation_is_named(records: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tfrecords"
        write(path, records)
        whole = path.read_bytes()
        ends = [0]
        for record in records:
            ends.append(ends[-1] + 16 + len(record))
        cut = data.draw(st.integers(1, len(whole) - 1).filter(lambda n: n not in ends))
        path.write_bytes(whole[:cut])
        broken = sum(end <= cut for end in ends) - 1
        with pytest.raises(DataError, match=rf"x\.tfrecords: record {broken} is truncated"):
            RecordFile(path)


@given(payloads.filter(bool), st.data())
def test_every_flipped_bit_is_noticed(records: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.tfrecords"
        write(path, records)
        content = bytearray(path.read_bytes())
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.tfrecords: record \d+ is"):
            read_all(path)


def test_a_length_past_the_end_is_truncation_not_memory(tmp_path: Path) -> None:
    length = struct.pack("<Q", 2**40)
    path = tmp_path / "x.tfrecords"
    path.write_bytes(length + struct.pack("<I", masked_crc(length)) + b"payload")
    with pytest.raises(DataError, match="truncated"):
        RecordFile(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent.tfrecords cannot be opened"):
        RecordFile(tmp_path / "absent.tfrecords")


def test_a_disk_that_fails_names_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> bytes:
        raise OSError(5, "Input/output error")

    with record_writer(tmp_path / "x.tfrecords") as add:
        add(b"one")
    file = RecordFile(tmp_path / "x.tfrecords")
    monkeypatch.setattr("os.pread", fail)
    with pytest.raises(DataError, match=r"x\.tfrecords: record 0 cannot be read: Input/output error"):
        file.read(0)


def test_failed_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.tfrecords"
    write(path, [b"old"])
    with pytest.raises(RuntimeError), record_writer(path) as add:
        add(b"new")
        assert read_all(path) == [b"old"]
        raise RuntimeError
    assert read_all(path) == [b"old"]
    assert [file.name for file in tmp_path.iterdir()] == ["x.tfrecords"]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def few_files(monkeypatch: pytest.MonkeyPatch) -> int:
    """At most 5 record files are open at a time."""
    monkeypatch.setattr(open_files, "open_files", open_files.OpenFiles())
    monkeypatch.setattr(open_files, "max_open_files", lambda: 5)
    return 5


def test_more_files_than_may_be_open(tmp_path: Path, few_files: int) -> None:
    for i in range(40):
        write(tmp_path / f"{i}.tfrecords", [b"%d" % i, b"second"])
    before = descriptors()
    files = [RecordFile(tmp_path / f"{i}.tfrecords") for i in range(40)]
    wrong, most = [], []

    def read(start: int) -> None:
        for i in [*range(start, 40), *range(start)] * 5:
            if files[i].read(0) != b"%d" % i:
                wrong.append(i)
            most.append(descriptors())

    threads = [threading.Thread(target=read, args=[10 * t]) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(most) == 4 * 200
    # Beside those that are kept, each thread may hold one, and its descriptor of /proc/self/fd.
    assert max(most) - before <= few_files + 4 + 4
    files.clear()
    assert descriptors() == before


@pytest.mark.usefixtures("few_files")
def test_a_file_that_is_replaced_while_it_is_closed_is_not_mixed_up(tmp_path: Path) -> None:
    write(tmp_path / "0.tfrecords", [b"old"])
    file = RecordFile(tmp_path / "0.tfrecords")
    write(tmp_path / "0.tfrecords", [b"new"])
    assert file.read(0) == b"old"  # still open
    for i in range(1, 7):
        write(tmp_path / f"{i}.tfrecords", [b"other"])
        RecordFile(tmp_path / f"{i}.tfrecords").read(0)
    others = [RecordFile(tmp_path / f"{i}.tfrecords") for i in range(1, 7)]
    with pytest.raises(DataError, match=r"0\.tfrecords was written anew while it was in use; start again"):
        file.read(0)
    assert len(others) == 6


def test_a_quarter_of_the_files_that_a_process_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, expected in ((1024, 256), (4, 8), (open_files.resource.RLIM_INFINITY, 2**30)):
        monkeypatch.setattr(open_files.resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert open_files.max_open_files() == expected
