"""The server as a process: draining on SIGTERM, and errors at the start."""

import functools
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server import server as server_module
from serving.server.model_manager import parse_policy
from serving.server.security import ApiKey, Certificate

SLOW = 20_000
SEEDS, LABEL = np.arange(SLOW, dtype=np.int64), np.zeros((SLOW, 2), np.float32)


OPTIONS = functools.partial(
    server_module.ServerOptions,
    name="fake",
    policy=parse_policy("latest"),
    poll_seconds=0,
    host="127.0.0.1",
    port=0,
    rest_port=0,
    rest_seconds=30,
    batching=None,
    max_in_flight=4,
    max_batch=0,
    max_bytes=64 << 20,
    key=None,
    certificate=None,
)


def run_server(*flags, cwd):
    command = [sys.executable, "-m", "serving.server", "--rest_api_port=0", *flags]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


def ask_grpc(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "fake", "generate_png"
    for name, value in {"seed": SEEDS, "psi": np.float32(1), "label": LABEL}.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(request, timeout=60).outputs["png_bytes"].string_val


def ask_rest(server):
    inputs = {"seed": SEEDS.tolist(), "psi": 1.0, "label": LABEL.tolist()}
    body = json.dumps({"signature_name": "generate_png", "inputs": inputs}).encode()
    url = server.rest + "/v1/models/fake:predict"
    with urllib.request.urlopen(url, body, timeout=60) as response:
        return json.load(response)["outputs"]


# Apart, because either one's slow request would cover up for the other's haste.
@pytest.mark.parametrize("ask", [ask_grpc, ask_rest])
def test_requests_in_flight_are_answered_on_sigterm(ask, start_server, model_base_path):
    server = start_server(model_base_path, "--max_batch=0")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, server)
        time.sleep(0.3)
        assert not answer.done()
        assert server.stop() == 0
        assert len(answer.result()) == SLOW


def test_draining_ends_even_where_a_prediction_does_not(model_base_path, monkeypatch):
    """In this process: the server as a process then ends by force, with exit status 1."""
    monkeypatch.setattr(server_module, "_DRAIN_SECONDS", 0.2)
    never, began = threading.Event(), threading.Event()

    def stuck(*_):
        began.set()
        never.wait(60)
        raise OSError

    served = server_module.Server(OPTIONS(base=model_base_path))
    assert served.drain()  # with nobody inside
    served = server_module.Server(OPTIONS(base=model_base_path))
    monkeypatch.setattr(server_module.ServedModel, "run", stuck)
    server = SimpleNamespace(rest=f"http://127.0.0.1:{served.rest_port}")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask_rest, server)
        assert began.wait(20)
        assert not served.drain()
        never.set()
        assert answer.exception()


def test_a_port_in_use_is_explained(server, model_base_path, tmp_path):
    port = server.address.split(":")[1]
    done = run_server(f"--model_base_path={model_base_path}", f"--port={port}", cwd=tmp_path)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("serving.server: ") and port in line


def test_nothing_to_serve_is_explained(tmp_path):
    (tmp_path / ".unfinished-1").mkdir()
    done = run_server(f"--model_base_path={tmp_path}", "--port=0", cwd=tmp_path)
    assert done.returncode == 1
    assert "no version folder" in done.stderr


def test_wrong_flags_are_explained(model_base_path, tmp_path):
    done = run_server(f"--model_base_path={model_base_path}", "--ssl_cert_file=x", cwd=tmp_path)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]  # after notices of TensorFlow
    assert line == "serving.server: --ssl_cert_file and --ssl_key_file go together; give both or neither"


def test_wrong_files_are_explained(tmp_path):
    file = tmp_path / "file"
    file.write_text("two\nlines")
    with pytest.raises(ValueError, match="not a certificate and its key"):
        Certificate(file, file)
    with pytest.raises(ValueError, match="one line of printable ASCII"):
        ApiKey(file)
