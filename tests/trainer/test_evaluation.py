"""Metrics at snapshots: their images, the files with their values, and the best snapshot."""

from __future__ import annotations

import dataclasses
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import sg3tf
from sg3tf.data.dataset import open_dataset
from sg3tf.data.sampler import ORDERS
from sg3tf.metrics import compute, detectors
from sg3tf.metrics.cache import default_cache_dir
from sg3tf.models.configs import ConfigError
from sg3tf.models.loading import discriminator_beside
from sg3tf.models.run_folder import snapshot_name
from tests.helpers import tiny_run
from tests.helpers.metric_stubs import MeanColor
from trainer import evaluation, run_dir
from trainer.errors import OptionError
from trainer.evaluation import Evaluator
from trainer.logger import RunLogger
from trainer.random_inputs import RandomInputs
from trainer.state import TrainState

NAMES = ("fid50k_full", "pr50k3", "is50k")
SETTINGS = {"metrics": NAMES, "metrics_samples": 20, "detector_dir": "x", "cond": True}


@pytest.fixture
def loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(detectors, "load", lambda name, folder: MeanColor())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def state(faces):
    return TrainState(tiny_run.options(faces, cond=True))


def test_all_images_and_their_labels_unmirrored(loaded, faces, state, tmp_path):
    """As published, those held out or left out of training included."""
    options = tiny_run.options(faces, **SETTINGS, mirror=True, validation=10, max_images=30)
    snapshot = tmp_path / "network-snapshot-000000.keras"
    state.G_ema.save(snapshot)
    values = Evaluator(tmp_path, options, state).evaluate(snapshot)
    expected = compute(
        NAMES, state.G_ema, open_dataset(faces, use_labels=True), detector_dir="x", num_samples=20, batch=8
    )
    assert values == {f"Metrics/{name}": pytest.approx(value) for name, value in expected.items()}
    assert list(default_cache_dir().glob("features/*/rows.npy"))


def line(metric, value, kimg, num_samples=20):
    values = {"metric": metric, "results": {metric: value}, "num_samples": num_samples, "kimg": kimg}
    return json.dumps(values) + "\n"


def test_files_with_values_and_best_snapshots(loaded, faces, state, tmp_path):
    """Of two runs of the same process: the second begins at an earlier image, and forgets what came after."""
    state.cur_nimg = 2500
    file, snapshot = tmp_path / "metric-fid50k_full.jsonl", tmp_path / "network-snapshot-000002.keras"
    earlier = [line("fid50k_full", 1.0, 2.4, num_samples=10), line("fid50k_full", 0.0, 2.45)]
    damaged = '\0\0\n{"results": {}}\n{"kimg": 2'
    file.write_text("".join(earlier) + line("fid50k_full", -1.0, 2.508) + damaged)
    state.G_ema.save(snapshot)
    state.D.save(discriminator_beside(snapshot))
    evaluator = Evaluator(tmp_path, tiny_run.options(faces, **SETTINGS), state)
    values = evaluator.evaluate(snapshot)
    for name in NAMES:
        *before, last = (tmp_path / f"metric-{name}.jsonl").read_text().splitlines(keepends=True)
        assert before == (earlier if name == "fid50k_full" else [])
        results = {r.removeprefix("Metrics/"): v for r, v in values.items() if r.startswith(f"Metrics/{name}")}
        assert json.loads(last) == {
            **{"metric": name, "results": results, "num_samples": 20, "version": 1},
            **{"snapshot": snapshot.name, "kimg": 2.5},
        }
    # Not the distance, as an earlier one was lower, nor is50k_std, where neither direction is better.
    best = [tmp_path / f"network-best-{name}.keras" for name in ("is50k_mean", "pr50k3_precision", "pr50k3_recall")]
    assert sorted(tmp_path.glob("network-best-*")) == sorted([*best, *map(discriminator_beside, best)])
    assert [path.read_bytes() for path in best] == [snapshot.read_bytes()] * 3
    found, expected = sg3tf.load(best[0]).get_weights(), state.G_ema.get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    # The lower value of ten images does not count. The graph of the first evaluation has the weights of the second.
    file.write_text(line("fid50k_full", 0.0, 2.4, num_samples=10))
    weights = state.G_ema.get_weights()
    state.G_ema.set_weights([0.9 * weight for weight in weights])
    changed = evaluator.evaluate(snapshot)  # again, as after a kill in it: there is still one line
    state.G_ema.set_weights(weights)
    assert len((tmp_path / "metric-pr50k3.jsonl").read_text().splitlines()) == 1
    assert changed["Metrics/fid50k_full"] != values["Metrics/fid50k_full"] > 0
    assert (tmp_path / "network-best-fid50k_full.keras").exists()


