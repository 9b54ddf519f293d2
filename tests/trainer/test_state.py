"""Checkpoints: everything is restored, or nothing."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import resource
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from sg3tf.utils import checksums, files
from tests.helpers import tiny_run
from tests.helpers.bit_flips import cut
from trainer import run_dir
from trainer.adam import BETA2, EPSILON
from trainer.errors import OptionError, TrainingError
from trainer.state import PARTS, TrainState


def variables(state):
    """{part/number/path: variable} of everything that training changes."""
    of_parts = {
        f"{part}/{index}/{variable.path}": variable
        for part in PARTS
        for index, variable in enumerate(getattr(state, part).variables)
    }
    return of_parts | {v.name: v for v in (state.pl_mean, *state.controller.variables)}


def values(state):
    return {name: variable.numpy() for name, variable in variables(state).items()}


def assert_holds(state, expected):
    """Compare values in their order, as the paths count models."""
    for value, (name, wanted) in zip(values(state).values(), expected.items(), strict=True):
        np.testing.assert_array_equal(value, wanted, err_msg=name)


def scramble(state, seed):
    """Give every variable a value of its own, except for learning rates, which training does not change."""
    for index, (name, variable) in enumerate(variables(state).items()):
        if name.endswith("learning_rate"):
            continue
        noise = tf.random.stateless_uniform(variable.shape, [seed, index], 1, 1000)
        variable.assign(tf.cast(noise, variable.dtype))


@pytest.fixture(scope="module")
def options(faces):
    return tiny_run.options(faces, cond=True)


@pytest.fixture(scope="module")
def state(options):
    return TrainState(options)


@pytest.fixture(scope="module")
def saved_once(state, tmp_path_factory):
    scramble(state, 1)
    state.cur_nimg, state.step = 4808, 601
    folder = tmp_path_factory.mktemp("state") / "000004808"
    state.save(folder)
    return folder, values(state)


@pytest.fixture
def saved(saved_once, tmp_path):
    """(checkpoint folder, its values), under names that shells, formats and TensorFlow's patterns treat specially"""
    folder = tmp_path / "a[b]*?\\ 'c' \"d\" $e 50%s {f}\t~ü" / ("x" * 200) / "checkpoints" / "000004808"
    shutil.copytree(saved_once[0], folder)
    return folder, saved_once[1]


@pytest.fixture(scope="module")
def other(options):
    """A state to restore into, with other random weights."""
    return TrainState(dataclasses.replace(options, seed=1))


def test_begins_with_equal_generators_and_the_seed_decides(options):
    first, again, other = (TrainState(dataclasses.replace(options, seed=seed)) for seed in (0, 0, 1))
    for model, average in zip(first.G.variables, first.G_ema.variables, strict=True):
        np.testing.assert_array_equal(model.numpy(), average.numpy(), err_msg=model.path)
    for one, same in zip(values(first).values(), values(again).values(), strict=True):
        np.testing.assert_array_equal(one, same)
    for model in ("G", "D"):
        kernels = [v.numpy() for v in getattr(first, model).trainable_variables if v.path.endswith("kernel")]
        others = [v.numpy() for v in getattr(other, model).trainable_variables if v.path.endswith("kernel")]
        # Affine layers in front of modulations begin at zero or as random as the others.
        assert not any(np.array_equal(a, b) and np.any(a) for a, b in zip(kernels, others, strict=True))


def test_everything_comes_back(saved, other):
    folder, expected = saved
    scramble(other, 2)
    other.restore(folder)
    assert_holds(other, expected)
    assert (other.cur_nimg, other.step) == (4808, 601)


def test_a_copy_is_written_as_the_variables_themselves_would_be(saved_once, state, tmp_path):
    """To the bytes, after training has gone on; of the generator's file, all but the date."""
    folder, expected = saved_once
    for variable, value in zip(variables(state).values(), expected.values(), strict=True):
        variable.assign(value)
    tf.train.Checkpoint(**state._variables()).write(str(tmp_path / "state"))
    state.G_ema.save(tmp_path / "generator.keras")
    copy = state.copy()
    scramble(state, 5)
    copy.write(tmp_path / "copy")
    for checkpoint in (folder, tmp_path / "copy"):
        for name in ("state.index", "state.data-00000-of-00001"):
            assert (checkpoint / name).read_bytes() == (tmp_path / name).read_bytes(), name
        with (
            zipfile.ZipFile(tmp_path / "generator.keras") as one,
            zipfile.ZipFile(checkpoint / "generator.keras") as two,
        ):
            assert one.namelist() == two.namelist()
            for name in {*one.namelist()} - {"metadata.json"}:
                assert one.read(name) == two.read(name), name


