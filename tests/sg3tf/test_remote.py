"""The remote client: tensors, retries, API keys and TLS, against a scripted server."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from grpc import StatusCode
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from sg3tf import remote
from sg3tf.remote import Client, Retries, ServingError

ARRAYS = [
    *(np.arange(6).reshape(2, 3).astype(dtype) for dtype in ("f2", "f4", "f8", "i1", "i2", "i4", "i8")),
    *(np.arange(6).reshape(2, 3).astype(dtype) for dtype in ("u1", "u2", "u4", "u8", ml_dtypes.bfloat16)),
    np.array([True, False]),
    np.array(3.5),
    np.zeros([0, 4], np.float32),
    np.array([[b"a", b"bc"]], object),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.ndim}")
def test_tensors_are_tensorflows(array):
    """The same bytes on the wire as TensorFlow's own, in both directions, also for values in fields of their own."""
    ours = remote.tensor_from_array(array)
    np.testing.assert_array_equal(remote.array_from_tensor(ours), array)
    theirs = tensor_pb2.TensorProto.FromString(ours.SerializeToString())
    np.testing.assert_array_equal(tf.make_ndarray(theirs), array)
    for proto in (tf.make_tensor_proto(array), by_fields(array)):
        back = remote.array_from_tensor(type(ours).FromString(proto.SerializeToString()))
        np.testing.assert_array_equal(back, array)
        assert back.dtype == array.dtype


def by_fields(array):
    """Answer in the default form of TensorFlow Serving: in float_val, int_val and so on, as AsProtoField writes it."""
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum if array.dtype != object else 7)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field = remote.TENSOR_TYPES[proto.dtype][1]
    values = array.ravel().view(np.uint16) if field == "half_val" else array.ravel()
    getattr(proto, field).extend(values.tolist())
    return proto


def test_equal_values_may_be_left_out():
    proto = tf.make_tensor_proto(7, dtype=tf.int64, shape=[2, 3])
    assert len(proto.int64_val) == 1
    back = remote.array_from_tensor(type(remote.tensor_from_array(1)).FromString(proto.SerializeToString()))
    np.testing.assert_array_equal(back, np.full([2, 3], 7))
    strings = type(remote.tensor_from_array(1))(dtype=tf.string.as_datatype_enum)
    strings.tensor_shape.dim.add(size=2)
    assert remote.array_from_tensor(strings).tolist() == [b"", b""]


def test_bytes_that_end_in_zeros_are_kept():
    assert list(remote.tensor_from_array([b"a\0", b"\0"]).string_val) == [b"a\0", b"\0"]
    assert list(remote.tensor_from_array(b"a\0").string_val) == [b"a\0"]


def test_other_types():
    with pytest.raises(ValueError, match="array of type complex128: give numbers, strings or bytes"):
        remote.tensor_from_array(1j)
    with pytest.raises(ValueError, match="unknown DataType 18"):
        remote.array_from_tensor(type(remote.tensor_from_array(1))(dtype=18))


