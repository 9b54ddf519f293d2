"""TFRecord files: records survive writing and reading, and every kind of damage is detected."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
