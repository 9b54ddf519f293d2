"""Training steps as exported programs: equal to the trainer's, resumed without a difference, and brought back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sg3tf
from custom_ops.gpu import packed_images, stablehlo, training_folder
from custom_ops.gpu.compare_training import compare
from custom_ops.gpu.export_training import donating, export_run, variables_by_name
from custom_ops.gpu.import_training import import_state
from custom_ops.gpu.packed_images import PackedImages
from custom_ops.gpu.train_programs import train
from trainer import losses
from trainer.config import Options
from trainer.state import PARTS, TrainState

#: The quickest network to compile in which every phase runs: path lengths, mixing, noise; labels, ADA by held-out
#: images. compare_training.py has compared larger ones: see its docstring.
OPTIONS = {
    **{"cfg": "stylegan2", "resolution": 8, "cbase": 32, "cmax": 8, "map_depth": 1, "precision": "fp32"},
    **{"batch": 8, "gamma": 1.0, "r1_interval": 3, "pl_interval": 2, "mirror": True},
    **{"aug": "ada", "augpipe": "cutout", "ada_heuristic": "rv", "validation": 8, "ada_kimg": 0.1, "target": -1.0},
    **{"data": "dots", "data_name": "dots", "data_digest": "sha256:0", "num_images": 40},
    **{"cond": True, "image_channels": 3, "label_dim": 3, "tick": 0.016, "snap": 1, "strategy": "cpu"},
}
#: A program rounds otherwise than the trainer in each of some hundred operations in a row; a yardstick that differs in
#: the weights alone accounts for one rounding per layer.
EXCESS = 10.0


def dots(count: int) -> PackedImages:
    """Images of noise with labels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, [count, 8, 8, 3]).astype(np.uint8)
    return PackedImages(images, np.eye(3, dtype=np.float32)[np.arange(count) % 3])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported run."""
    folder = tmp_path_factory.mktemp("exported")
    options = Options(**OPTIONS)
    export_run(folder, options, TrainState(options), dots(40), dots(8), backend="matmul")
    return folder


@pytest.fixture(scope="module")
def straight(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of four steps without interruption."""
    out = tmp_path_factory.mktemp("straight")
    train(folder, out, minutes=60, kimg=0.032)
    return out


@pytest.mark.slow  # exports and compiles seven programs
def test_steps_equal_the_trainer(folder):
    """Path lengths in steps 0 and 2, R1 in steps 0 and 3, p moves after step 3 and acts in step 4."""
    rows = list(compare(folder, steps=5))
    for row in rows:
        assert row.excess < EXCESS, row
        assert row.probabilities[0] == row.probabilities[1]
        assert all(row.moved[part] > 100 * row.programs[part] for part in PARTS), row
    assert rows[0].programs["metrics"] < 1e-5
    assert rows[-1].probabilities[0] > 0


@pytest.mark.slow  # exports and compiles seven programs
def test_resume_is_bit_exact(folder, straight, tmp_path):
    train(folder, tmp_path / "first", minutes=60, kimg=0.016)
    train(folder, tmp_path / "second", minutes=60, kimg=0.032, resume=tmp_path / "first" / "state")
    expected, progress = training_folder.read_state(straight / "state")
    arrays, resumed = training_folder.read_state(tmp_path / "second" / "state")
    assert resumed == progress and progress.cur_nimg == 32 and progress.step == 4
    assert resumed.controller[3] > 0  # p has moved
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


@pytest.mark.slow  # exports and compiles seven programs
def test_reports(straight):
    ticks = [json.loads(line) for line in (straight / "stats.jsonl").read_text().splitlines()]
    assert [tick["Progress/kimg"]["mean"] for tick in ticks] == [0.016, 0.032]
    assert ticks[0]["Loss/G/loss"]["num"] == 16 and ticks[0]["Loss/r1_penalty"]["num"] == 8
    assert (straight / "fakes.png").stat().st_size > 1000


@pytest.mark.slow  # exports and compiles seven programs
def test_brought_back_for_the_trainer(folder, straight, tmp_path):
    checkpoint = import_state(folder, straight / "state", tmp_path)
    arrays, progress = training_folder.read_state(straight / "state")
    state = TrainState(Options(**{**OPTIONS, "seed": 1}))
    state.restore(checkpoint)
    assert (state.cur_nimg, state.step) == (32, 4)
    assert state.controller.probability == progress.controller[3]
    for name, variable in variables_by_name(state).items():
        np.testing.assert_array_equal(variable.numpy(), arrays[name], err_msg=name)
    generator = sg3tf.load(checkpoint / "generator.keras")
    for variable, mine in zip(generator.variables, state.G_ema.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), mine.numpy())


@pytest.mark.slow  # exports and compiles seven programs
def test_time_limit_ends_the_training(folder, tmp_path):
    assert train(folder, tmp_path, minutes=0.0).state.step == 0
    assert training_folder.read_state(tmp_path / "state")[1].step == 0


def test_images_are_packed_without_loss(tmp_path):
    images = dots(packed_images.CHUNK + 44)
    arrays = [np.stack(column) for column in zip(*(images[i] for i in range(len(images))), strict=True)]
    packed_images.write(tmp_path / "images.npz", *arrays)
    read = packed_images.read(tmp_path / "images.npz")
    assert (len(read), read.resolution, read.channels, read.label_dim) == (300, 8, 3, 3)
    for i in (0, 255, 256, 299):
        for mine, theirs in zip(read[i], images[i], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_parts_are_small(tmp_path, monkeypatch):
    monkeypatch.setattr(training_folder, "PART_BYTES", 100)
    arrays = {f"G/{i:03d}": np.full([i], i, np.float32) for i in range(20)}
    training_folder.write_parts(tmp_path, "state", arrays)
    assert len(list(tmp_path.iterdir())) == 10
    read = training_folder.read_parts(tmp_path, "state")
    assert read.keys() == arrays.keys() and all((read[name] == arrays[name]).all() for name in arrays)


def test_donated_arguments_are_marked():
    text = "module {\n  func.func @main(%arg0: tensor<2xf32>, %arg1: tensor<f32>) -> (tensor<f32>) {\n  }\n}"
    assert "%arg0: tensor<2xf32>, %arg1: tensor<f32> {tf.aliasing_output = 0 : i32}) ->" in donating(text, {1: 0})


def test_blur_that_fades_is_an_argument():
    """XLA would make it a constant if shapes depended on it, which the export refuses."""
    images, sigma = np.zeros([2, 8, 8, 3], np.float32), np.full([2], 3.0, np.float32)
    exported = stablehlo.export(lambda images, sigma: losses.blur(images, sigma[0]), images, sigma, backend="matmul")
    assert "%arg1: tensor<2xf32>" in exported.text


def test_trains_where_tensorflow_is_missing():
    code = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "keras", "google", "absl"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Missing())
import custom_ops.gpu.train_programs
"""
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
