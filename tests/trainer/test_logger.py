"""Log of a run in which something fails; for runs without failures see test_main."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import os
import shutil
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.data.dataset import open_dataset
from tests.helpers import tiny_run
from trainer import logger as module
from trainer import run_dir
from trainer.checkpoint import StateCopy
from trainer.errors import TrainingError
from trainer.logger import RunLogger
from trainer.progress_bar import ProgressBar
from trainer.random_inputs import RandomInputs
from trainer.state import TrainState
from trainer.stats import moments


@pytest.fixture(scope="module")
def state(faces):
    return TrainState(tiny_run.options(faces))


@pytest.fixture
def logger(faces, state, tmp_path):
    options = tiny_run.options(faces, max_bad_ticks=2, keep_checkpoints=2, tick=0.008)
    state.cur_nimg = 0
    dataset = open_dataset(faces)
    run = run_dir.create(tmp_path, options)
    made = RunLogger(run, options, state, dataset, RandomInputs(dataset, options.batch, state.G.config.z_dim, 0))
    yield made
    made.close()


def step(logger, loss=0.7, overflow=0.0):
    metrics = {"Loss/G/loss": loss, "Loss/D/loss": 1.4, "Gradients/G/overflow": [overflow, overflow]}
    logger.state.cur_nimg += 8
    logger.on_step({name: moments(tf.constant(value)) for name, value in metrics.items()})
    logger.on_tick(0.0)
    logger.on_checkpoint()


def saved(logger):
    logger.on_end()
    return [int(path.name) for path in run_dir.checkpoints(logger.run)]


@pytest.mark.parametrize("bad", [{"loss": math.nan}, {"loss": math.inf}, {"overflow": 1.0}])
def test_bad_ticks_save_nothing_and_end_the_run(logger, bad):
    step(logger)
    step(logger)
    step(logger, **bad)
    logger.on_snapshot()
    assert saved(logger) == [8, 16]
    assert not list(logger.run.glob("*.keras"))
    with pytest.raises(TrainingError, match="2 bad ticks in a row") as failure:
        step(logger, **bad)
    assert str(failure.value).endswith(f"that is {logger.run / 'checkpoints' / '000000016'}")
    assert "bad tick: " in (logger.run / "log.txt").read_text()
    for line in (logger.run / "stats.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_one_bad_tick_passes(logger):
    step(logger)
    step(logger, loss=math.nan)
    step(logger)
    assert saved(logger) == [8, 24]
    step(logger)
    assert saved(logger) == [16 + 8, 32]  # the newest two


def test_a_run_whose_last_tick_is_bad_has_failed(logger):
    """Otherwise it would end as if it were finished, without its last stretch."""
    step(logger)
    step(logger, loss=math.nan)
    logger.on_end()  # stopped earlier, such as by Ctrl-C
    logger.options = dataclasses.replace(logger.options, kimg=0.016)
    with pytest.raises(TrainingError, match=r"^the last tick was bad, so .* since \S+000000008; continue .* --glr"):
        logger.on_end()


def test_saturated_augmentation_is_logged_once_each_time(logger, monkeypatch):
    for saturated in (False, True, True, False, True):
        text = "augmentation is saturated" if saturated else None
        monkeypatch.setattr(type(logger.state.controller), "warning", text)
        step(logger)
    assert (logger.run / "log.txt").read_text().count("warning: augmentation is saturated") == 2


def is_full(copy, folder):
    raise TrainingError(f"{folder}: cannot be written (No space left on device)")


@pytest.mark.parametrize("then", ["on_end", "on_evaluation", "on_checkpoint", "step"])
def test_a_full_disk_ends_the_run_and_names_the_last_checkpoint(logger, monkeypatch, then):
    """At the end, before metrics, which do not hide it, at the next checkpoint or tick."""
    step(logger)
    assert saved(logger) == [8]
    monkeypatch.setattr(StateCopy, "write", is_full)
    step(logger)
    monkeypatch.setattr(module.Evaluator, "has_missing_metrics", lambda self, snapshot: True)
    wait_for(logger._checkpoints._pending.done)
    with pytest.raises(TrainingError, match="No space left") as failure:
        step(logger) if then == "step" else getattr(logger, then)()
    last = logger.run / "checkpoints" / "000000008"
    assert str(failure.value).endswith(f"make room and continue with --resume from {last}")
    logger.on_end()  # once


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_training_goes_on_while_a_checkpoint_is_written_and_the_end_waits_for_it(logger, monkeypatch):
    """What is written is the state at that moment."""
    goes_on, write = threading.Event(), StateCopy.write

    def later(copy, folder):
        assert goes_on.wait(60)
        write(copy, folder)

    monkeypatch.setattr(StateCopy, "write", later)
    step(logger)
    before = logger.state.D.get_weights()
    logger.state.D.set_weights([weight + 1 for weight in before])
    logger.state.cur_nimg += 8
    assert run_dir.checkpoints(logger.run) == []
    goes_on.set()
    assert saved(logger) == [8]
    logger.state.restore(run_dir.checkpoints(logger.run)[0])
    assert logger.state.cur_nimg == 8
    for one, other in zip(logger.state.D.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@contextlib.contextmanager
def before_every_file(function):
    """Context that calls a function when the thread of checkpoints is about to open, make, rename or remove a file."""
    active = [function]

    def audit(event, arguments):
        in_thread = active and threading.current_thread().name.startswith("checkpoint")
        if in_thread and event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock"):
            active.clear()  # not for the files of the function itself
            function()
            active.append(function)

    sys.addaudithook(audit)  # nothing can remove it, but it does nothing after this
    yield
    active.clear()


def test_a_kill_at_any_moment_of_a_write_costs_that_checkpoint_alone(logger, tmp_path):
    """What a process that is killed leaves is what is in its folder at this moment, so the folder is copied."""
    for _ in range(2):
        step(logger)
    assert saved(logger) == [8, 16]
    step_done = threading.Event()
    copies = []

    def copy():
        step_done.wait(60)  # training has gone on by then
        copies.append(tmp_path / "copies" / f"{len(copies):03d}")
        shutil.copytree(logger.run, copies[-1])

    with before_every_file(copy):
        step(logger)
        logger.state.D.set_weights([weight + 1 for weight in logger.state.D.get_weights()])
        step_done.set()
        assert saved(logger) == [16, 24]
    found = [[path.name for path in run_dir.checkpoints(copy)] for copy in copies]
    before, between, after = (
        ["000000008", "000000016"],
        ["000000008", "000000016", "000000024"],
        ["000000016", "000000024"],
    )
    assert [names for names, _ in itertools.groupby(found)] == [before, between, after]
    assert found.count(before) >= 10  # opened to write, to flush and for digests; the folder made, locked and renamed
    for folder in copies:
        run, newest = run_dir.resolve_resume_path(folder)
        assert newest == run_dir.checkpoints(run)[-1]  # none is damaged
        for file in newest.iterdir():
            original = logger.run / "checkpoints" / newest.name / file.name
            assert file.read_bytes() == original.read_bytes()
    logger.run, logger.state.cur_nimg = copies[found.count(before) - 1], 16  # the next process removes what is left
    logger._tick_nimg = 16
    assert list(logger.run.glob("checkpoints/.*"))
    step(logger)
    assert saved(logger) == [16, 24]
    assert not list(logger.run.glob("checkpoints/.*"))


def test_a_run_that_fails_finishes_its_checkpoint(logger, monkeypatch):
    step(logger)
    logger.close()
    assert len(run_dir.checkpoints(logger.run)) == 1


def test_stats_that_a_killed_run_wrote_after_its_last_checkpoint_are_removed(logger, faces):
    for _ in range(3):
        step(logger)
    file = logger.run / "stats.jsonl"
    with open(file, "a") as out:
        out.write('{"Progress/kimg": {"me')  # killed in the middle of a line
    logger.state.cur_nimg = 16
    again = RunLogger(
        logger.run, logger.options, logger.state, open_dataset(faces), RandomInputs(open_dataset(faces), 8, 512, 0)
    )
    again.close()
    kimg = [json.loads(line)["Progress/kimg"]["mean"] for line in file.read_text().splitlines()]
    assert kimg == [0.008, 0.016]


def test_gigabytes_are_those_of_dry_run(monkeypatch):
    monkeypatch.setattr(module.resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3_000_000_000))  # KiB
    assert module.memory()["Resources/peak_cpu_mem_gb"] == pytest.approx(3072)


def test_memory_is_that_of_this_worker(monkeypatch):
    """The logical devices include those of other workers, whose memory TensorFlow does not know."""
    peaks = {"GPU:0": 3e9, "GPU:1": 5e9}
    names = [f"/job:worker/replica:0/task:{task}/device:{name}" for task in range(2) for name in peaks]

    def info(name):
        device = name.removeprefix("/job:worker/replica:0/task:0/device:")
        if device not in peaks:
            raise ValueError(f"No matching devices found for '{name}'")
        return {"peak": peaks[device]}

    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: [SimpleNamespace(name=name) for name in names])
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: list(peaks))
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", info)
    monkeypatch.setattr(tf.config.experimental, "reset_memory_stats", info)
    assert module.memory()["Resources/peak_gpu_mem_gb"] == 5


def test_metrics_that_cannot_be_computed_do_not_end_a_run(logger, monkeypatch):
    errors = [
        FloatingPointError("no luck"),
        OSError("no luck"),
        MemoryError("no luck"),
        RuntimeError("no luck"),
    ]
    left = iter(errors)

    def fails(self, snapshot):
        raise next(left)

    monkeypatch.setattr(module.Evaluator, "evaluate", fails)
    monkeypatch.setattr(module.Evaluator, "has_missing_metrics", lambda self, snapshot: True)
    for _ in errors:
        logger.on_evaluation()
    lines = (logger.run / "log.txt").read_text().splitlines()
    said = "warning: no metrics of network-snapshot-000000.keras"
    assert lines == [f"{said}: {type(error).__name__}: {error}" for error in errors]


def test_metrics_in_which_two_processes_were_killed_are_left_out(logger, monkeypatch):
    """Otherwise a lack of memory in them would kill every process that resumes the run."""
    evaluated = []
    monkeypatch.setattr(module.Evaluator, "evaluate", lambda self, snapshot: evaluated.append(snapshot) or {})
    monkeypatch.setattr(module.Evaluator, "has_missing_metrics", lambda self, snapshot: True)
    logger.state.cur_nimg = 8
    for kills in (0, 1, 2):
        monkeypatch.setattr(module.Evaluator, "num_killed_attempts", lambda self, snapshot, kills=kills: kills)
        logger.on_start([])
        assert len(evaluated) == min(kills + 1, 2)
    lines = [line for line in (logger.run / "log.txt").read_text().splitlines() if line.startswith("warning")]
    assert [line.partition("; ")[0] for line in lines] == [
        "warning: no metrics of network-snapshot-000000_008.keras: 2 processes were killed while computing them"
    ]
    logger.on_evaluation()  # at the end of a run that has nothing left to train
    assert len(evaluated) == 2


@pytest.mark.parametrize("dead", ["pipe", "terminal"])
def test_a_dead_stdout_ends_nothing(logger, monkeypatch, dead):
    """Ctrl-C has ended `tee`, or a terminal was closed."""
    ours, theirs = os.pipe() if dead == "pipe" else os.openpty()
    os.close(ours)
    with open(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        for line in ("stopping", "stopped"):
            logger.log(line)
        print("later")
    monkeypatch.undo()
    assert (logger.run / "log.txt").read_text() == "stopping\nstopped\n"


def test_a_terminal_that_is_closed_ends_no_bar(monkeypatch):
    ours, theirs = os.openpty()
    with open(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        bar = ProgressBar(1.0, 0.0)
        assert not bar.disable
        bar.advance_to(0.1)
        os.close(ours)
        bar.refresh()
        bar.advance_to(0.2)
        bar.close()
    monkeypatch.undo()


def test_grids_take_no_more_memory_than_training(logger, monkeypatch):
    counts = []

    def G_ema(inputs):
        counts.append(len(inputs["z"]))
        return tf.zeros([counts[-1], 16, 16, 3])

    monkeypatch.setattr(logger.state, "G_ema", G_ema)
    for batch_per_replica in (4, 64):
        logger.options = dataclasses.replace(logger.options, batch=64, batch_per_replica=batch_per_replica)
        logger._save_fakes()
    assert counts == [4] * 32 + [16] * 8
