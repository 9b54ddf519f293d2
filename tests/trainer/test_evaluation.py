"""Metrics at snapshots: which is best. That they are computed and kept is in test_main."""

from __future__ import annotations

import dataclasses

from sg3tf.metrics import METRICS
from trainer import evaluation


def test_the_first_and_what_is_better_by_the_metrics_own_sense(monkeypatch):
    name = "eqt50k_int"
    assert evaluation.is_better(name, 1.0, {})
    assert evaluation.is_better(name, 61.0, {name: (60.0, 8)})
    assert not evaluation.is_better(name, 60.0, {name: (60.0, 8)})
    monkeypatch.setitem(METRICS, name, dataclasses.replace(METRICS[name], higher_is_better=False))
    assert evaluation.is_better(name, 59.0, {name: (60.0, 8)})
    assert not evaluation.is_better(name, 61.0, {name: (60.0, 8)})