def test_checkpoints_leave_no_generators_in_memory(state, tmp_path):
    """Not even those that Python's collector would find, as it seldom runs."""
    state.save(tmp_path / "first")
    gc.disable()
    try:
        before = sum(issubclass(type(found), keras.Model) for found in gc.get_objects())
        for _ in range(2):
            state.save(tmp_path / "next")
        assert sum(issubclass(type(found), keras.Model) for found in gc.get_objects()) == before
    finally:
        gc.enable()


def test_is_complete(saved, state):
    """The file has all variables, including the velocities and counts of updates of each optimizer."""
    with files.literal_folder(saved[0]) as literal:
        found = tf.train.list_variables(str(literal / "state"))
    stored = [name for name, _ in found if not name.startswith("_")]
    assert len(stored) == len(set(stored)) >= len(saved[1])
    for optimizer, model in ((state.g_optimizer, state.G), (state.d_optimizer, state.D)):
        names = [variable.path for variable in optimizer.variables]
        assert sum(name.endswith("velocity") for name in names) == len(model.trainable_variables)
        assert sum(name.endswith("counts") for name in names) == 1


def test_the_averaged_generator_is_there_for_users(saved):
    folder, held = saved
    expected = [value for name, value in held.items() if name.startswith("G_ema/")]
    for loaded, value in zip(sg3tf.load(folder).variables, expected, strict=True):
        np.testing.assert_array_equal(loaded.numpy(), value, err_msg=loaded.path)


def test_saving_again_replaces(saved, state, other):
    folder, _ = saved
    scramble(state, 3)
    state.save(folder)
    other.restore(folder)
    assert_holds(other, values(state))
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("at", ["state", "generator", "rename"])
def test_an_interrupted_save_leaves_the_old_one(saved, state, other, monkeypatch, at):
    folder, expected = saved

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if at == "state":
            patch.setattr(tf.train.Checkpoint, "write", interrupted)
        elif at == "generator":
            patch.setattr(keras.Model, "save", interrupted)
        else:
            patch.setattr(files, "_exchange", interrupted)
            rename = os.rename
            patch.setattr(os, "rename", lambda a, b: interrupted() if ".partial" in str(a) else rename(a, b))
        scramble(state, 4)
        for target in (folder, folder.with_name("000004816")):  # a new folder, or over the old one
            with pytest.raises(KeyboardInterrupt):
                state.save(target)
    run = folder.parent.parent
    assert run_dir.checkpoints(run) == [folder]
    other.restore(folder)
    assert_holds(other, expected)
    # The remains of the interrupted attempts do not prevent a new one.
    state.save(folder.with_name("000004816"))
    assert [path.name for path in run_dir.checkpoints(run)] == ["000004808", "000004816"]


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("sha256.json", lambda file: file.unlink()),
        ("sha256.json", lambda file: file.write_text("[1]")),
        ("generator.keras", lambda file: file.unlink()),
        ("generator.keras", flip),
        ("progress.json", lambda file: file.unlink()),
        ("progress.json", lambda file: file.write_text("{")),
        ("state.index", lambda file: file.unlink()),
        ("state.index", cut),
        ("state.data-00000-of-00001", lambda file: file.unlink()),
        ("state.data-00000-of-00001", cut),
        ("state.data-00000-of-00001", flip),
    ],
)
def test_damage_is_one_clear_line(saved, other, name, damage):
    folder, _ = saved
    damage(folder / name)
    with pytest.raises(OptionError) as refusal:
        other.restore(folder)
    assert str(refusal.value).startswith(f"{folder}: cannot be restored (")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("values", [{"cmax": 4}, {"map_depth": 3}, {"cond": False}, {"cfg": "stylegan3-r"}])
def test_another_architecture_is_one_clear_line(saved, options, faces, values):
    folder, _ = saved
    with pytest.raises(OptionError, match="cannot be restored") as refusal:
        TrainState(tiny_run.options(faces, **{"cond": True, **values})).restore(folder)
    assert "\n" not in str(refusal.value)


def test_progress_that_makes_no_sense_is_one_clear_line(saved, other):
    """The checksums are correct, only the content is wrong."""
    folder, _ = saved
    for content in ("[]", json.dumps({"cur_nimg": 8}), json.dumps({"cur_nimg": 8, "step": "x"})):
        (folder / "progress.json").write_text(content)
        (folder / "sha256.json").unlink()
        checksums.write_checksums(folder)
        with pytest.raises(OptionError, match="cannot be restored"):
            other.restore(folder)


