"""Metrics at snapshots: their images, the files with their values, and the best snapshot."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import sg3tf
from sg3tf.data.dataset import open_dataset
from sg3tf.metrics import compute, detectors
from sg3tf.metrics.cache import default_cache_dir
from sg3tf.models.configs import ConfigError
from tests.helpers import tiny_run
from tests.helpers.metric_stubs import MeanColor
from trainer import evaluation
from trainer.errors import OptionError
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
    values = evaluation.evaluate(tmp_path, options, state, None, tmp_path / "network-snapshot-000000.keras")
    expected = compute(
        NAMES, state.G_ema, open_dataset(faces, use_labels=True), detector_dir="x", num_samples=20, batch=8
    )
    assert values == {f"Metrics/{name}": pytest.approx(value) for name, value in expected.items()}
    assert list(default_cache_dir().glob("features/*/rows.npy"))


def test_files_with_values_and_best_snapshots(loaded, faces, state, tmp_path):
    state.best, state.cur_nimg = {"fid50k_full": (0.0, 8)}, 2500
    snapshot = tmp_path / "network-snapshot-000002.keras"
    values = evaluation.evaluate(tmp_path, tiny_run.options(faces, **SETTINGS), state, None, snapshot)
    for name in NAMES:
        (line,) = [json.loads(line) for line in (tmp_path / f"metric-{name}.jsonl").read_text().splitlines()]
        results = {r.removeprefix("Metrics/"): v for r, v in values.items() if r.startswith(f"Metrics/{name}")}
        assert line == {
            **{"metric": name, "results": results, "num_samples": 20},
            **{"snapshot": snapshot.name, "kimg": 2.5},
        }
    # Not the distance, as an earlier one was lower, nor is50k_std, where neither direction is better.
    best = ["is50k_mean", "pr50k3_precision", "pr50k3_recall"]
    assert sorted(path.name for path in tmp_path.glob("*.keras")) == [f"network-best-{name}.keras" for name in best]
    assert state.best == {"fid50k_full": (0.0, 8), **{name: (values[f"Metrics/{name}"], 2500) for name in best}}
    for found, expected in zip(
        sg3tf.load(tmp_path / f"network-best-{best[0]}.keras").get_weights(), state.G_ema.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("higher_is_better", "better", "worse"), [(True, 61.0, 59.0), (False, 59.0, 61.0), (None, None, 61.0)]
)
def test_the_best_is_the_first_or_better_in_the_direction_of_the_metric(higher_is_better, better, worse):
    best = {"x": (60.0, 8)}
    assert evaluation.is_better("x", 1.0, higher_is_better, {}) == (higher_is_better is not None)
    assert better is None or evaluation.is_better("x", better, higher_is_better, best)
    assert not evaluation.is_better("x", worse, higher_is_better, best)
    assert not evaluation.is_better("x", 60.0, higher_is_better, best)


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
