"""--init_from: the weights of another model, and nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import sg3tf
from tests.helpers import tiny_run
from trainer import run_dir, transfer
from trainer.errors import OptionError
from trainer.state import TrainState


@pytest.fixture(scope="module")
def options(faces):
    return tiny_run.options(faces)


@pytest.fixture(scope="module")
def source(options, tmp_path_factory):
    """(run folder, its state)"""
    run = run_dir.create(tmp_path_factory.mktemp("runs"), options)
    state = TrainState(dataclasses.replace(options, seed=5))
    for part in ("G", "D", "G_ema"):
        for index, variable in enumerate(getattr(state, part).variables):
            variable.assign(np.full(variable.shape, index + len(part), np.float32))
    state.cur_nimg, state.step = 4808, 601
    state.pl_mean.assign(3.0)
    state.save(run_dir.new_checkpoint(run, 4808))
    state.G_ema.save(run / "network-snapshot-000004.keras")
    return run, state


def new(options, source, **changes):
    begun = dataclasses.replace(options, init_from=str(source), **changes)
    transfer.check_init_from(begun)
    state = TrainState(begun)
    return state, transfer.init_from(state, source)


def assert_equal(model, expected):
    for one, other in zip(model.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


@pytest.mark.parametrize("what", ["run", "checkpoint"])
def test_all_networks_of_a_run_and_nothing_else(options, source, what):
    run, saved = source
    state, notes = new(options, run if what == "run" else run_dir.checkpoints(run)[-1])
    for part in ("G", "D", "G_ema"):
        assert_equal(getattr(state, part), getattr(saved, part))
    assert notes == []
    assert (state.cur_nimg, state.step, float(state.pl_mean)) == (0, 0, 0.0)


def test_both_generators_of_a_keras_file(options, source):
    run, saved = source
    state, (note,) = new(options, run / "network-snapshot-000004.keras")
    assert_equal(state.G, saved.G_ema)
    assert_equal(state.G_ema, saved.G_ema)
    assert_equal(state.D, TrainState(options).D)  # the seed alone decides
    assert "has no D, which starts from random weights" in note


def test_a_discriminator_beside_a_generator(options, source, tmp_path):
    _, saved = source
    saved.G_ema.save(tmp_path / "faces.keras")
    saved.D.save(tmp_path / "faces-discriminator.keras")
    state, notes = new(options, tmp_path / "faces.keras")
    assert_equal(state.G, saved.G_ema)
    assert_equal(state.D, saved.D)
    assert notes == []
    with pytest.raises(OptionError, match="another architecture of G .channel_max 8 there, 4 here"):
        new(options, tmp_path / "faces.keras", cmax=4)
    saved.G.save(tmp_path / "faces-discriminator.keras")
    with pytest.raises(OptionError, match="faces-discriminator.keras: holds a StyleGAN3Generator, not a Discrim"):
        new(options, tmp_path / "faces.keras")


def test_each_network_of_a_folder(options, source, tmp_path):
    _, saved = source
    saved.G.save(tmp_path / "G.keras")
    state, (note,) = new(options, tmp_path)
    assert_equal(state.G, saved.G)
    assert_equal(state.G_ema, saved.G)
    assert "has no D" in note
    saved.D.save(tmp_path / "D.keras")
    saved.G_ema.save(tmp_path / "G_ema.keras")
    state, notes = new(options, tmp_path)
    for part in ("G", "D", "G_ema"):
        assert_equal(getattr(state, part), getattr(saved, part))
    assert notes == []
    state, notes = new(options, tmp_path / "D.keras")
    assert_equal(state.D, saved.D)
    assert [note.split(": ")[1][:8] for note in notes] == ["has no G", "has no G"]


def test_a_network_without_a_clamp(options, tmp_path):
    """As some published ones are; float32's maximum stands for none."""
    config = dataclasses.replace(options.generator(), conv_clamp=3.4e38)
    G = sg3tf.build_generator(config)
    G.save(tmp_path / "noclamp.keras")
    transfer.check_init_from(dataclasses.replace(options, init_from=str(tmp_path / "noclamp.keras")))
    state, notes = new(options, tmp_path / "noclamp.keras")
    assert_equal(state.G, G)
    assert sum("G clamps activations at 3.4e+38 there, and at 256 here" in note for note in notes) == 1


def test_other_labels_and_precision_copy_what_fits(options, source):
    run, saved = source
    state, notes = new(options, run, label_dim=3, precision="bf16")
    assert_equal(state.G.fourier_input, saved.G.fourier_input)
    assert [note.split(": ")[1] for note in notes] == ["new in G", "new in D", "new in G_ema"]
    assert "mapping/embed/kernel" in notes[0] and "mapping/fc0/kernel" in notes[0] and "fc1" not in notes[0]
    assert "out/kernel" in notes[1] and "fromrgb" not in notes[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cmax": 4}, "channel_max 8 there, 4 here"),
        ({"cfg": "stylegan3-r"}, "kernel 3 there, 1 here"),
        ({"cfg": "stylegan2"}, "cfg GeneratorConfig there, StyleGAN2Config here"),
    ],
)
@pytest.mark.parametrize("what", ["run", "keras"])
def test_another_architecture_is_refused(options, source, what, changes, words):
    path = source[0] if what == "run" else source[0] / "network-snapshot-000004.keras"
    with pytest.raises(OptionError, match=f"--init_from={path}: another architecture of G") as refusal:
        new(options, path, **changes)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["nowhere", "nowhere.keras"])
def test_nothing_there_is_refused(options, tmp_path, name):
    with pytest.raises(OptionError, match=f"--init_from={tmp_path / name}: ") as refusal:
        new(options, tmp_path / name)
    assert "\n" not in str(refusal.value)