# After a kill, or from an earlier checkpoint.


def evaluator_at(run, kimg, *names):
    """An evaluator of a run that is resumed at `kimg`; it computes nothing here."""
    state = SimpleNamespace(cur_nimg=round(kimg * 1000))
    return Evaluator(run, SimpleNamespace(metrics=names, metrics_samples=None), state)


def snapshot_line(metric, value, kimg, num_samples=20):
    return line(metric, value, kimg, num_samples).replace(
        '"kimg"', f'"snapshot": "{snapshot_name(kimg * 1000)}", "kimg"'
    )


@pytest.fixture
def run(tmp_path):
    """A run whose distance was 5 at 1 kimg, 3 at 2, 4 at 3, and is best at 4, in files that say so."""
    values = {1: 5.0, 2: 3.0, 3: 4.0, 4: 1.0}
    for kimg in values:
        snapshot = tmp_path / snapshot_name(kimg * 1000)
        snapshot.write_text(f"at {kimg}")
        if kimg > 1:  # snapshots of earlier versions have no discriminator
            discriminator_beside(snapshot).write_text(f"D at {kimg}")
    (tmp_path / "metric-swd.jsonl").write_text("".join(snapshot_line("swd", v, kimg) for kimg, v in values.items()))
    (tmp_path / "network-best-swd.keras").write_text("at 4")
    (tmp_path / "network-best-swd-discriminator.keras").write_text("D at 4")
    return tmp_path


@pytest.mark.parametrize(("resumed_at", "best"), [(4, 4), (3, 2), (2, 2), (1, 1), (0.5, None)])
@pytest.mark.parametrize("still_computed", [True, False])
def test_the_best_is_never_of_a_discarded_stretch(run, resumed_at, best, still_computed):
    evaluator_at(run, resumed_at, *(["swd"] if still_computed else []))
    file = run / "network-best-swd.keras"
    assert (file.read_text() if file.exists() else None) == (best and f"at {best}")
    file = discriminator_beside(file)
    assert (file.read_text() if file.exists() else None) == (f"D at {best}" if best and best > 1 else None)


def test_the_best_returns_with_its_line_and_its_snapshot(run):
    """The files of discarded/ are moved back."""
    lines = (run / "metric-swd.jsonl").read_text()
    evaluator_at(run, 0.5, "swd")
    assert not list(run.glob("network-best-*"))
    (run / "metric-swd.jsonl").write_text(lines)
    evaluator_at(run, 4, "swd")
    assert (run / "network-best-swd.keras").read_text() == "at 4"
    assert (run / "network-best-swd-discriminator.keras").read_text() == "D at 4"


def test_the_best_stays_where_its_snapshot_is_gone(run):
    (run / snapshot_name(2000)).unlink()
    evaluator_at(run, 3, "swd")
    assert (run / "network-best-swd.keras").exists()


