"""The client class and its command line, against the server."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import imageio_ffmpeg
import numpy as np
import pytest
from grpc import StatusCode
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.client import Client, Retries, ServingError
from serving.client.video import save_mp4
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
    with pytest.raises(ValueError, match=r"transform of shape \[2, 3\]: give \[3, 3\] or \[2, 3, 3\]"):
        client.synthesize(ws, turned[:2])


def test_one_label_for_all(client):
    same = np.tile(LABEL[1], (2, 1))
    np.testing.assert_array_equal(client.map(seeds=SEEDS, label=LABEL[1]), client.map(seeds=SEEDS, label=same))
    assert client.generate_png(SEEDS, label=LABEL[1]) == client.generate_png(SEEDS, label=same)


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
    client = Client("127.0.0.1:1", timeout_s=20, retries=Retries(attempts=2, first_wait_s=0.1))
    answer = pytest.raises(ServingError, match=r"no server answers at 127\.0\.0\.1:1")
    with contextlib.closing(client), answer as caught:
        client.metadata()
    assert caught.value.code == StatusCode.UNAVAILABLE


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


class Busy(grpc.RpcError):
    def code(self):
        return StatusCode.RESOURCE_EXHAUSTED


def test_all_attempts_share_one_deadline():
    seconds_left = []

    def send(seconds):
        seconds_left.append(seconds)
        raise Busy

    with pytest.raises(Busy):
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
        with pytest.raises(ServingError, match="wants a key, name the file that has it in api_key_file"):
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


def smooth_frames(channels):
    """What a lossy codec keeps: a gradient that moves from frame to frame, [7, 32, 32, C] uint8."""
    y, x, t = np.arange(32)[:, None], np.arange(32), np.arange(7)[:, None, None]
    return np.stack([np.broadcast_to(4 * x + 2 * y + 8 * t + 3, (7, 32, 32))] * channels, axis=-1).astype(np.uint8)


def decoded(path, size):
    """Frames per second, and frames [N, R, R, 3] uint8."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    fps = re.search(rb"h264.* (\d+) fps", done.stderr)
    return int(fps[1]), np.frombuffer(done.stdout, np.uint8).reshape(-1, size, size, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_video(tmp_path, channels):
    frames = smooth_frames(channels)
    save_mp4(tmp_path / "new" / "walk.mp4", frames, fps=12)
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["walk.mp4"]
    fps, video = decoded(tmp_path / "new" / "walk.mp4", 32)
    assert fps == 12
    np.testing.assert_allclose(video.astype(int), np.broadcast_to(frames, video.shape), atol=8)
    assert len(video) == len(frames)


def test_a_video_is_whole_or_not_there(tmp_path, monkeypatch):
    def failing():
        yield from smooth_frames(3)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        save_mp4(tmp_path / "walk.mp4", failing(), fps=12)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs? imageio_ffmpeg: pip install 'sg3tf\[video\]'"):
        save_mp4(tmp_path / "walk.mp4", [], fps=12)


def run_client(server, folder, *arguments):
    command = [sys.executable, "-m", "serving.client", f"--server={server.address}", "--model=fake", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_command_line(server, fake_generator, tmp_path):
    arguments = ["--seeds=3-18,11", "--psi=0.6", "--label=1", "--frames=2"]
    arguments += ["--out=out/grid.png", "--outdir=each", "--interpolate=strip.png"]
    done = run_client(server, tmp_path, *arguments)
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


def test_command_line_mixes_moves_and_films(server, fake_generator, tmp_path):
    arguments = ["--seeds=3,11", "--label=0", "--mix=7", "--layers=1-2", "--angle=30", "--shift=0.25,-0.5"]
    done = run_client(server, tmp_path, *arguments, "--outdir=.", "--interpolate=walk.mp4", "--frames=20", "--fps=10")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["seed0003.png", "seed0011.png", "walk.mp4"]
    ws = fake_generator.mapping(np.float32(z_of([3, 11, 7])), np.tile(LABEL[0], (3, 1)), np.ones(3, np.float32)).numpy()
    ws[:2, 1:] = ws[2, 1:]
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    inverse = np.linalg.inv([[cos, -sin, 0.25], [sin, cos, -0.5], [0, 0, 1]])
    floats = fake_generator.synthesis(ws[:2], np.float32([inverse] * 2)).numpy()
    for name, expected in zip(["seed0003.png", "seed0011.png"], (floats + 1) * 127.5, strict=True):
        np.testing.assert_allclose(np.asarray(Image.open(tmp_path / name), int), expected, atol=1)
    fps, video = decoded(tmp_path / "walk.mp4", 8)
    assert (fps, len(video)) == (10, 21)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out=x.png"], "serving.client: --label=None: must be from 0 to 1"),
        (["--out=x.png", "--label=0", "--mix=1", "--layers=3"], "serving.client: layers=[3]: must be from 0 to 2"),
        (["--interpolate=x.gif"], "--interpolate=x.gif must end in .png or .mp4"),
    ],
)
def test_command_line_refuses(server, tmp_path, arguments, message):
    done = run_client(server, tmp_path, *arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == message
    assert list(tmp_path.iterdir()) == []


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
