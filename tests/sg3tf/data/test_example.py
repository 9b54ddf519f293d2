"""tf.train.Example without TensorFlow, and agreement with TensorFlow itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sg3tf.data.errors import DataError
from sg3tf.data.tfrecord import RecordFile, parse_example, record_writer, serialize_example

values = st.one_of(
    st.binary(max_size=50),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5),
)


@given(st.dictionaries(st.text(max_size=9), values, max_size=4))
def test_round_trip(features: dict[str, bytes | list[int] | list[float]]) -> None:
    parsed = parse_example(serialize_example(features), "here")
    expected = {k: [v] if isinstance(v, bytes) else v for k, v in features.items()}
    assert {k: list(v) for k, v in parsed.items()} == expected


def test_same_features_same_bytes_in_any_order() -> None:
    one = serialize_example({"a": [1], "b": b"2", "c": [0.5]})
    assert serialize_example({"c": [0.5], "b": b"2", "a": [1]}) == one


def test_garbage_is_named() -> None:
    with pytest.raises(DataError, match="file: record 7 is not a tf.train.Example"):
        parse_example(b"\xff\xff\xff", "file: record 7")


def test_tensorflow_reads_ours_and_we_read_tensorflows(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    features = {"shape": [3, -4, 2**40], "data": b"\x00raw\xff", "vector": [0.25, -1.5]}
    with record_writer(tmp_path / "ours") as add:
        add(serialize_example(features))
        add(b"")
    ours = [x.numpy() for x in tf.data.TFRecordDataset(str(tmp_path / "ours"))]
    found = tf.train.Example.FromString(ours[0]).features.feature
    assert list(found["shape"].int64_list.value) == features["shape"]
    assert list(found["data"].bytes_list.value) == [features["data"]]
    assert list(found["vector"].float_list.value) == features["vector"]
    assert ours[1] == b""

    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in ours:
            writer.write(tf.train.Example.FromString(record).SerializeToString())
    theirs = RecordFile(tmp_path / "theirs")
    parsed = {k: list(v) for k, v in parse_example(theirs.read(0), "theirs").items()}
    assert parsed == {**features, "data": [features["data"]]}
    assert len(theirs) == 2