def test_processes_that_are_killed_in_the_metrics_of_a_snapshot_are_counted(run, monkeypatch):
    evaluator, attempts = evaluator_at(run, 4, "swd"), run / evaluation._ATTEMPTS
    first, second = (run / snapshot_name(nimg) for nimg in (4000, 5000))
    counts = []
    for snapshot in (first, first, second, second):
        seen = []
        monkeypatch.setattr(evaluator, "_open", lambda seen=seen: seen.append(attempts.read_bytes()) or [])
        evaluator.evaluate(snapshot)
        assert not attempts.exists()  # it has ended by itself
        attempts.write_bytes(seen[0])  # as SIGKILL leaves it
        counts.append([evaluator.num_killed_attempts(first), evaluator.num_killed_attempts(second)])
    assert counts == [[1, 0], [2, 0], [0, 1], [0, 2]]
    attempts.write_text('{"snapshot": 3')
    assert evaluator.num_killed_attempts(second) == 0


def test_values_that_a_kill_has_prevented_are_noticed(run):
    snapshot = run / snapshot_name(4000)
    assert not evaluator_at(run, 4, "swd").has_missing_metrics(snapshot)
    assert evaluator_at(run, 4, "swd", "eqt50k_int").has_missing_metrics(snapshot)  # between the two
    assert not evaluator_at(run, 4).has_missing_metrics(snapshot)
    assert evaluator_at(run, 3, "swd").has_missing_metrics(snapshot)  # before both
    without_snapshot = run / snapshot_name(3500)
    assert not evaluator_at(run, 3, "swd").has_missing_metrics(without_snapshot)


def test_they_are_computed_when_the_run_is_resumed(faces, state, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "cur_nimg", 1000)
    options = tiny_run.options(faces, cond=True, metrics=("swd",), aug="ada")
    dataset = open_dataset(faces, use_labels=True)
    run, evaluated = run_dir.create(tmp_path, options), []

    def evaluate(self, snapshot):
        evaluated.append(snapshot.name)
        (run / "metric-swd.jsonl").write_text(snapshot_line("swd", 5.0, 1))
        return {}

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    for _ in range(2):
        logger = RunLogger(run, options, state, dataset, RandomInputs(dataset, options.batch, state.G.config.z_dim, 0))
        logger.on_start([])
        (run / snapshot_name(1000)).touch()
        logger.close()
    logger.on_start([])
    logger.on_evaluation()  # as at the end of a run that has nothing left to train: not again
    assert evaluated == [snapshot_name(1000)]
    assert f"computing the metrics of {snapshot_name(1000)}" in (run / "log.txt").read_text()


def test_kills_count_for_the_same_metrics_only(run):
    """Others may have enough memory, as the warning says."""
    state, options = SimpleNamespace(cur_nimg=4000), SimpleNamespace(metrics=("swd",), metrics_samples=None)
    snapshot = run / snapshot_name(4000)

    def evaluator(**changes):
        return Evaluator(run, SimpleNamespace(**{**vars(options), **changes}), state)

    for kills in (1, 2):
        with pytest.raises(SystemExit), evaluator()._counting_kills(snapshot):
            attempts = (run / ".evaluation.json").read_text()
            raise SystemExit
        (run / ".evaluation.json").write_text(attempts)  # as a kill leaves it
        assert evaluator().num_killed_attempts(snapshot) == kills
    assert evaluator(metrics_samples=100).num_killed_attempts(snapshot) == 0
    assert evaluator(metrics=("kid_scattering",)).num_killed_attempts(snapshot) == 0
    assert evaluator().num_killed_attempts(run / snapshot_name(3000)) == 0


@pytest.mark.parametrize(
    ("higher_is_better", "better", "worse"), [(True, 61.0, 59.0), (False, 59.0, 61.0), (None, None, 61.0)]
)
def test_the_best_is_the_first_or_better_in_the_direction_of_the_metric(higher_is_better, better, worse):
    def is_best(value, *earlier):
        lines = [{"num_samples": 20, "results": {"swd": number}} for number in (*earlier, value)]
        return evaluation.best_line(lines, "swd", higher_is_better) is lines[-1]

    assert is_best(1.0) == (higher_is_better is not None)
    earlier = [60.0, 2 * 60.0 - better] if better else [60.0]
    assert better is None or (is_best(better, *earlier) and is_best(better, float("nan"), *earlier))
    assert not is_best(worse, *earlier)
    assert not is_best(60.0, *earlier)
    assert not is_best(float("nan"))


