"""Training from a plain iterator; ends of a run from outside, in one line. For other runs see test_main."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from sg3tf import metrics
from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sampler import batches
from tests.helpers import tiny_run
from tests.helpers.eager import without_graphs
from trainer import distribution, loop, run_dir
from trainer.errors import TrainingError
from trainer.schedule import Due


class Workers(distribution.Workers):
    """The first of several workers."""

    def __init__(self, count):
        self.count, self.index, self._addresses = count, 0, [f"host-{number}:1" for number in range(count)]


@pytest.fixture
def run(tmp_path):
    for cur_nimg in (8, 16):
        run_dir.new_checkpoint(tmp_path, cur_nimg).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Socket closed\nfrom remote target /job:worker/replica:0/task:2 while calling", "worker 2 (host-2:1)"),
        (
            "heartbeats: /job:worker/task:1, /job:worker/task:3; from /job:worker/task:0",
            "worker 1 (host-1:1), worker 3 (host-3:1)",
        ),
        ("Connection reset by peer", "another worker"),
    ],
)
def test_lost_workers_are_named_where_tensorflow_names_them(text, named):
    assert Workers(4).describe_lost_workers(tf.errors.UnavailableError(None, None, text)) == named


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "stats.jsonl"),
            ["stats.jsonl: cannot be written", "No space"],
        ),
        (
            tf.errors.ResourceExhaustedError(None, None, "tensorboard/events.v2; No space left on device\nmore"),
            ["cannot be written (tensorboard/events.v2; No space left on device)"],
        ),
        (tf.errors.UnknownError(None, None, "x; Input/output error"), ["cannot be written (x; Input/output error)"]),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\nmore"), ["memory (OOM when allocating)"]),
        (
            tf.errors.UnavailableError(None, None, "{{function_node reduce}} Socket closed\nmore"),
            ["worker 1 (host-1:1): lost", "network (Socket closed)"],
        ),
    ],
)
def test_one_line_with_the_remedy(run, error, words):
    with pytest.raises(TrainingError) as failure, loop.one_line_errors(run, Workers(2)):
        raise error
    message = str(failure.value)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
    assert message.endswith(str(run / "checkpoints" / "000000016"))


def test_before_the_first_checkpoint_the_command_is_to_be_repeated(tmp_path):
    with pytest.raises(TrainingError) as failure, loop.one_line_errors(tmp_path, Workers(1)):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
    advice = "with a smaller --batch_per_replica, repeat the command, as there is no checkpoint yet"
    assert str(failure.value) == f"a device has too little memory (OOM when allocating); {advice}"


def test_an_image_that_cannot_be_read_ends_a_run_that_can_go_on(faces, tmp_path, monkeypatch):
    options = tiny_run.options(faces, kimg=0.8, tick=0.008, checkpoint=1)
    run, dataset, read = run_dir.create(tmp_path, options), open_dataset(faces), Dataset.__getitem__

    def fail_later(self, i):
        if run_dir.checkpoints(run):
            raise DataError("faces: 3.png: cannot be read (Input/output error)")
        return read(self, i)

    monkeypatch.setattr(Dataset, "__getitem__", fail_later)
    with without_graphs(), pytest.raises(TrainingError) as failure:
        loop.train(options, dataset, run)
    assert str(failure.value) in [
        "faces: 3.png: cannot be read (Input/output error); with the same images, continue with --resume from "
        f"{checkpoint}; with others, start a new run with --init_from={run}"
        for checkpoint in run_dir.checkpoints(run)
    ]


def test_data_errors_that_a_resumed_run_cannot_help_stay_what_they_are(run, faces, tmp_path):
    for folder, data in ((run, None), (tmp_path / "without-checkpoints", open_dataset(faces))):
        with (
            pytest.raises(DataError, match=r"^the iterator has ended$"),
            loop.one_line_errors(folder, Workers(1), data),
        ):
            raise DataError("the iterator has ended")


@pytest.mark.parametrize("other_place", [True, False])
def test_temporary_files_go_to_the_run_folder_where_there_is_no_other_place(run, monkeypatch, other_place):
    """On a read-only system; Keras saves through temporary files."""

    def gettempdir():
        if not other_place:
            raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "gettempdir", gettempdir)
    loop._ensure_temporary_folder(run)
    assert tempfile.tempdir == (None if other_place else str(run))


def test_errors_of_the_program_itself_stay_what_they_are(run):
    error = tf.errors.InvalidArgumentError(None, None, "shapes")
    with pytest.raises(tf.errors.InvalidArgumentError), loop.one_line_errors(run, Workers(1)):
        raise error


def test_several_workers_agree_on_stopping_every_few_steps():
    class Asked(Workers):
        times = 0

        def any_worker(self, flag):
            Asked.times += 1
            return flag

    stopped = [loop._stop_requested([2], Asked(2), step, Due(snapshot=step == 6)) for step in range(9)]
    assert [step for step, stop in enumerate(stopped) if stop] == [0, 4, 6, 8]
    assert Asked.times == 4
    assert loop._stop_requested([2], Asked(1), 1, Due()) and not loop._stop_requested([], Asked(1), 1, Due())


def answers(monkeypatch, *found):
    """Let the workers of the next run have received signals, or not, each time that they are asked."""
    given = iter(found)

    class Others(distribution.Workers):
        def any_worker(self, flag):
            return flag or next(given)

    monkeypatch.setattr(loop, "Workers", Others)


def test_a_signal_to_another_worker_leaves_out_the_metrics(faces, tmp_path, monkeypatch):
    """Only the chief computes them; the other one would be killed while it waits."""
    options = tiny_run.options(faces, kimg=0.8, tick=0.016, snap=1, metrics=("swd",))
    run = run_dir.create(tmp_path, options)
    monkeypatch.setattr(metrics, "Evaluation", lambda *_, **__: pytest.fail("metrics are computed"))
    answers(monkeypatch, False, True)
    with without_graphs():
        assert not loop.train(options, open_dataset(faces), run)
    assert (run / "network-snapshot-000000_008.keras").exists()


def test_all_workers_have_the_same_exit_status(faces, tmp_path, monkeypatch):
    """Also if one gets a signal after the last step, while the chief computes metrics."""
    options = tiny_run.options(faces, kimg=0.008)
    answers(monkeypatch, False, True)
    with without_graphs():
        assert not loop.train(options, open_dataset(faces), run_dir.create(tmp_path, options))


def test_signals_are_left_to_the_main_thread():
    """Python allows no other thread to handle them; a notebook or a test may train in one."""
    before, received = signal.getsignal(signal.SIGTERM), []

    def enter():
        with loop._stop_signals(received):
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(enter).result() == before
    assert enter() != before == signal.getsignal(signal.SIGTERM)


def test_a_second_signal_has_its_usual_effect():
    received, usual = [], []
    before = signal.signal(signal.SIGTERM, lambda *_: usual.append("end"))
    try:
        with loop._stop_signals(received):
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (received, usual) == ([signal.SIGTERM], ["end"])


@pytest.mark.parametrize("usual", [lambda *_: None, signal.SIG_IGN])
def test_a_closed_terminal_stops_a_run_except_under_nohup(usual):
    """Two signals, of the shell and of the system, are one request."""
    received, before = [], signal.signal(signal.SIGHUP, usual)
    try:
        with loop._stop_signals(received):
            for _ in range(2):
                signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is usual
    finally:
        signal.signal(signal.SIGHUP, before)
    assert received == ([] if usual == signal.SIG_IGN else [signal.SIGHUP])


def test_workers_that_do_not_meet_before_the_first_step_end_with_one_line(faces, tmp_path, monkeypatch):
    class Lost(Workers):
        def __init__(self, _strategy):
            super().__init__(2)

        def require_equal(self, number, what):
            raise tf.errors.UnavailableError(None, None, "Socket closed")

    monkeypatch.setattr(loop, "Workers", Lost)
    options = tiny_run.options(faces)
    with pytest.raises(TrainingError, match=r"worker 1 \(host-1:1\): lost; .*Socket closed.*no checkpoint"):
        loop.train(options, open_dataset(faces), run_dir.create(tmp_path, options))


def test_the_last_checkpoint_comes_before_its_snapshot(faces, tmp_path, monkeypatch):
    """A cluster kills a process soon after it has asked it to stop. Other snapshots come before their checkpoints."""
    saved = []
    for name in ("on_snapshot", "on_checkpoint"):
        monkeypatch.setattr(loop.RunLogger, name, lambda self, name=name: saved.append((self.state.cur_nimg, name)))
    options = tiny_run.options(faces, kimg=0.024, tick=0.016, snap=1)
    with without_graphs():
        loop.train(options, open_dataset(faces), run_dir.create(tmp_path, options))
    assert saved == [(16, "on_snapshot"), (16, "on_checkpoint"), (24, "on_checkpoint"), (24, "on_snapshot")]


class ManyBatches:
    """A metric of a million batches, with SIGTERM after the first."""

    def __init__(self, *_, progress, **__):
        self.progress = progress

    def __iter__(self):
        for done in range(10**6):
            if done == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            self.progress("swd", done, 10**6)
        pytest.fail("the signal was ignored")


def test_a_signal_ends_metrics_which_are_computed_when_the_run_is_resumed(faces, tmp_path, monkeypatch):
    """Otherwise a cluster would kill the process in them, and after two kills they are left out."""
    options = tiny_run.options(faces, kimg=0.8, tick=0.008, snap=1, metrics=("swd",))
    run, dataset = run_dir.create(tmp_path, options), open_dataset(faces)
    monkeypatch.setattr(metrics, "Evaluation", ManyBatches)
    with without_graphs():
        assert not loop.train(options, dataset, run)
    snapshot, checkpoint = run / "network-snapshot-000000_008.keras", run / "checkpoints" / "000000008"
    assert snapshot.exists() and run_dir.checkpoints(run) == [checkpoint]
    assert not list(run.glob(".evaluation.json")) and not list(run.glob("metric-*"))
    assert f"no metrics of {snapshot.name}, as the run stops; they are computed when" in (run / "log.txt").read_text()
    result = metrics.MetricResult("swd", {"swd": 5.0}, unit=None, num_samples=4, num_real=4)
    monkeypatch.setattr(metrics, "Evaluation", lambda *_, **__: [result])
    with without_graphs():
        assert loop.train(dataclasses.replace(options, kimg=0.008), dataset, run, resume=checkpoint)
    (line,) = [json.loads(text) for text in (run / "metric-swd.jsonl").read_text().splitlines()]
    assert (line["snapshot"], line["results"]) == (snapshot.name, {"swd": 5.0})


# --- Plain iterators ----


def stored(checkpoint):
    """Variables in a checkpoint, by name."""
    reader = tf.train.load_checkpoint(str(checkpoint / "state"))
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {name: reader.get_tensor(name) for name in names}


def trained(options, data, folder):
    """(variables of the last checkpoint, lines of stats.jsonl, names of files) of a run."""
    run = run_dir.create(folder, options)
    with without_graphs():
        assert loop.train(options, data, run)
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return stored(run_dir.checkpoints(run)[-1]), lines, {path.name for path in run.iterdir()}


@pytest.fixture(scope="module")
def reference(faces, tmp_path_factory):
    """(options, variables at the end, names of files) of a run on the data set itself."""
    options = tiny_run.options(faces, kimg=0.024, tick=0.008, snap=3, aug="ada", p=0.2, ada_kimg=1)
    variables, _, files = trained(options, open_dataset(faces), tmp_path_factory.mktemp("dataset"))
    return options, variables, files


@pytest.mark.parametrize("form", ["generator", "tf.data"])
def test_any_iterator_of_batches_may_feed_the_loop(reference, faces, tmp_path, form):
    """The batches of the data set train the same weights, bit for bit."""
    (options, expected, files), dataset = reference, open_dataset(faces)
    source = batches(dataset, options.batch, seed=options.seed)
    if form == "tf.data":
        source = dataset.to_tf_data(options.batch, seed=options.seed, repeat=True)
    variables, lines, other_files = trained(options, source, tmp_path / "iterator")
    assert [line["Progress/kimg"]["mean"] for line in lines] == [0.008, 0.016, 0.024]
    assert (
        other_files
        == files
        >= {"reals.png", "fakes000000.png", "fakes000000_024.png", "network-snapshot-000000_024.keras"}
    )
    assert len(expected) > 250 and set(variables) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(variables[name], value, err_msg=name)


@pytest.mark.parametrize(
    ("overrides", "penalty"), [({"loss": "relativistic"}, "Loss/r2_penalty"), ({"lecam": 0.1}, "Loss/lecam_penalty")]
)
def test_other_losses_train(faces, tmp_path, overrides, penalty):
    """Their statistics; the second step moves all weights, which stay finite."""
    options = tiny_run.options(faces, kimg=0.016, tick=0.008, checkpoint=1, **overrides)
    variables, lines, _ = trained(options, open_dataset(faces), tmp_path)
    (run,) = tmp_path.iterdir()
    before, first = stored(run_dir.checkpoints(run)[0]), lines[0]
    for name in ("Loss/G/loss", "Loss/D/loss", "Loss/r1_penalty", penalty):
        assert np.isfinite(first[name]["mean"]) and first[name]["num"] == options.batch, name
    if "lecam" in overrides:
        assert np.all(variables["lecam_means/.ATTRIBUTES/VARIABLE_VALUE"])
    else:
        assert first["Loss/signs/real"]["mean"] == -first["Loss/signs/fake"]["mean"]
    for name, value in variables.items():
        assert np.isfinite(value).all() or name.startswith("augment/")
    moved = [name for name, value in variables.items() if not np.array_equal(value, before[name], equal_nan=True)]
    assert sum(name.startswith("D/") for name in moved) > 15 and sum(name.startswith("G/") for name in moved) > 60


def test_apa_adapts_and_trains(faces, tmp_path):
    """After the first four steps, in which p rises by 4 * 8 / 64, half of the real images are replaced."""
    options = tiny_run.options(faces, kimg=0.048, tick=0.008, aug="apa", target=-1.0, ada_kimg=0.064, cond=True)
    given, real_inputs = [], loop.TrainStep._real_inputs

    def recorded(self, *arguments):
        given.append(real_inputs(self, *arguments).pseudo)
        return real_inputs(self, *arguments)

    with mock.patch.object(loop.TrainStep, "_real_inputs", recorded):
        _, lines, _ = trained(options, open_dataset(faces, use_labels=True), tmp_path)
    assert [pseudo is None for pseudo in given] == [True] * 5 + [False] * 2  # D in every step, R1 in the first
    assert lines[-1]["Progress/augment"]["mean"] == 0.5
    assert 0 < sum(pseudo.replaced.sum() for pseudo in given[5:]) < 16
    assert np.isfinite(lines[-1]["Loss/D/loss"]["mean"])


def test_generated_images_have_the_labels_of_the_iterator(faces, tmp_path):
    options = tiny_run.options(faces, kimg=0.008, cond=True)
    images = np.random.default_rng(0).integers(0, 256, [8, 16, 16, 3], np.uint8)
    labels = np.tile(np.eye(3, dtype=np.float32)[2], [8, 1])
    seen = []
    latents = loop.RandomInputs.latents

    def recorded(self, *arguments):
        seen.append(latents(self, *arguments))
        return seen[-1]

    with mock.patch.object(loop.RandomInputs, "latents", recorded):
        trained(options, ((images, labels) for _ in range(1)), tmp_path)
    assert len(seen) >= 2 and all(np.all(drawn.label == labels[0]) for drawn in seen)
    (grid,) = tmp_path.glob("*/fakes000000.npz")
    with np.load(grid) as arrays:
        assert len(arrays["label"]) >= 8 and np.all(arrays["label"] == labels[0])
