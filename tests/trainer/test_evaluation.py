"""Metrics at snapshots: their images, the files with their values, and the best snapshot."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import sg3tf
from sg3tf.data.dataset import open_dataset
from sg3tf.metrics import compute, detectors
from sg3tf.metrics.cache import default_cache_dir
from sg3tf.models.configs import ConfigError
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
    values = Evaluator(tmp_path, options, state).evaluate(tmp_path / "network-snapshot-000000.keras")
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
    earlier = [line("fid50k_full", 1.0, 2.4, num_samples=10), line("fid50k_full", 0.0, 2.5)]
    damaged = '\0\0\n{"results": {}}\n{"kimg": 2'
    file.write_text("".join(earlier) + line("fid50k_full", -1.0, 2.508) + damaged)
    evaluator = Evaluator(tmp_path, tiny_run.options(faces, **SETTINGS), state)
    values = evaluator.evaluate(snapshot)
    for name in NAMES:
        *before, last = (tmp_path / f"metric-{name}.jsonl").read_text().splitlines(keepends=True)
        assert before == (earlier if name == "fid50k_full" else [])
        results = {r.removeprefix("Metrics/"): v for r, v in values.items() if r.startswith(f"Metrics/{name}")}
        assert json.loads(last) == {
            **{"metric": name, "results": results, "num_samples": 20},
            **{"snapshot": snapshot.name, "kimg": 2.5},
        }
    # Not the distance, as an earlier one was lower, nor is50k_std, where neither direction is better.
    best = ["is50k_mean", "pr50k3_precision", "pr50k3_recall"]
    assert sorted(path.name for path in tmp_path.glob("*.keras")) == [f"network-best-{name}.keras" for name in best]
    for found, expected in zip(
        sg3tf.load(tmp_path / f"network-best-{best[0]}.keras").get_weights(), state.G_ema.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    # The lower value of ten images does not count. The graph of the first evaluation has the weights of the second.
    file.write_text(line("fid50k_full", 0.0, 2.4, num_samples=10))
    weights = state.G_ema.get_weights()
    state.G_ema.set_weights([0.9 * weight for weight in weights])
    changed = evaluator.evaluate(snapshot)
    state.G_ema.set_weights(weights)
    assert changed["Metrics/fid50k_full"] != values["Metrics/fid50k_full"] > 0
    assert (tmp_path / "network-best-fid50k_full.keras").exists()


@pytest.mark.parametrize(
    ("higher_is_better", "better", "worse"), [(True, 61.0, 59.0), (False, 59.0, 61.0), (None, None, 61.0)]
)
def test_the_best_is_the_first_or_better_in_the_direction_of_the_metric(higher_is_better, better, worse):
    assert evaluation.is_best(1.0, [], higher_is_better) == (higher_is_better is not None)
    earlier = [60.0, 2 * 60.0 - better] if better else [60.0]
    assert better is None or evaluation.is_best(better, earlier, higher_is_better)
    assert not evaluation.is_best(worse, earlier, higher_is_better)
    assert not evaluation.is_best(60.0, earlier, higher_is_better)


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
    logger.on_evaluation()
    logger.close()
    for name in options.metrics:
        (found,) = [json.loads(text) for text in (run / f"metric-{name}.jsonl").read_text().splitlines()]
        assert found["num_samples"] == 100 and found["results"][name] > 10
        assert (run / f"network-best-{name}.keras").exists()
    assert re.fullmatch(r"swd [\d.]+  kid_scattering [\d.e+]+\n", (run / "log.txt").read_text())
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["tensors"]) == {"Metrics/swd", "Metrics/kid_scattering"}


@pytest.mark.parametrize(("snap_kimg", "count"), [(0.1, 100), (4, 200), (1e6, 1000)])
def test_number_of_images_of_default_metrics(faces, snap_kimg, count):
    options = tiny_run.options(faces, metrics=("swd", "eqt50k_int"), tick=snap_kimg / 2, snap=2)
    assert list(evaluation._groups(options)) == [(["swd"], count), (["eqt50k_int"], None)]
    given = dataclasses.replace(options, metrics_samples=7)
    assert list(evaluation._groups(given)) == [(["swd", "eqt50k_int"], 7)]


def test_refused_before_a_run_begins(faces, monkeypatch):
    options = tiny_run.options(faces, **SETTINGS)
    with pytest.raises(OptionError, match=r"--detector_dir=x: classify_image_graph_def.pb is not in"):
        evaluation.check_metrics(options)
    with pytest.raises(ConfigError, match="fid50k_full.*detector_dir"):
        evaluation.check_metrics(dataclasses.replace(options, detector_dir=None))
    monkeypatch.setattr(detectors, "load", lambda name, folder: MeanColor())
    evaluation.check_metrics(options)
    with pytest.raises(ConfigError, match="is50k.* needs 10 images"):
        evaluation.check_metrics(dataclasses.replace(options, metrics_samples=9))
    evaluation.check_metrics(dataclasses.replace(options, metrics=(), data="/nowhere"))
