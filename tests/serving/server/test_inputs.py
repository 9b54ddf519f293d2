"""Checks of inputs before a request reaches a model."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

from serving.server.errors import RequestError
from serving.server.inputs import check_classes, check_marks, num_marks, per_image_shapes


def signature(**inputs):
    infos = {
        name: TensorInfo(dtype=dtype.as_datatype_enum, tensor_shape=tf.TensorShape(shape).as_proto())
        for name, (dtype, shape) in inputs.items()
    }
    return SignatureDef(inputs=infos)


MIX = signature(
    ws_a=(tf.float32, [None, 18, 5]), ws_b=(tf.float32, [None, 18, 5]), mask=(tf.float32, None), psi=(tf.float32, None)
)
IMAGES = signature(images=(tf.uint8, [None, 8, 8, 1]), names=(tf.string, [None, 2]))


@pytest.mark.parametrize("definition", [MIX, IMAGES], ids=["mix", "images"])
def test_the_largest_request_fits_its_number_of_marks(definition):
    shapes = per_image_shapes(definition)
    columns = {}
    for name, info in definition.inputs.items():
        sizes = shapes.get(name, tf.TensorShape(info.tensor_shape)[1:].as_list() if name not in shapes else None)
        value = {"b64": "eA=="} if name == "names" else 1
        columns[name] = np.full((7, *sizes), value).tolist()
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    most = num_marks(definition, shapes, max_rows=7, text_commas=2)
    for form in ({"inputs": columns}, {"instances": rows}):
        body = json.dumps(form).encode()
        check_marks(body, most, 7)
        with pytest.raises(RequestError, match="lists, objects and commas; send at most 7 rows in one request"):
            check_marks(body, most // 3, 7)


def test_requests_without_a_limit():
    assert num_marks(MIX, per_image_shapes(MIX), max_rows=0, text_commas=2) is None
    assert num_marks(MIX, {}, max_rows=7, text_commas=2) is None
    assert num_marks(IMAGES, {}, max_rows=7, text_commas=None) is None
    assert num_marks(signature(x=(tf.float32, [None, None])), {}, max_rows=7, text_commas=2) is None
    check_marks(b"[]" * 10**6, None, 0)


def test_errors_show_the_start_of_a_long_text():
    texts = np.array([b"manx," * 1_000_000], object)
    with pytest.raises(RequestError, match=r"'class_name' is 'manx,.*'\.\.\.; it must be a number") as error:
        check_classes(texts, ["tabby", "manx"], 2)
    assert len(str(error.value)) < 300