def test_a_full_disk_is_one_clear_line_and_the_old_one_stays(saved, state, other):
    """Simulated by a limit of 100 kB for every file."""
    folder, expected = saved
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # Python ignores the signal: writing fails
    try:
        for target in (folder, folder.with_name("000004816")):
            with pytest.raises(TrainingError, match=re.escape(f"{target}: cannot be written")) as failure:
                state.save(target)
            assert "\n" not in str(failure.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    other.restore(folder)
    assert_holds(other, expected)


def test_freezing_counts_from_the_image(options):
    state = TrainState(dataclasses.replace(options, freezed=5))
    frozen = [v.path.partition("/")[2] for v in state.D.non_trainable_variables]
    assert frozen == [
        *("fromrgb/kernel", "fromrgb/bias", "b16/conv0/kernel", "b16/conv0/bias", "b16/conv1/kernel", "b16/conv1/bias"),
        *("b16/skip/kernel", "b8/conv0/kernel", "b8/conv0/bias"),
    ]
    assert len(state.D.variables) == len(TrainState(options).D.variables)
    assert not any("fromrgb" in variable.path for variable in state.d_optimizer.variables)


def test_the_averaged_generator_computes_in_float32(options):
    state = TrainState(dataclasses.replace(options, precision="bf16"))
    assert state.G.dtype_policy.name == state.D.dtype_policy.name == "mixed_bfloat16"
    assert state.G_ema.dtype_policy.name == "float32"


def test_path_length_regularization_is_lazy_too(options):
    state = TrainState(dataclasses.replace(options, pl_weight=2.0, glr=0.004))
    assert float(state.g_optimizer.learning_rate) == pytest.approx(0.004 * 4 / 5)
    assert state.g_optimizer.beta_2 == pytest.approx(0.99**0.8)


def test_learning_rates_and_betas(options):
    """Lazy regularization makes 17 updates in 16 steps: rate and decay are those of 16 / 17 of an update."""
    state = TrainState(dataclasses.replace(options, glr=0.004, dlr=0.003))
    assert float(state.g_optimizer.learning_rate) == pytest.approx(0.004)
    assert float(state.d_optimizer.learning_rate) == pytest.approx(0.003 * 16 / 17)
    assert state.g_optimizer.beta_2 == BETA2
    assert state.d_optimizer.beta_2 == pytest.approx(0.99 ** (16 / 17))
    plain = TrainState(dataclasses.replace(options, gamma=0.0, dlr=0.003))  # no R1, no more updates
    assert float(plain.d_optimizer.learning_rate) == pytest.approx(0.003)
    assert plain.d_optimizer.beta_2 == BETA2


def test_epsilon_is_divided_by_the_parts_of_a_batch(options):
    """As if gradients were added up over the parts, and not divided."""
    state = TrainState(dataclasses.replace(options, batch_per_replica=4))
    assert (state.g_optimizer.epsilon, state.d_optimizer.epsilon) == (EPSILON / 2, EPSILON / 2)


@pytest.mark.parametrize("strategy", [None, "mirrored"])
def test_learning_rates_are_those_of_the_options_also_after_restoring(options, saved, strategy):
    strategy = strategy and tf.distribute.MirroredStrategy(["/cpu:0"])
    changed = TrainState(dataclasses.replace(options, glr=0.004, dlr=0.003, gamma=0.0), strategy)
    changed.restore(saved[0])
    assert changed.g_optimizer.learning_rate.numpy() == np.float32(0.004)
    assert changed.d_optimizer.learning_rate.numpy() == np.float32(0.003)  # gamma 0: R1 adds no updates
    assert changed.d_optimizer.beta_2 == BETA2


def test_target_and_speed_of_augmentation_are_those_of_the_options_also_after_restoring(options, saved):
    changed = TrainState(dataclasses.replace(options, aug="ada", target=0.3, ada_kimg=50.0))
    changed.restore(saved[0])
    controller, signs = changed.controller, {"Loss/signs/real": tf.constant(0.4)}
    for _ in range(8):  # until what the checkpoint had collected is used up
        controller.observe(signs)
    controller._p.assign(0.5)
    for _ in range(4):
        controller.observe(signs)
    assert controller.probability == pytest.approx(0.5 + 4 * options.batch / 50_000)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_run_may_continue_in_another_precision(options, saved, precision):
    folder, expected = saved
    changed = TrainState(dataclasses.replace(options, precision=precision))
    changed.restore(folder)
    assert_holds(changed, expected)


def test_files(saved):
    folder, _ = saved
    assert {path.name for path in folder.iterdir()} == {
        *("progress.json", "generator.keras", "state.index", "state.data-00000-of-00001", "sha256.json"),
    }
    assert json.loads((folder / "progress.json").read_text()) == {"format": 2, "cur_nimg": 4808, "step": 601}
