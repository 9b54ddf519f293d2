"""The server as a process: draining on SIGTERM, and errors at the start."""

import json
import os
import re
import socket
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
from absl.flags import FlagValues, IllegalFlagValueError
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server import __main__ as program
from serving.server import address
from serving.server import server as server_module
from serving.server.model_config import read_model_config
from serving.server.security import ApiKey, Certificate
from sg3tf.utils.hosts import is_loopback
from tests.serving.conftest import OPTIONS

SLOW = 20_000
SEEDS, LABEL = np.arange(SLOW, dtype=np.int64), np.zeros((SLOW, 2), np.float32)


@pytest.fixture
def run_here(monkeypatch, capsys):
    """Runs the command in this process, which keeps its handlers of signals and of messages."""
    monkeypatch.setattr(server_module, "stop_on_signals", threading.Event)
    monkeypatch.setattr(program, "_log_to_stderr", lambda name: None)
    monkeypatch.setattr(program.absl_logging, "set_verbosity", lambda level: None)

    def run(*flags):
        """Exit status, standard output and standard error."""
        status = program.main(["--port=0", "--rest_api_port=0", *flags])
        return (status, *capsys.readouterr())

    return run


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


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


def is_predicting(server):
    with urllib.request.urlopen(f"{server.rest}/monitoring/prometheus/metrics", timeout=60) as response:
        return "sg3tf_serving_in_flight 1.0" in response.read().decode()


# Apart, because either one's slow request would cover up for the other's haste.
@pytest.mark.parametrize("ask", [ask_grpc, ask_rest])
def test_requests_in_flight_are_answered_on_sigterm(ask, start_server, model_base_path):
    server = start_server(model_base_path, "--max_batch=0")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, server)
        while not answer.done() and not is_predicting(server):
            time.sleep(0.01)
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
    monkeypatch.setattr(server_module.ServedModel, "prepare", lambda *_: stuck)
    server = SimpleNamespace(rest=f"http://127.0.0.1:{served.rest_port}")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask_rest, server)
        assert began.wait(20)
        assert not served.drain()
        never.set()
        assert answer.exception()


