"""The bytes of gRPC answers, read without TensorFlow, without protobuf and without this project."""

import struct

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from serving.server.tensors import to_proto
from sg3tf import remote

Z, LABEL = np.float32(np.random.RandomState(5).randn(2, 6)), np.float32([[1, 0], [0, 1]])
FLOAT, UINT8, STRING = 1, 4, 7  # tensorflow.DataType
# Field numbers in tensor.proto, which public clients have compiled in.
DTYPE, SHAPE, CONTENT, FLOAT_VAL, INT_VAL, STRING_VAL = 1, 2, 4, 5, 7, 8


def varints(data):
    """All varints in `data`: groups of seven bits, the lowest first, the last without its highest bit."""
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield value
            value = shift = 0


def fields(data):
    """{field number: [contents]} of a message that has varints and length-delimited fields only."""
    found, at = {}, 0

    def varint():
        nonlocal at
        start = at
        while data[at] >= 128:
            at += 1
        at += 1
        return next(varints(data[start:at]))

    while at < len(data):
        number, wire_type = divmod(varint(), 8)
        assert wire_type in (0, 2)
        content = varint()
        if wire_type == 2:
            at += content
            content = data[at - content : at]
        found.setdefault(number, []).append(content)
    return found


def output(server, signature, name, **inputs):
    """Fields of the TensorProto `name` in the raw answer to a prediction."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "fake", signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    with grpc.insecure_channel(server.address) as channel:
        answer = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(
            request.SerializeToString(), timeout=20
        )
    entries = [fields(entry) for entry in fields(answer)[1]]
    (tensor,) = [fields(entry[2][0]) for entry in entries if entry[1] == [name.encode()]]
    return tensor


def shape(tensor):
    return [fields(dim)[1][0] for dim in fields(tensor[SHAPE][0])[2]]


def test_numbers_and_files_are_in_typed_fields(server, fake_generator):
    tensor = output(server, "generate", "images", z=Z, psi=np.float32(0.5), label=LABEL)
    assert (tensor[DTYPE], shape(tensor), CONTENT in tensor) == ([UINT8], [2, 8, 8, 3], False)
    pixels = np.reshape([*varints(tensor[INT_VAL][0])], (2, 8, 8, 3))
    np.testing.assert_allclose(pixels, fake_generator.images(Z, LABEL, 0.5), atol=1)  # rounding may go either way
    ws = output(server, "map", "ws", z=Z, psi=np.float32(0.5), label=LABEL)
    assert (ws[DTYPE], shape(ws), CONTENT in ws) == ([FLOAT], [2, 3, 4], False)
    expected = fake_generator.mapping(Z, LABEL, np.full(2, 0.5, np.float32))
    # Sums of 8 products of numbers of order 1, in another order: 8 roundings of 6e-8.
    np.testing.assert_allclose(np.reshape(struct.unpack("<24f", ws[FLOAT_VAL][0]), (2, 3, 4)), expected, atol=1e-5)
    png = output(server, "generate_png", "png_bytes", seed=np.int64([1, 2]), psi=np.float32(1), label=LABEL)
    assert (png[DTYPE], CONTENT in png) == ([STRING], False)
    assert [value[:4] for value in png[STRING_VAL]] == [b"\x89PNG"] * 2


def test_tensor_content_if_the_flag_says_so(configured, fake_generator):
    tensor = output(configured, "generate", "images", z=Z, psi=np.float32(0.5), label=LABEL)
    assert (shape(tensor), INT_VAL in tensor) == ([2, 8, 8, 3], False)
    pixels = np.frombuffer(tensor[CONTENT][0], np.uint8).reshape(2, 8, 8, 3)
    np.testing.assert_allclose(pixels.astype(int), fake_generator.images(Z, LABEL, 0.5), atol=1)
    with remote.Client(configured.address, "fake") as client:
        assert [png[:4] for png in client.generate_png([1, 2], label=LABEL)] == [b"\x89PNG"] * 2


ARRAYS = [np.arange(-3, 300, dtype=dtype) for dtype in ("float32", "float64", "int32", "int16", "int64", "float16")]
ARRAYS += [np.arange(256, dtype=dtype).reshape(2, 1, 128) for dtype in ("uint8", "uint16", "uint32", "uint64")]
ARRAYS += [
    np.arange(70_000, dtype="int32"),
    np.array([True, False]),
    np.float32(3),
    np.zeros((0, 4), np.float32),
    np.complex64([1j]),
]
ARRAYS += [tf.constant([1.5, -2], tf.bfloat16).numpy(), np.array([[b"a", b""], [b"\x00" * 300, b"d"]], object)]


@pytest.mark.parametrize("as_tensor_content", [False, True])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
def test_every_type_is_read_back_by_tensorflow(array, as_tensor_content):
    """By the C++ code that a stock client and server use; our own client is tested on the same bytes."""
    message = to_proto(array, as_tensor_content).SerializeToString()
    np.testing.assert_array_equal(tf.io.parse_tensor(message, tf.as_dtype(array.dtype)).numpy(), array)
    if array.dtype != np.complex64:
        proto = type(remote.tensor_from_array(1)).FromString(message)
        back = remote.array_from_tensor(proto)
        np.testing.assert_array_equal(back, array)
        assert back.dtype == array.dtype


def test_strings_as_tensor_content():
    """TensorFlow's own form, which a stock server may answer with under the flag; parse_tensor shows that it is one."""
    strings = [b"", b"\x89PNG" * 100, b"x"]
    content = b"\x00\x90\x03\x01" + b"".join(strings)  # 400 = 3 * 128 + 16
    proto = tensor_pb2.TensorProto(dtype=STRING, tensor_content=content)
    proto.tensor_shape.dim.add(size=3)
    message = proto.SerializeToString()
    assert tf.io.parse_tensor(message, tf.string).numpy().tolist() == strings
    ours = type(remote.tensor_from_array(1))
    assert remote.array_from_tensor(ours.FromString(message)).tolist() == strings
    proto.tensor_content = content[:2]
    with pytest.raises(ValueError, match="strings that end early"):
        remote.array_from_tensor(ours.FromString(proto.SerializeToString()))
