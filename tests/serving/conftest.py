"""A generator small enough to start a server on at once, and that server as a real process."""

import contextlib
import dataclasses
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from serving.server.server import Server, ServerOptions
from serving.server.version_policy import parse_policy

ROOT = Path(__file__).parents[2]

#: Options of the server for tests that start one in their own process.
OPTIONS = functools.partial(
    ServerOptions,
    name="fake",
    policy=parse_policy("latest"),
    labels={},
    poll_seconds=0,
    host="127.0.0.1",
    port=0,
    rest_port=0,
    rest_seconds=30,
    rest_cors=False,
    batching=None,
    max_in_flight=4,
    max_batch=0,
    max_bytes=64 << 20,
    as_tensor_content=False,
    key=None,
    certificate=None,
)


@dataclasses.dataclass(frozen=True)
class FakeConfig:
    resolution: int = 8
    image_channels: int = 3
    z_dim: int = 6
    w_dim: int = 4
    label_dim: int = 2


class FakeGenerator:
    """The attributes of sg3tf.Generator that serving uses; every input changes every pixel."""

    config = FakeConfig()
    num_ws = 3
    supports_transform = True

    def __init__(self):
        rng = np.random.default_rng(0)
        self._to_w = tf.Variable(rng.normal(size=(8, 4)), dtype=tf.float32)
        self._to_image = tf.Variable(rng.normal(size=(12, 192)), dtype=tf.float32)
        self.variables = [SimpleNamespace(value=v) for v in (self._to_w, self._to_image)]

    def mapping(self, z, label, truncation_psi):
        w = tf.concat([z, label], axis=1) @ self._to_w
        return tf.tile((truncation_psi[:, None] * w)[:, None], [1, 3, 1])

    def with_dtype(self, dtype):
        return self

    def synthesis(self, ws, *, transform):
        shift = transform[:, :1, 2] + transform[:, 0, :1]
        flat = tf.reshape(ws, [-1, 12]) @ self._to_image / 4.0 + shift - 1.0
        return tf.reshape(tf.tanh(flat), [-1, 8, 8, 3])

    def images(self, z, label, psi=1.0, transform=None):
        """Expected answers of the signatures, computed without them: [N, R, R, C] uint8."""
        n = len(z)
        psi = np.broadcast_to(np.float32(psi), n)
        ws = self.mapping(np.float32(z), np.float32(label), psi)
        matrix = np.broadcast_to(np.eye(3) if transform is None else transform, (n, 3, 3))
        x = self.synthesis(ws, transform=np.float32(matrix)).numpy()
        return np.rint(np.clip((x + 1) * 127.5, 0, 255)).astype(np.uint8)


@pytest.fixture(scope="session")
def fake_generator():
    return FakeGenerator()


@pytest.fixture(scope="session")
def stylegan2():
    import sg3tf

    tiny = {"resolution": 16, "channel_base": 128, "channel_max": 8, "z_dim": 16, "w_dim": 16}
    return sg3tf.Generator.from_preset("stylegan2", **tiny)


@pytest.fixture(scope="session")
def model_base_path(fake_generator, tmp_path_factory):
    from serving import saved_model

    base = tmp_path_factory.mktemp("models[1]") / "fake"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "validate_export", lambda *_: {})  # which starts a process; the second has it
        saved_model.export_saved_model(fake_generator, base)
    saved_model.export_saved_model(fake_generator, base, metadata={"classes": ["tabby", "manx"]})
    return base


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A folder with cert.pem and server.key of 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "server.key", "-out", folder / "cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


class ServerProcess:
    """`python -m serving.server` on free loopback ports, where importing sg3tf's networks is an error."""

    def __init__(self, model_base_path, folder, *flags):
        networks = ("sg3tf.models.base", "sg3tf.models.layers", "sg3tf.ops")
        (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({networks}))\n")
        command = [sys.executable, "-m", "serving.server", "--port=0", "--rest_api_port=0", *flags]
        if model_base_path:
            command += [f"--model_base_path={model_base_path}", "--model_name=fake"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=environment
            )
        self.ready = self.process.stdout.readline()
        match = re.search(r"gRPC (\S+:\d+), REST (https?://\S+:\d+)/", self.ready)
        if not match:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"the server printed {self.ready!r} and {self.log.read_text()}")
        self.address, self.rest = match.groups()

    def log_has(self, text, seconds=20):
        """Wait until the log has `text`; return False if it never comes."""
        end = time.monotonic() + seconds
        while text not in self.log.read_text():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def stop(self):
        """SIGTERM, then the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture(scope="session")
def start_server(tmp_path_factory):
    """Starts servers, and stops those still running at the end."""
    started = []
    with contextlib.ExitStack() as stack:  # which stops the others if one does not stop

        def start(model_base_path, *flags):
            running = ServerProcess(model_base_path, tmp_path_factory.mktemp("server"), *flags)
            started.append(running)
            stack.callback(lambda: running.process.poll() is None and running.stop())
            return running

        yield start
        for running in started:
            running.process.terminate()  # all at once, as each takes seconds to end


@pytest.fixture
def serve_here():
    """Starts a server in this process, in a tenth of the time of a process of its own, and returns its gRPC address."""
    with contextlib.ExitStack() as stack:

        def start(model_base_path, **options):
            running = Server(OPTIONS(base=model_base_path, **options))
            stack.callback(running.drain)
            return f"127.0.0.1:{running.grpc_port}"

        yield start


@pytest.fixture(scope="session")
def server(start_server, model_base_path):
    return start_server(model_base_path)


@pytest.fixture(scope="session")
def configured(model_base_path, start_server, tmp_path_factory):
    """A server with TensorFlow Serving's configuration file and other flags of it, on the IPv6 loopback address."""
    folder = tmp_path_factory.mktemp("config")
    shutil.copytree(model_base_path, folder / "models")
    file = folder / "models.config"
    file.write_text(
        f"""model_config_list {{ config {{ name: "fake" base_path: "{folder}/models" model_platform: "tensorflow"
        model_version_policy {{ all {{}} }}
        version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "canary" value: 2 }} }} }}"""
    )
    flags = ["--rest_api_enable_cors_support", "--enable_serialization_as_tensor_content"]
    return start_server(None, f"--model_config_file={file}", "--host=[::1]", *flags)
