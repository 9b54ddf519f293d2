"""--metrics: how good the averaged generator is at a snapshot, and which snapshot was best."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sg3tf import metrics
from sg3tf.atomic import whole_path
from trainer.data import Dataset
from trainer.options import Options
from trainer.state import TrainState


def evaluate(run: Path, options: Options, state: TrainState, dataset: Dataset, snapshot: Path) -> dict[str, float]:
    """Computes the metrics of options.metrics; returns {"Metrics/NAME": value}.

    Each becomes a line of metric-NAME.jsonl; where it is the best so far, network-best-NAME.keras is written too.

    Args:
        run: the run folder.
        options: of the run.
        state: whose G_ema is measured, and whose record of the best is kept.
        dataset: whose labels are asked for.
        snapshot: name of the .keras file of the same weights.
    """
    samples, seed = options.metrics_samples, options.seed
    found = metrics.compute(
        options.metrics,
        state.G_ema,
        num_samples=samples,
        batch=options.batch_per_replica,
        seed=seed,
        labels=_labels(dataset),
    )
    for name, value in found.items():
        line = {"metric": name, "results": {name: value}, "num_samples": samples or metrics.METRICS[name].num_samples}
        line |= {"snapshot": snapshot.name, "kimg": state.cur_nimg / 1000}
        with open(run / f"metric-{name}.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        if is_better(name, value, state.best):
            state.best[name] = (value, state.cur_nimg)
            with whole_path(run / f"network-best-{name}.keras") as best:
                state.G_ema.save(best)
    return {f"Metrics/{name}": value for name, value in found.items()}


def is_better(name: str, value: float, best: dict[str, tuple[float, int]]) -> bool:
    """Whether no earlier snapshot was as good."""
    if name not in best:
        return True
    return value > best[name][0] if metrics.METRICS[name].higher_is_better else value < best[name][0]


def _labels(dataset: Dataset) -> Callable[[int], NDArray[np.float32]] | None:
    return (lambda index: dataset.label(index % len(dataset))) if dataset.label_dim else None
