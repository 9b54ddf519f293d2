"""Metrics that generate their own images resume where they were, to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

import sg3tf
from sg3tf.metrics import cache, compute, detectors

COUNT, BATCH, STOP = 10, 2, 6


class Squares:
    """Distance in place of LPIPS."""

    digest = "sha256:squares"

    @staticmethod
    def distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.square(a - b), axis=[1, 2, 3])


@pytest.fixture(scope="module")
def networks() -> list[sg3tf.Generator]:
    keras.utils.set_random_seed(0)
    size = {"resolution": 16, "num_layers": 4, "channel_base": 64, "channel_max": 4, "w_dim": 8}
    return [sg3tf.Generator.from_preset("stylegan3-t", **size) for _ in range(2)]


def value(name: str, G: sg3tf.Generator, cache: Path | None, progress: Callable[[str, int, int], object]) -> float:
    options: dict[str, Any] = {"num_samples": COUNT, "batch": BATCH, "detector_dir": "any", "cache_dir": cache}
    return compute([name], G, progress=progress, **options)[name]


@pytest.mark.parametrize("name", ["eqt50k_frac", "ppl2_wend"])
def test_an_interrupted_metric_resumes(
    name: str, networks: list[sg3tf.Generator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "SAVE_INTERVAL_S", 0.0)
    monkeypatch.setattr(detectors, "load", lambda *_: Squares())
    G, other = networks
    expected = value(name, G, None, lambda *_: None)

    def stop(_: str, done: int, __: int) -> None:
        if done == STOP:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        value(name, G, tmp_path, stop)
    seen: list[int] = []
    assert value(name, other, tmp_path, lambda _, done, __: seen.append(done)) != expected
    assert seen[0] == BATCH  # another network does not resume
    seen.clear()
    assert value(name, G, tmp_path, lambda _, done, __: seen.append(done)) == expected
    assert seen == [STOP + BATCH, COUNT]
    assert not list((tmp_path / "unfinished").iterdir())
