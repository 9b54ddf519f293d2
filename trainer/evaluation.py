"""Metrics of the averaged generator at a snapshot, and the best snapshot: --metrics."""

from __future__ import annotations

import json
from pathlib import Path

import tensorflow as tf

from sg3tf import metrics
from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.metrics.cache import default_cache_dir
from sg3tf.metrics.detectors import DetectorError
from sg3tf.utils.files import atomic_path
from trainer.config import Options
from trainer.errors import OptionError
from trainer.state import TrainState


def check_metrics(options: Options) -> None:
    """Refuse metrics that cannot be computed for a run.

    Raises:
        ConfigError, OptionError: naming the metric and the reason.
    """
    if not options.metrics:
        return
    try:
        metrics.check(
            options.metrics,
            options.generator(),
            _real_images(options),
            detector_dir=options.detector_dir,
            num_samples=options.metrics_samples,
        )
    except DetectorError as error:
        raise OptionError(f"--detector_dir={options.detector_dir}: {error}") from error


def evaluate(
    run: Path, options: Options, state: TrainState, strategy: tf.distribute.Strategy | None, snapshot: Path
) -> dict[str, float]:
    """Compute options.metrics, and keep the snapshot with the best value of each.

    Appends a line to metric-NAME.jsonl for every metric, and writes network-best-RESULT.keras for every result that is
    better than those of all earlier snapshots.

    Args:
        run: the run folder.
        options: of the run.
        state: G_ema is measured, and `best` updated.
        strategy: devices to compute on, those of this process; None: the first one.
        snapshot: .keras file of the same weights.

    Returns:
        {"Metrics/RESULT": value}.
    """
    evaluation = metrics.Evaluation(
        options.metrics,
        state.G_ema,
        _real_images(options),
        detector_dir=options.detector_dir,
        cache_dir=default_cache_dir(),
        num_samples=options.metrics_samples,
        batch=options.batch_per_replica,
        seed=options.seed,
        strategy=strategy,
    )
    found: dict[str, float] = {}
    for computed in evaluation:
        line = {
            "metric": computed.metric,
            "results": computed.values,
            "num_samples": computed.num_samples,
            "snapshot": snapshot.name,
            "kimg": state.cur_nimg / 1000,
        }
        with open(run / f"metric-{computed.metric}.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        for result, higher_is_better in metrics.METRICS[computed.metric].results.items():
            if is_better(result, computed.values[result], higher_is_better, state.best):
                state.best[result] = (computed.values[result], state.cur_nimg)
                with atomic_path(run / f"network-best-{result}.keras") as best:
                    state.G_ema.save(best)
        found |= computed.values
    return {f"Metrics/{result}": value for result, value in found.items()}


def is_better(result: str, value: float, higher_is_better: bool | None, best: dict[str, tuple[float, int]]) -> bool:
    """Return True if `value` is better than every earlier one; False where no direction is better."""
    if higher_is_better is None:
        return False
    if result not in best:
        return True
    return value > best[result][0] if higher_is_better else value < best[result][0]


def _real_images(options: Options) -> Dataset:
    """All images of the data set, as published: with those held out or left out of training, and none mirrored."""
    return open_dataset(options.data, resolution=options.resolution, use_labels=options.cond)