def run_process(*flags, cwd):
    command = [sys.executable, "-m", "serving.server", *flags]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_port_in_use_is_one_line_before_the_model_is_loaded(flag, model_base_path, run_here, monkeypatch, tmp_path):
    """In a process of its own for one of them, where notices of TensorFlow would show as well."""
    monkeypatch.setattr(server_module.ModelManager, "load", lambda self: pytest.fail("the model is loaded"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = [f"--model_base_path={model_base_path}", "--port=0", "--rest_api_port=0", f"--{flag}={port}"]
        done = run_process(*flags, cwd=tmp_path) if flag == "port" else run_here(*flags)
    reason = f"serving.server: --host=127.0.0.1 --{flag}={port}: Address already in use; give another port or address\n"
    assert done == (1, "", reason)


def test_a_port_that_grpc_cannot_bind_is_named(model_base_path, monkeypatch):
    """Another program has taken it after the check."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(address, "listen", lambda *args: socket.socket())
        with pytest.raises(OSError, match=f"--host=127.0.0.1 --port={port}: Failed to bind"):
            server_module.Server(OPTIONS(base=model_base_path, port=port))


@pytest.mark.parametrize("host", ["192.0.2.1", "[::1", "no such host"])
def test_an_address_of_elsewhere_is_refused(host):
    with pytest.raises(OSError, match=re.escape(f"--host={host} --port=0: ")):
        address.listen(host, 0, "port")


@pytest.mark.parametrize(
    ("host", "clients"), [("::1", ["::1"]), ("[::]", ["::1", "127.0.0.1"]), ("localhost", ["127.0.0.1"])]
)
def test_hosts(host, clients):
    with address.listen(host, 0, "port") as listener:
        for client in clients:
            socket.create_connection((client, listener.getsockname()[1]), timeout=5).close()
    assert is_loopback(host) == (host != "[::]")


def test_a_version_folder_is_not_the_folder_of_versions(model_base_path):
    with pytest.raises(OSError, match=re.escape(f"is one version; give the folder of all versions, {model_base_path}")):
        server_module.Server(OPTIONS(base=model_base_path / "2"))


def test_a_failed_start_leaves_no_port_bound(tmp_path):
    port = unused_port()
    with pytest.raises(OSError, match="no version folder"):
        server_module.Server(OPTIONS(base=tmp_path, port=port))
    address.listen("127.0.0.1", port, "port").close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model_config_list {", "models.config: "),
        ("", "this server serves one model"),
        ('model_config_list { config { name: "a" } }', "give name, base_path"),
        ('model_config_list { config { name: "a" base_path: "b" model_platform: "c" } }', "model_platform"),
        ("model_config_list { config { model_version_policy { specific {} } } }", "specific has no versions"),
    ],
)
def test_wrong_model_configurations_are_explained(text, words, tmp_path):
    file = tmp_path / "models.config"
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_model_config(file)


def test_a_label_of_a_version_that_is_not_served_is_an_error(model_base_path):
    with pytest.raises(OSError, match="version_labels has 'stable' for version 1; the versions served are 2"):
        server_module.Server(OPTIONS(base=model_base_path, labels={"stable": 1}))


def test_nothing_to_serve_is_explained(run_here, tmp_path):
    (tmp_path / ".unfinished-1").mkdir()
    status, out, err = run_here(f"--model_base_path={tmp_path}")
    assert (status, out) == (1, "") and "no version folder" in err and err.count("\n") == 1


def test_wrong_flags_are_explained(model_base_path, run_here):
    done = run_here(f"--model_base_path={model_base_path}", "--ssl_cert_file=x")
    line = "serving.server: --ssl_cert_file and --ssl_key_file go together; give both or neither\n"
    assert done == (1, "", line)


@pytest.mark.parametrize(
    ("base", "flag", "message"),
    [
        ("/models", "--model_name=b", "--model_name=b: --model_config_file has it too"),
        ("/models", "--model_version_policy=all", "--model_version_policy=all: --model_config_file has it too"),
        ("gs://bucket/models", "--port=0", "gs://bucket/models: give a local path"),
    ],
)
def test_a_configuration_file_and_flags(tmp_path, base, flag, message):
    file = tmp_path / "models.config"
    file.write_text(f'model_config_list {{ config {{ name: "a" base_path: "{base}" }} }}')
    options = FlagValues()
    program.define_flags(options)
    options(["serving.server", f"--model_config_file={file}", flag])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        program.server_options(options)


@pytest.mark.parametrize("name", ["", "a/b", "a:b"])
def test_a_name_that_no_address_can_have_is_refused(tmp_path, name):
    options = FlagValues()
    program.define_flags(options)
    options(["serving.server", "--model_base_path=models", f"--model_name={name}"])
    words = "give a name without / and :, as it is part of addresses"
    with pytest.raises(ValueError, match=f"^--model_name={name}: {words}"):
        program.server_options(options)
    file = tmp_path / "models.config"
    file.write_text(f'model_config_list {{ config {{ name: "{name}" base_path: "b" }} }}')
    with pytest.raises(ValueError, match=f"models.config: (name={name}: {words}|give name, base_path)"):
        read_model_config(file)


def test_largest_request_is_in_mebibytes():
    def max_bytes(*flags):
        options = FlagValues()
        program.define_flags(options)
        options(["serving.server", "--model_base_path=models", "--model_name=fake", *flags])
        return program.server_options(options).max_bytes

    assert (max_bytes(), max_bytes("--max_request_mb=3")) == (64 << 20, 3 << 20)
    for number in (0, 2048):
        with pytest.raises(IllegalFlagValueError, match=r"not an integer in the range \[1, 2047\]"):
            max_bytes(f"--max_request_mb={number}")


def test_wrong_files_are_explained(tmp_path):
    file = tmp_path / "file"
    file.write_text("two\nlines")
    with pytest.raises(ValueError, match="not a certificate and its key"):
        Certificate(file, file)
    with pytest.raises(ValueError, match=r"^--api_key_file=\S+ must hold one line of printable ASCII"):
        ApiKey(file)
