"""--posthoc_ema: two averages of G beside its own, and `sg3tf ema`, which makes others of their snapshots."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.cli.main import main as sg3tf_main
from sg3tf.data.dataset import open_dataset
from sg3tf.models import power_ema
from sg3tf.models.loading import class_names, label_scale, load
from sg3tf.models.power_ema import Average
from sg3tf.utils.label_scale import LabelScale
from tests.helpers import tiny_run
from tests.helpers.eager import without_graphs
from trainer import loop, run_dir
from trainer.state import TrainState
from trainer.step import TrainStep, update_power_ema

STEPS = 6


@pytest.fixture(scope="module")
def run(faces, tmp_path_factory):
    """(options, run folder, G's trained weights after each step) of a run with a snapshot every two steps."""
    options = tiny_run.options(faces, kimg=0.008 * STEPS, tick=0.016, snap=1, checkpoint=1, posthoc_ema=True)
    folder, seen, step = run_dir.create(tmp_path_factory.mktemp("runs"), options), [], TrainStep.run

    def recorded(self, *arguments):
        result = step(self, *arguments)
        seen.append([variable.numpy() for variable in self.state.G.trainable_variables])
        return result

    with without_graphs(), mock.patch.object(TrainStep, "run", recorded):
        assert loop.train(options, open_dataset(faces), folder)
    return options, folder, seen


def direct(trajectory, sigma_rel):
    """The average of arrays after each step of 8 images, in float64, by the definition."""
    edges = np.arange(len(trajectory) + 1) / len(trajectory)
    shares = np.diff(edges ** (power_ema.exponent(sigma_rel) + 1))
    return [
        sum(s * a.astype(np.float64) for s, a in zip(shares, arrays, strict=True))
        for arrays in zip(*trajectory, strict=True)
    ]


def test_a_process_without_a_step_saves_no_averages(run, faces, tmp_path, monkeypatch):
    options, *_ = run
    folder = run_dir.create(tmp_path, options)
    monkeypatch.setattr(loop, "_stop_requested", lambda *_: True)
    assert not loop.train(options, open_dataset(faces), folder)
    assert list(folder.glob("network-snapshot-*.keras")) and not list(folder.glob("ema-*"))


def test_averages_of_no_images_are_left_out(run, tmp_path):
    """Runs of earlier revisions may have some."""
    _, folder, _ = run
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with np.load(tmp_path / power_ema.file_name(16)) as arrays:
        np.savez(tmp_path / power_ema.file_name(0), **{**arrays, "nimg": 0})
    assert power_ema.stored_averages(tmp_path).keys() == power_ema.stored_averages(folder).keys()


def test_tracked_averages(run):
    """Six steps, each of which rounds an old and a new value of order 1."""
    options, folder, seen = run
    state = TrainState(options)
    state.restore(run_dir.checkpoints(folder)[-1])
    for sigma_rel, model in state.power_emas.items():
        for variable, expected in zip(model.trainable_variables, direct(seen, sigma_rel), strict=True):
            scale = max(np.abs(expected).max(), 1e-3)
            np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=STEPS * 2**-23 * scale)
    first, last = (np.concatenate([array.ravel() for array in seen[i]]) for i in (0, -1))
    assert np.abs(first - last).max() > 1e-3  # otherwise any average would do


def test_small_shares_are_not_rounded_away():
    """A decay of 1 - 2e-5 is rounded to 2^-24 in float32, which changes the share by up to 0.15 %."""
    average, model = (tf.keras.Sequential([tf.keras.layers.Dense(1, use_bias=False)]) for _ in range(2))
    for network, value in ((average, 0.0), (model, 1.0)):
        network.build([1, 1])
        network.layers[0].kernel.assign([[value]])
    share = 2.03e-5
    update_power_ema(average, model, tf.constant(share))
    assert float(average.layers[0].kernel[0, 0]) == pytest.approx(share, rel=1e-6)


def test_files_and_command(run, tmp_path, capsys):
    _, folder, seen = run
    scale = LabelScale((40.0,), (10.0,))
    (folder / "label_scale.json").write_text(json.dumps(scale.to_json()))
    (folder / "classes.json").write_text('["cat", "dog"]')
    stored = power_ema.stored_averages(folder)
    assert set(stored) == {Average(s, n) for s in power_ema.TRACKED for n in (16, 32, 48)}
    for sigma_rel, kimg, steps in ((0.1, None, 6), (0.05, 0.0321, 4)):
        arguments = [f"--network={folder}", f"--sigma_rel={sigma_rel}", f"--out={tmp_path / 'ema.keras'}"]
        assert sg3tf_main(["ema", *arguments, *([f"--kimg={kimg}"] if kimg else [])]) == 0
        assert f"at {0.008 * steps:g} kimg from {steps} averages" in capsys.readouterr().out
        assert label_scale(tmp_path / "ema.keras") == scale
        assert class_names(tmp_path / "ema.keras") == ("cat", "dog")
        G = load(tmp_path / "ema.keras")
        for variable, expected in zip(G.trainable_variables, direct(seen[:steps], sigma_rel), strict=True):
            np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=1e-5 * max(np.abs(expected).max(), 1))
        assert np.isfinite(G.predict(np.zeros([1, G.config.z_dim], np.float32), verbose=0)).all()
    for kimg, nearest in (
        (0.008, 0.016),
        (0.039, 0.032),
        (0.05, 0.048),
    ):  # without averages there, weights would be near 0
        assert sg3tf_main(["ema", *arguments, f"--kimg={kimg}"]) == 1
        assert (
            f"--kimg={kimg}: no snapshot has averages there; the nearest has them at {nearest}"
            in capsys.readouterr().err
        )
    assert sg3tf_main(["ema", f"--network={tmp_path}", "--sigma_rel=0.1", "--out=x.keras"]) == 1
    assert "holds no ema-profiles-*.npz; train with --posthoc_ema" in capsys.readouterr().err


def test_nothing_else_changes(run, faces, tmp_path):
    """The same weights to the bit without it."""
    options, folder, _ = run
    plain = dataclasses.replace(options, posthoc_ema=False)
    other = run_dir.create(tmp_path, plain)
    with without_graphs():
        assert loop.train(plain, open_dataset(faces), other)
    with_averages, without = (
        tf.train.load_checkpoint(str(run_dir.checkpoints(f)[-1] / "state")) for f in (folder, other)
    )
    same = functools.partial(np.array_equal, equal_nan=True)  # without augmentation its heuristic is not a number
    names = [name for name in without.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    assert [n for n in names if not same(without.get_tensor(n), with_averages.get_tensor(n))] == []
    assert not list(other.glob("ema-profiles-*"))
