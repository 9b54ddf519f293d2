"""sg3tf generate with a model on a server instead of a file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.saved_model import export_saved_model
from serving.server.security import ApiKey, Certificate
from sg3tf.generate.open_network import open_network
from sg3tf.generate.seeds import latents_from_seeds
from sg3tf.latents import transform_matrix, z_from_seeds
from sg3tf.utils.label_scale import LabelScale
from tests.helpers.video_files import decoded

ROOT = Path(__file__).parents[2]
LABEL = np.float32([0, 1])


def test_a_served_network(server, fake_generator):
    network = open_network(f"grpc://{server.address}/fake", batch=3)
    assert (network.z_dim, network.w_dim, network.num_ws, network.label_dim) == (6, 4, 3, 2)
    assert (network.resolution, network.channels, network.supports_transform) == (8, 3, True)
    latents = latents_from_seeds(network, range(7), [0.5, 1], label=LABEL)
    z, labels, psi = np.repeat(z_from_seeds(range(7), 6), 2, axis=0), np.tile(LABEL, [14, 1]), np.tile([0.5, 1], 7)
    transform = transform_matrix(0.3, 0.1, 0.2)
    for each in (None, transform):
        expected = fake_generator.images(z, labels, psi, each)
        np.testing.assert_allclose(network.synthesize(latents.ws, each).astype(int), expected, atol=1)
    with pytest.raises(ValueError, match="its layers are out of reach"):
        _ = network.generator
    assert network.identity() == f"grpc://{server.address}/fake version 2"


def test_classes_by_name(server):
    network = open_network(f"grpc://{server.address}/fake")
    np.testing.assert_array_equal(network.label_of_class("manx"), LABEL)
    np.testing.assert_array_equal(network.label_of_class("1"), LABEL)
    np.testing.assert_array_equal(network.label_of_class("manx,tabby"), [1, 1])
    with pytest.raises(ValueError, match="class=persian: .*'class_name' is 'persian'; it must be .*: tabby, manx"):
        network.label_of_class("persian")
    assert network.classes == ("tabby", "manx")


def test_unreachable_and_unknown(server):
    with pytest.raises(
        ConnectionError, match="no server answers at 127.0.0.1:1, or its queue is full: start one"
    ) as caught:
        open_network("grpc://127.0.0.1:1/fake")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConnectionError, match=r"refused: .*nothing"):
        open_network(f"grpc://{server.address}/nothing")


def generate(address, folder, command, *arguments):
    program = [sys.executable, "-m", "sg3tf", "generate", command, f"--network=grpc://{address}/fake", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])}
    return subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def pixels(path):
    return np.asarray(Image.open(path), int)


def test_images_grid_and_strip(server, fake_generator, tmp_path):
    for command, *arguments in (
        ["images", "--seeds=3-18,11", "--outdir=each"],
        ["grid", "--seeds=3-18,11", "--out=out/grid.png"],
        ["interpolate", "--seeds=3-5", "--curve=slerp", "--frames=2", "--out=strip.png"],
    ):
        done = generate(server.address, tmp_path, command, "--trunc=0.6", "--class=manx", *arguments)
        assert done.returncode == 0, done.stderr
    seeds = [*range(3, 19), 11]
    expected = fake_generator.images(z_from_seeds(seeds, 6), np.tile(LABEL, (len(seeds), 1)), 0.6)
    for seed, image in zip(seeds, expected, strict=True):
        np.testing.assert_allclose(pixels(tmp_path / "each" / f"seed{seed:04d}.png"), image, atol=1)
    strip = pixels(tmp_path / "strip.png")
    assert strip.shape == (8, 8 * 5, 3)
    np.testing.assert_allclose(strip[:, 16:24], expected[1], atol=1)
    np.testing.assert_allclose(pixels(tmp_path / "out" / "grid.png")[:8, :8], expected[0], atol=1)


def test_mixed_and_rotated_images_and_a_video_of_them(server, fake_generator, tmp_path):
    motion = ["--rotate=30", "--translate=0.25,-0.5"]
    for command, *arguments in (
        ["mix", "--class=0", "--rows=3,11", "--cols=7", "--layers=1-2", "--save_latents=mixed.npz", "--out=mixed.png"],
        ["images", "--latents=mixed.npz", *motion, "--outdir=."],
        ["interpolate", "--latents=mixed.npz", *motion, "--frames=20", "--fps=10", "--out=walk.mp4"],
    ):
        done = generate(server.address, tmp_path, command, *arguments)
        assert done.returncode == 0, done.stderr
    labels = np.tile(LABEL[::-1], (3, 1))
    ws = fake_generator.mapping(np.float32(z_from_seeds([3, 11, 7], 6)), labels, np.ones(3, np.float32)).numpy()
    ws[:2, 1:] = ws[2, 1:]
    inverse = transform_matrix(np.pi / 6, 0.25, -0.5)
    floats = fake_generator.synthesis(ws[:2], transform=np.stack([inverse] * 2)).numpy()
    for name, expected in zip(["latent0000.png", "latent0001.png"], (floats + 1) * 127.5, strict=True):
        np.testing.assert_allclose(pixels(tmp_path / name), expected, atol=1)
    fps, video = decoded(tmp_path / "walk.mp4", 8, 8)
    assert (fps, len(video)) == (10, 21)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (
            "grid",
            ["--out=x.png"],
            "--class is missing: give a vector of 2 numbers, a number from 0 to 1, or names with commas: tabby, manx",
        ),
        ("mix", ["--out=x.png", "--class=0", "--layers=3"], "layers=3: this network has style vectors 0 to 2"),
        (
            "interpolate",
            ["--class=0", "--out=x.avi"],
            "--out=x.avi: give a name that ends in .mp4 or .webm or .gif or .png",
        ),
        ("grid", ["--class=0", "--ssl_ca_file=missing.pem", "--out=x.png"], "No such file or directory: 'missing.pem'"),
        ("layers", ["--class=0", "--out=x.png"], "its layers are out of reach; give a .keras file or a run folder"),
    ],
)
def test_refusals(server, tmp_path, command, arguments, message):
    done = generate(server.address, tmp_path, command, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(f"sg3tf generate {command}: ") and done.stderr.endswith(f"{message}\n"), done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_tensorflow(server, tmp_path):
    """Pictures of a served network need no TensorFlow on this side."""
    (tmp_path / "tensorflow.py").write_text("raise AssertionError('TensorFlow was imported')")
    done = generate(server.address, tmp_path, "grid", "--class=1", "--seeds=0-3", "--out=grid.png")
    assert done.returncode == 0, done.stderr


def test_tls_and_api_key(serve_here, model_base_path, certificate, tmp_path):
    (tmp_path / "key").write_text("open sesame\n")
    tls = Certificate(certificate / "cert.pem", certificate / "server.key")
    address = serve_here(model_base_path, certificate=tls, key=ApiKey(tmp_path / "key"))
    flags = ["--class=1", "--seeds=0-3", f"--ssl_ca_file={certificate / 'cert.pem'}", "--out=grid.png"]
    done = generate(address, tmp_path, "grid", *flags)
    assert done.returncode == 1 and "requires a key" in done.stderr, done.stderr
    done = generate(address, tmp_path, "grid", *flags, "--api_key_file=key", "--timeout_s=30")
    assert done.returncode == 0, done.stderr
    assert pixels(tmp_path / "grid.png").shape == (16, 16, 3)


def test_numbers_that_the_data_set_has_standardized(serve_here, fake_generator, tmp_path):
    """Are given as they were before, to a server and to the SavedModel itself; the export validates its signature."""
    scale = {"mean": [40.0, 20200101.5], "std": [10.0, 2.0]}
    metadata = {"classes": [], "label_scale": scale}
    version = export_saved_model(fake_generator, tmp_path / "models", max_batch=1, metadata=metadata)
    address = serve_here(tmp_path / "models")
    for network in (open_network(f"grpc://{address}/fake"), open_network(str(version))):
        assert network.label_scale == LabelScale((40.0, 20200101.5), (10.0, 2.0))
    flags = ["--class=30,20200102", "--seeds=0", "--save_latents=kept.npz", "--out=grid.png"]
    done = generate(address, tmp_path, "grid", *flags)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "kept.npz") as arrays:
        np.testing.assert_array_equal(arrays["label"], [[-1, 0.25]])