@pytest.mark.parametrize("changed", [{"data_order": 3}, {"version": 2}])
def test_values_of_another_definition_do_not_count(changed):
    """Of runs that were resumed since the choice of real images, or the metric, has changed."""
    lines = [{"num_samples": 20, "results": {"swd": value}} for value in (20.0, 38.0, 30.0, 25.0, 26.0)]
    for line in lines[2:]:
        line |= changed
    assert [evaluation.best_line(lines[:count], "swd", False) for count in (2, 3, 5)] == [lines[0], lines[2], lines[3]]


def test_default_metrics_need_no_files_and_few_images(faces, state, tmp_path, monkeypatch):
    """In TensorBoard, in the log, and as the best snapshot; on a machine without a home folder."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # KeyError, as for a user without an entry
    state.cur_nimg = 1000
    options = tiny_run.options(faces, cond=True, tick=1.0, snap=1, metrics=None)
    assert options.metrics == ("swd", "kid_scattering")
    dataset = open_dataset(faces, use_labels=True)
    run = run_dir.create(tmp_path, options)
    logger = RunLogger(run, options, state, dataset, RandomInputs(dataset, options.batch, state.G.config.z_dim, 0))
    logger.on_snapshot()
    logger.on_evaluation()
    logger.close()
    for name in options.metrics:
        (found,) = [json.loads(text) for text in (run / f"metric-{name}.jsonl").read_text().splitlines()]
        assert (
            found["num_samples"] == len(dataset) == 64
            and found["data_order"] == ORDERS[-1]
            and found["version"] == {"swd": 2, "kid_scattering": 2}[name]
            and found["results"][name] > 10
        )
        assert (run / f"network-best-{name}.keras").exists()
    assert re.fullmatch(r"swd [\d.]+  kid_scattering [\d.e+]+\n", (run / "log.txt").read_text())
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["tensors"]) == {"Metrics/swd", "Metrics/kid_scattering", "fakes"}


@pytest.mark.parametrize(("snap_kimg", "count"), [(0.1, 100), (4, 200), (1e6, 1000)])
def test_number_of_images_of_default_metrics(faces, snap_kimg, count):
    options = tiny_run.options(faces, metrics=("swd", "eqt50k_int"), tick=snap_kimg / 2, snap=2)
    assert list(evaluation._groups(options)) == [(["swd"], count), (["eqt50k_int"], None)]
    given = dataclasses.replace(options, metrics_samples=7)
    assert list(evaluation._groups(given)) == [(["swd", "eqt50k_int"], 7)]


def test_refused_before_a_run_begins(faces, monkeypatch):
    options = tiny_run.options(faces, **SETTINGS)
    with pytest.raises(
        OptionError, match=r"--detector_dir=.*/x: classify_image_graph_def.pb, vgg16-397923af.pth are not in"
    ):
        evaluation.check_metrics(options)
    with pytest.raises(ConfigError, match="fid50k_full.*detector_dir"):
        evaluation.check_metrics(dataclasses.replace(options, detector_dir=None))
    monkeypatch.setattr(detectors, "load", lambda name, folder: MeanColor())
    evaluation.check_metrics(options)
    with pytest.raises(ConfigError, match="is50k.* needs 10 images"):
        evaluation.check_metrics(dataclasses.replace(options, metrics_samples=9))
    evaluation.check_metrics(dataclasses.replace(options, metrics=(), data="/nowhere"))
    small = tiny_run.options(faces, cfg="stylegan2", metrics=("swd",))
    with pytest.raises(ConfigError, match="metrics='swd': needs images of 16x16 at least"):
        evaluation.check_metrics(dataclasses.replace(small, resolution=8))
