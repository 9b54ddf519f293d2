"""Public gRPC clients of TensorFlow Serving, from their registries, against the embedded server.

They need an older protobuf than TensorFlow, or Node, and live in .venv-clients.
"""

import base64
import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from PIL import Image
from tensorflow_serving.apis import prediction_service_pb2

from tests.helpers.tools import skip

ROOT = Path(__file__).parents[3]
CLIENTS = ROOT / ".venv-clients"
SCRIPTS = ROOT / "tests" / "serving" / "public_clients"
INPUTS = {
    "z": np.random.RandomState(3).randn(2, 6).round(3).tolist(),
    "psi": [0.5, 1.0],
    "label": [[1.0, 0.0], [0.0, 1.0]],
}


@pytest.fixture(scope="session", autouse=True)  # before a server starts
def installed():
    if not (CLIENTS / ".installed").exists():
        skip("no public clients: make .venv-clients/.installed")


def answer(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return {name: value for name, value in json.loads(done.stdout).items()}


def check(got, fake_generator):
    """Compare with the network itself."""
    z, psi, label = (np.float32(INPUTS[name]) for name in ("z", "psi", "label"))
    expected = fake_generator.images(z, label, psi)
    np.testing.assert_allclose(np.reshape(got["images"], (2, 8, 8, 3)), expected, atol=1)  # rounding may go either way
    if "ws" in got:
        ws = np.reshape(got["ws"], (2, 3, 4))
        np.testing.assert_allclose(ws, fake_generator.mapping(z, label, psi), atol=1e-5)  # 8 roundings of 6e-8
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(got["png"]))), int)
        seeded = np.random.RandomState(3).randn(1, 6)
        np.testing.assert_allclose(image, fake_generator.images(seeded, label[:1], psi[:1])[0], atol=1)


@pytest.mark.parametrize("client", ["min-tfs-client", "serving-client"])
def test_python_clients(client, server, fake_generator, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(CLIENTS / client))
    script = SCRIPTS / {"min-tfs-client": "min_tfs.py", "serving-client": "serving_client.py"}[client]
    check(answer(CLIENTS / "bin" / "python", script, server.address, json.dumps(INPUTS)), fake_generator)


@pytest.fixture
def node_modules():
    if not shutil.which("node") or not (CLIENTS / "node_modules").exists():
        skip("no node, or no npm at make .venv-clients/.installed: the client for Node was not tried")
    return CLIENTS / "node_modules"


def test_grpc_js(node_modules, server, fake_generator, tmp_path):
    files = {}

    def add(descriptor):
        for dependency in descriptor.dependencies:
            add(dependency)
        files.setdefault(descriptor.name, descriptor_pb2.FileDescriptorProto.FromString(descriptor.serialized_pb))

    add(prediction_service_pb2.DESCRIPTOR)
    protocol = tmp_path / "descriptors"
    protocol.write_bytes(descriptor_pb2.FileDescriptorSet(file=files.values()).SerializeToString())
    script = SCRIPTS / "grpc_js.js"
    got = answer("node", script, server.address, json.dumps(INPUTS), protocol, node_modules)
    check(got, fake_generator)
