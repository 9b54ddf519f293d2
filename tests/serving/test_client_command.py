"""The client's command line, against the server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
LABEL = np.float32([[1, 0], [0, 1]])


def z_of(seeds):
    return np.stack([np.random.RandomState(seed).randn(6) for seed in seeds])


def decoded(path, size):
    """Frames per second, and frames [N, R, R, 3] uint8."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    fps = re.search(rb"h264.* (\d+) fps", done.stderr)
    return int(fps[1]), np.frombuffer(done.stdout, np.uint8).reshape(-1, size, size, 3)


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
