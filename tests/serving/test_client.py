"""The client class and its command line, against the server."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from serving.client import Client, ServingError
from sg3tf import latents

ROOT = Path(__file__).parents[2]
SEEDS = [3, 11]
LABEL = np.float32([[1, 0], [0, 1]])


@pytest.fixture(scope="module")
def client(server):
    with contextlib.closing(Client(server.address, "fake", timeout_s=20)) as client:
        yield client


def z_of(seeds):
    return np.stack([np.random.RandomState(seed).randn(6) for seed in seeds])


def test_generate(client, fake_generator):
    expected = fake_generator.images(z_of(SEEDS), LABEL, 0.6)
    by_seed = client.generate(seeds=SEEDS, psi=0.6, label=LABEL)
    np.testing.assert_allclose(by_seed.astype(int), expected, atol=1)
    np.testing.assert_array_equal(client.generate(z_of(SEEDS), psi=0.6, label=LABEL), by_seed)
    files = client.generate_png(SEEDS, psi=0.6, label=LABEL)
    assert [file[:4] for file in files] == [b"\x89PNG"] * 2
    with pytest.raises(ValueError, match="one of z and seeds"):
        client.generate(label=LABEL)


def test_map_synthesize_mix(client, fake_generator):
    ws = client.map(seeds=SEEDS, label=LABEL)
    expected = fake_generator.images(z_of(SEEDS), LABEL)
    np.testing.assert_allclose(client.synthesize(ws).astype(int), expected, atol=1)
    turned = np.float32([[1, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    expected = fake_generator.images(z_of(SEEDS), LABEL, transform=turned)
    np.testing.assert_allclose(client.synthesize(ws, turned).astype(int), expected, atol=1)
    np.testing.assert_array_equal(client.mix(ws, ws[::-1], [1, 1, 1]), client.synthesize(ws[::-1]))
    np.testing.assert_array_equal(client.mix(ws, ws[::-1], [0, 0, 0]), client.synthesize(ws))


def test_dimensions(client):
    assert client.input_dim("z") == 6
    assert client.input_dim("label") == 2
    assert client.input_dim("label", "synthesize") == 0
    with pytest.raises(ServingError, match="no signature draw"):
        client.input_dim("z", "draw")


def test_refusals_are_explained(client, server):
    with pytest.raises(ServingError, match=r"'z' has shape \[2, 5\]") as caught:
        client.generate(np.zeros((2, 5)), label=LABEL)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(ServingError, match="'draw' not found"):
        client.predict("draw", {})
    other = Client(server.address, "fake", version=1)
    with contextlib.closing(other), pytest.raises(ServingError, match="versions served are 2"):
        other.metadata()


def test_silent_server_is_given_up():
    # It accepts connections and never says a word.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.3)
        with contextlib.closing(client), pytest.raises(ServingError, match=r"within 0\.3 s"):
            client.metadata()


def test_unreachable_server_is_explained():
    client = Client("127.0.0.1:1", timeout_s=20)
    answer = pytest.raises(ServingError, match=r"no server answers at 127\.0\.0\.1:1")
    with contextlib.closing(client), answer as caught:
        client.metadata()
    assert caught.value.code == grpc.StatusCode.UNAVAILABLE


def test_command_line(server, fake_generator, tmp_path):
    command = [sys.executable, "-m", "serving.client", f"--server={server.address}"]
    command += ["--model=fake", "--seeds=3-18,11", "--psi=0.6", "--label=1", "--frames=2"]
    command += ["--out=out/grid.png", "--outdir=each", "--interpolate=strip.png"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seeds = [*range(3, 19), 11]
    labels = np.tile(LABEL[1], (len(seeds), 1))
    expected = fake_generator.images(z_of(seeds), labels, 0.6)
    for seed, image in zip(seeds, expected, strict=True):
        file = tmp_path / "each" / f"seed{seed:04d}.png"
        np.testing.assert_allclose(np.asarray(Image.open(file), int), image, atol=1)
    strip = np.asarray(Image.open(tmp_path / "strip.png"), int)
    assert strip.shape == (8, 8 * (16 * 2 + 1), 3)
    np.testing.assert_allclose(strip[:, 16:24], expected[1], atol=1)
    grid = np.asarray(Image.open(tmp_path / "out" / "grid.png"), int)
    np.testing.assert_allclose(grid[:8, :8], expected[0], atol=1)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("5", [5]),
        ("0-2", [0, 1, 2]),
        ("7, 1-2", [7, 1, 2]),
        ("4-3", None),
        ("", None),
        ("-3", None),
        ("1-", None),
        ("x", None),
        ("4294967296", None),
    ],
)
def test_parse_seeds(text, seeds):
    if seeds:
        assert latents.parse_seeds(text) == seeds
    else:
        with pytest.raises(ValueError, match=f"seeds={text}"):
            latents.parse_seeds(text)
