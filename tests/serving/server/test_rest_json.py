"""JSON of predict calls, to arrays and back."""

import functools
import json

import numpy as np
import pytest
from tensorflow.core.framework.types_pb2 import DT_FLOAT, DT_STRING
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from serving.server.errors import RequestError
from serving.server.rest_json import read_inputs, write_outputs


def test_several_outputs_are_named_in_both_forms():
    outputs = {"a": np.int64([1, 2]), "b_bytes": np.array([b"x", b"y"], object)}
    assert json.loads(write_outputs(outputs, by_row=True)) == {
        "predictions": [{"a": 1, "b_bytes": {"b64": "eA=="}}, {"a": 2, "b_bytes": {"b64": "eQ=="}}]
    }
    assert json.loads(write_outputs(outputs, by_row=False)) == {
        "outputs": {"a": [1, 2], "b_bytes": [{"b64": "eA=="}, {"b64": "eQ=="}]}
    }


@pytest.mark.parametrize("shape", [(2, 64, 64, 3), (2, 3), (2,), (), (2, 0)])
def test_numbers_are_written_as_json_writes_them(shape, monkeypatch):
    """In pieces: while one call of C code writes, no other thread runs."""
    array, sizes = np.random.default_rng(0).normal(size=shape).astype(np.float32), []
    dumps = json.dumps
    expected = dumps({"outputs": array.tolist()}).encode()
    monkeypatch.setattr(json, "dumps", lambda value: (sizes.append(np.size(value)), dumps(value))[1])
    assert write_outputs({"x": array}, by_row=False) == expected
    assert max(sizes) <= 4096


def test_texts_keep_their_shape():
    texts = np.array([[b"a", b"b"], [b'"', "é".encode()]], object)
    assert json.loads(write_outputs({"x": texts}, by_row=True)) == {"predictions": [["a", "b"], ['"', "é"]]}
    with pytest.raises(RequestError, match="'x' is binary, but its name does not end in _bytes"):
        write_outputs({"x": np.array([b"\xff"], object)}, by_row=True)


@pytest.mark.parametrize("other", [np.float32(1), np.zeros((3, 1), np.float32)], ids=["scalar", "other length"])
def test_outputs_without_rows_have_no_row_form(other):
    outputs = {"a": np.int64([1, 2]), "b": np.asarray(other)}
    with pytest.raises(RequestError, match=r"'a' \[2\], 'b' \[.*\]; send \"inputs\", the column form"):
        write_outputs(outputs, by_row=True)
    assert json.loads(write_outputs(outputs, by_row=False))["outputs"]["b"] == other.tolist()


@pytest.mark.parametrize("name", ["z", "unknown"])
def test_texts_for_numbers_take_no_memory(name):
    """An array of text would take 4 bytes for each character of the longest in every element: 4 TB here."""
    signature = SignatureDef(inputs={"z": TensorInfo(dtype=DT_FLOAT)})
    body = {"inputs": {name: ["x" * 1_000_000] + [""] * 1_000_000}}
    if name == "unknown":
        assert read_inputs(body, signature)[name].size == 0  # the model names it in its error
    else:
        with pytest.raises(RequestError, match="'z' must hold float32 numbers only"):
            read_inputs(body, signature)


NESTED = functools.reduce(lambda inner, _: [inner], range(990), "x")


@pytest.mark.parametrize("texts", [NESTED, [["a"], ["b", "c"]]], ids=["nested", "ragged"])
def test_texts_that_are_no_rectangular_array(texts):
    signature = SignatureDef(inputs={"texts": TensorInfo(dtype=DT_STRING)})
    with pytest.raises(RequestError, match="'texts' is not a rectangular array"):
        read_inputs({"inputs": {"texts": texts}}, signature)


def test_binary_inputs_are_decoded_and_one_input_needs_no_name():
    signature = SignatureDef(inputs={"image_bytes": TensorInfo(dtype=DT_STRING)})
    body = {"instances": [{"b64": "eA=="}, {"image_bytes": "plain"}]}
    assert read_inputs(body, signature)["image_bytes"].tolist() == [b"x", b"plain"]
    with pytest.raises(RequestError, match="not base64"):
        read_inputs({"inputs": {"b64": "?"}}, signature)
