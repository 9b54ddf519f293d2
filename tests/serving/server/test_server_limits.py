"""TLS, the API key and the limit of requests in flight, over the network."""

import contextlib
import json
import re
import socket
import ssl
import struct
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

KEY = ("x-api-key", "opensesame")
MAX_IN_FLIGHT = 3
VERY_SLOW, SLOW, QUICK = 60_000, 20_000, 1


@pytest.fixture(scope="module")
def folder(certificate):
    (certificate / "api.key").write_text(KEY[1] + "\n")
    return certificate


@pytest.fixture(scope="module")
def guarded(folder, start_server, model_base_path):
    flags = [f"--ssl_cert_file={folder / 'cert.pem'}", f"--ssl_key_file={folder / 'server.key'}"]
    flags += [f"--api_key_file={folder / 'api.key'}", f"--max_in_flight={MAX_IN_FLIGHT}", "--max_batch=0"]
    return start_server(model_base_path, *flags, "--rest_api_timeout_in_ms=1000")


@pytest.fixture(scope="module")
def channel(guarded, folder):
    credentials = grpc.ssl_channel_credentials((folder / "cert.pem").read_bytes())
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.secure_channel(guarded.address, credentials, options) as channel:
        yield channel


def predict(channel, rows, timeout=30, key=KEY):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "fake", "generate_png"
    seed, label = np.arange(rows, dtype=np.int64), np.zeros((rows, 2), np.float32)
    for name, value in {"seed": seed, "psi": np.float32(1), "label": label}.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return stub.Predict.future(request, timeout=timeout, metadata=[key] if key else [])


def http(guarded, folder, path, body=None, key=KEY[1]):
    context = ssl.create_default_context(cafile=folder / "cert.pem")
    request = urllib.request.Request(guarded.rest + path, body, {"x-api-key": key} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def in_flight(guarded, folder):
    text = http(guarded, folder, "/monitoring/prometheus/metrics")[1]
    return float(re.search(r"sg3tf_serving_in_flight (\d\S*)", text)[1])


def wait_for_in_flight(guarded, folder, number):
    end = time.monotonic() + 60
    while in_flight(guarded, folder) != number:
        assert time.monotonic() < end
        time.sleep(0.05)


class Wire:
    """A proxy in front of the server whose connection can be cut without closing messages."""

    def __init__(self, address):
        host, port = address.split(":")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends = []
        threading.Thread(target=self._connect, args=[(host, int(port))], daemon=True).start()

    def _connect(self, server):
        client, _ = self._listener.accept()
        self._ends = [client, socket.create_connection(server)]
        for source, target in (self._ends, self._ends[::-1]):
            threading.Thread(target=self._carry, args=[source, target], daemon=True).start()

    def _carry(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)

    def cut(self):
        self._listener.close()
        for end in self._ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
            end.shutdown(socket.SHUT_RD)  # wakes the thread that reads, so that the close is one
            end.close()


@pytest.mark.parametrize("key", [None, ("x-api-key", "guess")])
def test_the_key_is_asked_for(channel, guarded, folder, key):
    with pytest.raises(grpc.RpcError) as caught:
        predict(channel, QUICK, key=key).result()
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert "x-api-key" in caught.value.details()
    for path, body in [("/v1/models/fake", None), ("/v1/models/fake:predict", b"{}"), ("/monitoring/x", None)]:
        status, text = http(guarded, folder, path, body, key=key and key[1])
        assert status == 401
        assert "x-api-key" in text


def test_with_the_key(channel, guarded, folder):
    assert len(predict(channel, QUICK).result().outputs["png_bytes"].string_val) == QUICK
    assert http(guarded, folder, "/v1/models/fake")[0] == 200
    # Probes have no key.
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status == health_pb2.HealthCheckResponse.SERVING


def test_plain_text_gets_nowhere(guarded):
    with pytest.raises(OSError):
        urllib.request.urlopen(guarded.rest.replace("https", "http") + "/v1/models/fake", timeout=20)
    with grpc.insecure_channel(guarded.address) as plain, pytest.raises(grpc.RpcError) as caught:
        predict(plain, QUICK, timeout=10).result()
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_full_server_refuses_at_once_and_loses_no_one_inside(channel, guarded, folder):
    inside = [predict(channel, SLOW) for _ in range(MAX_IN_FLIGHT)]
    wait_for_in_flight(guarded, folder, MAX_IN_FLIGHT)
    start = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        predict(channel, QUICK).result()
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "max_in_flight=3" in caught.value.details()
    assert http(guarded, folder, "/v1/models/fake:predict", b"{}")[0] == 429
    assert time.monotonic() - start < 2
    for answer in inside:
        assert len(answer.result().outputs["png_bytes"].string_val) == SLOW


def test_deadlines_and_hanging_up_free_their_slots(channel, guarded, folder):
    wait_for_in_flight(guarded, folder, 0)
    running = [predict(channel, VERY_SLOW) for _ in range(2)]  # as many as run at a time
    wait_for_in_flight(guarded, folder, 2)
    with pytest.raises(grpc.RpcError) as caught:
        predict(channel, SLOW, timeout=0.3).result()
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    # The late request leaves the queue; a REST request takes its place and misses its deadline too.
    wait_for_in_flight(guarded, folder, 2)
    body = {"signature_name": "generate_png", "instances": [{"seed": 1, "psi": 1, "label": [0, 1]}]}
    status, text = http(guarded, folder, "/v1/models/fake:predict", json.dumps(body).encode())
    assert (status, "deadline" in text) == (504, True)
    for answer in running:
        answer.cancel()
    wait_for_in_flight(guarded, folder, 0)
    assert len(predict(channel, QUICK).result().outputs["png_bytes"].string_val) == QUICK


def test_a_cut_connection_frees_its_slot(channel, guarded, folder):
    wait_for_in_flight(guarded, folder, 0)
    running = [predict(channel, VERY_SLOW) for _ in range(2)]  # as many as run at a time
    wait_for_in_flight(guarded, folder, 2)
    wire = Wire(guarded.address)
    credentials = grpc.ssl_channel_credentials((folder / "cert.pem").read_bytes())
    with grpc.secure_channel(wire.address, credentials) as other:
        waiting = predict(other, QUICK)
        wait_for_in_flight(guarded, folder, 3)
        wire.cut()
        wait_for_in_flight(guarded, folder, 2)
        assert waiting.code() == grpc.StatusCode.UNAVAILABLE
    for answer in running:
        answer.cancel()
    wait_for_in_flight(guarded, folder, 0)


def test_the_explorer_needs_no_key(guarded, folder):
    """A browser cannot send one when it opens a page; the page asks for it."""
    status, content = http(guarded, folder, "/explorer/index.html", key=None)
    assert (status, "sg3tf explorer" in content) == (200, True)