class Scripted(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Refuses with the given codes, one after the other, and then answers; remembers what came."""

    def __init__(self, *codes):
        self.codes, self.calls, self.metadata = list(codes), 0, []

    def Predict(self, request, context):
        self.calls += 1
        self.metadata.append(dict(context.invocation_metadata()))
        if self.codes:
            context.abort(self.codes.pop(0), "as the script says")
        return predict_pb2.PredictResponse()

    @contextlib.contextmanager
    def serving(self, port=0, credentials=None):
        server = grpc.server(ThreadPoolExecutor(2))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, server)
        address = f"localhost:{port}"
        number = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        server.start()
        yield f"localhost:{number}"
        server.stop(None).wait()


def ask(address, **arguments):
    arguments = {"timeout_s": 10, "retries": Retries(first_wait_s=0.02)} | arguments
    with contextlib.closing(Client(address, "any", **arguments)) as client:
        return client.predict("any", {})


def test_silent_server_is_given_up():
    # It accepts connections and never says a word.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.3)
        with contextlib.closing(client), pytest.raises(ServingError, match=r"within 0\.3 s"):
            client.metadata()


def test_unreachable_server_is_explained():
    client = Client("127.0.0.1:1", timeout_s=20, retries=Retries(attempts=2, first_wait_s=0.1))
    answer = pytest.raises(ServingError, match=r"no server answers at 127\.0\.0\.1:1")
    with contextlib.closing(client), answer as caught:
        client.metadata()
    assert caught.value.code == StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("codes", "attempts", "raised"),
    [
        ([StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED], 3, None),
        ([StatusCode.RESOURCE_EXHAUSTED] * 9, 4, StatusCode.RESOURCE_EXHAUSTED),
        ([StatusCode.INTERNAL] * 9, 1, StatusCode.INTERNAL),
        ([StatusCode.INVALID_ARGUMENT] * 9, 1, StatusCode.INVALID_ARGUMENT),
        ([StatusCode.UNAVAILABLE, StatusCode.NOT_FOUND], 2, StatusCode.NOT_FOUND),
    ],
)
def test_repeats_what_another_attempt_may_change(codes, attempts, raised):
    scripted = Scripted(*codes)
    with scripted.serving() as address:
        if raised is None:
            assert ask(address) == {}
        else:
            with pytest.raises(ServingError, match="as the script says") as caught:
                ask(address)
            assert caught.value.code == raised
    assert scripted.calls == attempts


class Refused(grpc.RpcError):
    """An error as gRPC raises it."""

    def __init__(self, code, details):
        super().__init__(details)
        self.code, self.details = lambda: code, lambda: details


@pytest.mark.parametrize(
    "details",
    [
        "SERVER: Received message larger than max (3000 vs. 2000)",
        "'z' has the shape [9000, 9000], 324000000 bytes; at most 67108864 are accepted",
    ],
)
def test_a_request_that_is_too_large_is_not_repeated(details):
    attempts = []

    def send(seconds):
        attempts.append(seconds)
        raise Refused(StatusCode.RESOURCE_EXHAUSTED, details)

    with pytest.raises(Refused) as caught:
        Retries(first_wait_s=0.01).run(send, 10)
    assert len(attempts) == 1
    with Client("127.0.0.1:1") as client:
        assert client._explain(caught.value).startswith("the request is too large for 127.0.0.1:1, ask for fewer")


def test_unavailable_may_mean_a_full_queue():
    full = Refused(StatusCode.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full")
    with Client("127.0.0.1:1") as client:
        assert client._explain(full).startswith("no server answers at 127.0.0.1:1, or its queue is full: start one")


def test_all_attempts_share_one_deadline():
    seconds_left = []

    def send(seconds):
        seconds_left.append(seconds)
        raise Refused(StatusCode.RESOURCE_EXHAUSTED, "the server is full")

    with pytest.raises(Refused):
        Retries(attempts=4, first_wait_s=0.02).run(send, 10)
    assert seconds_left[0] == pytest.approx(10, abs=0.01)
    waits = -np.diff(seconds_left)
    assert np.all(waits >= [0.01, 0.02, 0.04])


def test_does_not_wait_beyond_the_deadline():
    scripted = Scripted(*[StatusCode.UNAVAILABLE] * 9)
    began = time.monotonic()
    with scripted.serving() as address, pytest.raises(ServingError, match="no server answers"):
        ask(address, timeout_s=5, retries=Retries(first_wait_s=10.1))  # half of it is longer than five seconds
    assert time.monotonic() - began < 5
    assert scripted.calls == 1


def test_a_server_that_starts_late_is_reached():
    scripted, done = Scripted(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def serve():
        time.sleep(0.15)
        with scripted.serving(port):
            done.wait(20)

    with ThreadPoolExecutor() as pool:
        pool.submit(serve)
        try:
            # The last attempt comes after 0.62 s, when gRPC by default would not yet connect again.
            assert ask(f"localhost:{port}", retries=Retries(first_wait_s=0.1, seed=6)) == {}
        finally:
            done.set()


def test_waits():
    waits = [list(Retries(4, 0.2, seed).waits()) for seed in range(200)]
    assert waits[0] == list(Retries(4, 0.2, 0).waits())
    assert list(Retries(4, 0.2).waits()) != list(Retries(4, 0.2).waits())
    relative = np.array(waits) / [0.2, 0.4, 0.8]
    assert relative.min() >= 0.5 and relative.max() <= 1.5
    # The mean of 200 draws from 0.5 to 1.5 has a standard deviation of 0.02.
    np.testing.assert_allclose(relative.mean(axis=0), 1, atol=0.1)
    assert list(Retries(1).waits()) == []
    with pytest.raises(ValueError, match="attempts=0"):
        Retries(0)


def test_api_key(tmp_path):
    key = tmp_path / "key"
    key.write_text("open sesame\n")
    scripted = Scripted()
    with scripted.serving() as address:
        ask(address, api_key_file=str(key))
        ask(address)
        assert scripted.metadata[0]["x-api-key"] == "open sesame"
        assert "x-api-key" not in scripted.metadata[1]
        scripted.codes.append(StatusCode.UNAUTHENTICATED)
        with pytest.raises(ServingError, match="requires a key, name the file that has it in api_key_file"):
            ask(address)
    for text in ("", "two\nlines", "schlüssel"):
        key.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="key must hold one line"):
            Client(api_key_file=str(key))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
def test_tls(tmp_path):
    def certificate(name):
        files = [tmp_path / f"{name}.key", tmp_path / f"{name}.pem"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", files[0], "-out", files[1]]
        subprocess.run(command, check=True, capture_output=True)
        return files

    (key, trusted), (_, other) = certificate("trusted"), certificate("other")
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), trusted.read_bytes())])
    with Scripted().serving(credentials=credentials) as address:
        assert ask(address, ssl_ca_file=str(trusted)) == {}
        for wrong in (str(other), None):
            with pytest.raises(ServingError, match="or the TLS settings"):
                ask(address, ssl_ca_file=wrong)
    with pytest.raises(ValueError, match=r"trusted\.key has no certificate"):
        Client(ssl_ca_file=str(key))
