"""What a run leaves when something goes wrong; when all goes well, see test_main."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import tensorflow as tf

from sg3tf.data.dataset import open_dataset
from tests.helpers import tiny_run
from trainer import logger, run_dir
from trainer.errors import TrainingError
from trainer.logger import RunLogger
from trainer.random_inputs import RandomInputs
from trainer.state import TrainState
from trainer.stats import moments


@pytest.fixture(scope="module")
def state(faces):
    return TrainState(tiny_run.options(faces))


@pytest.fixture
def reporter(faces, state, tmp_path):
    options = tiny_run.options(faces, max_bad_ticks=2, keep_checkpoints=2, tick=0.008)
    state.cur_nimg = 0
    dataset = open_dataset(faces)
    run = run_dir.create(tmp_path, options)
    made = RunLogger(run, options, state, dataset, RandomInputs(dataset, options.batch, state.G.config.z_dim, 0))
    yield made
    made.close()


def step(reporter, loss=0.7, overflow=0.0):
    metrics = {"Loss/G/loss": loss, "Loss/D/loss": 1.4, "Gradients/G/overflow": overflow}
    reporter.state.cur_nimg += 8
    reporter.on_step({name: moments(tf.constant(value)) for name, value in metrics.items()})
    reporter.on_tick(0.0)
    reporter.on_checkpoint()


def saved(reporter):
    return [int(path.name) for path in run_dir.checkpoints(reporter.run)]


@pytest.mark.parametrize("bad", [{"loss": math.nan}, {"loss": math.inf}, {"overflow": 1.0}])
def test_bad_ticks_save_nothing_and_end_the_run(reporter, bad):
    step(reporter)
    step(reporter)
    step(reporter, **bad)
    reporter.on_snapshot()
    assert saved(reporter) == [8, 16]
    assert not list(reporter.run.glob("*.keras"))
    with pytest.raises(TrainingError, match="2 bad ticks in a row") as failure:
        step(reporter, **bad)
    assert str(failure.value).endswith(f"that is {reporter.run / 'checkpoints' / '000000016'}")
    assert "bad tick: " in (reporter.run / "log.txt").read_text()


def test_one_bad_tick_passes(reporter):
    step(reporter)
    step(reporter, loss=math.nan)
    step(reporter)
    assert saved(reporter) == [8, 24]
    step(reporter)
    assert saved(reporter) == [16 + 8, 32]  # the newest two


def test_saturated_augmentation_is_said_once_each_time(reporter, monkeypatch):
    for saturated in (False, True, True, False, True):
        text = "augmentation is saturated" if saturated else None
        monkeypatch.setattr(type(reporter.state.controller), "warning", text)
        step(reporter)
    assert (reporter.run / "log.txt").read_text().count("warning: augmentation is saturated") == 2


def test_a_full_disk_ends_the_run_and_names_the_last_checkpoint(reporter, monkeypatch):
    step(reporter)

    def full(folder):
        raise TrainingError(f"{folder}: cannot be written (No space left on device)")

    monkeypatch.setattr(reporter.state, "save", full)
    with pytest.raises(TrainingError, match="No space left") as failure:
        step(reporter)
    last = reporter.run / "checkpoints" / "000000008"
    assert str(failure.value).endswith(f"make room and continue with --resume from {last}")


def test_what_a_killed_run_wrote_after_its_last_checkpoint_is_taken_back(reporter, faces):
    for _ in range(3):
        step(reporter)
    file = reporter.run / "stats.jsonl"
    with open(file, "a") as out:
        out.write('{"Progress/kimg": {"me')  # killed in the middle of a line
    reporter.state.cur_nimg = 16
    again = RunLogger(reporter.run, reporter.options, reporter.state, open_dataset(faces), reporter._draws)
    again.close()
    kimg = [json.loads(line)["Progress/kimg"]["mean"] for line in file.read_text().splitlines()]
    assert kimg == [0.008, 0.016]


def test_metrics_that_cannot_be_computed_do_not_end_a_run(reporter, monkeypatch):
    def fails(*args):
        raise FloatingPointError("eqt50k_int: images are not finite")

    monkeypatch.setattr(logger, "evaluate", fails)
    reporter.options = dataclasses.replace(reporter.options, metrics=("eqt50k_int",))
    reporter.on_snapshot()
    assert "warning: no metrics of network-snapshot-000000.keras: eqt50k_int" in (reporter.run / "log.txt").read_text()


def test_the_end_of_a_run_at_a_tick_reports_once(reporter, monkeypatch):
    step(reporter)
    saved_at = []
    monkeypatch.setattr(reporter.state, "save", lambda folder: saved_at.append(folder))
    monkeypatch.setattr(reporter, "_save_fakes", lambda: saved_at.append("fakes"))
    for _ in range(2):
        reporter.on_tick(0.0)
        reporter.on_snapshot()
        reporter.on_checkpoint()
    assert saved_at == ["fakes"]  # the checkpoint of that step is there already
    assert len((reporter.run / "stats.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(("cur_nimg", "number"), [(0, 0), (7, 0), (8, 1), (15, 1), (16, 2), (8_000_000, 1_000_000)])
def test_ticks_are_counted_from_the_start_of_the_run(faces, cur_nimg, number):
    assert logger.tick(cur_nimg, tiny_run.options(faces, tick=0.008)) == number
