"""JSON of predict calls, to arrays and back."""

import functools

import numpy as np
import pytest
from tensorflow.core.framework.types_pb2 import DT_FLOAT, DT_STRING
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from serving.server.errors import RequestError
from serving.server.rest_json import read_inputs, write_outputs


def test_several_outputs_are_named_in_both_forms():
    outputs = {"a": np.int64([1, 2]), "b_bytes": np.array([b"x", b"y"], object)}
    assert write_outputs({"instances": []}, outputs) == {
        "predictions": [{"a": 1, "b_bytes": {"b64": "eA=="}}, {"a": 2, "b_bytes": {"b64": "eQ=="}}]
    }
    assert write_outputs({"inputs": {}}, outputs) == {
        "outputs": {"a": [1, 2], "b_bytes": [{"b64": "eA=="}, {"b64": "eQ=="}]}
    }


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
