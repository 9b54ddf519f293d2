"""Metrics of the averaged generator at a snapshot, and the best snapshot: --metrics."""

from __future__ import annotations

import contextlib
import filecmp
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from sg3tf import metrics
from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.sampler import ORDERS
from sg3tf.metrics.cache import default_cache_dir
from sg3tf.metrics.detectors import DetectorError
from sg3tf.metrics.names import SELF_CONTAINED_METRICS
from sg3tf.models.loading import discriminator_beside
from sg3tf.utils.files import append_line, atomic_path, atomic_write, read_json_lines
from sg3tf.utils.json_text import to_json
from trainer import run_dir
from trainer.config import Options
from trainer.errors import OptionError, StopRequestedError
from trainer.run_curves import Definition
from trainer.state import TrainState

#: Images that metrics without detector files generate, as a share of the training images between snapshots. A
#: generated image costs less than a training image.
SAMPLES_SHARE = 0.05
MIN_SAMPLES, MAX_SAMPLES = 100, 1000

#: Number of processes killed during the metrics of one snapshot, such as for lack of memory, before these are skipped.
MOST_KILLS = 2
_ATTEMPTS = ".evaluation.json"


def check_metrics(options: Options) -> None:
    """Raise if a metric cannot be computed for a run.

    Raises:
        ConfigError, OptionError: names the metric and the reason.
    """
    if not options.metrics:
        return
    data = _real_images(options)
    try:
        for names, num_samples in _groups(options):
            metrics.check(names, options.generator(), data, detector_dir=options.detector_dir, num_samples=num_samples)
    except DetectorError as error:
        raise OptionError(f"--detector_dir={options.detector_dir}: {error}") from error


class Evaluator:
    """Computes options.metrics at every snapshot, and keeps the snapshot with the best value of each.

    Args:
        run: the run folder. Lines of its metric files from after state.cur_nimg are removed, because the run was
            resumed from an earlier checkpoint and will write them again. The best snapshots become those of the other
            lines.
        options: options of the run.
        state: state of the run, whose G_ema is measured.
        strategy: devices of this process to compute on; None: the first one.
        signals: those received, each a request to stop.
    """

    def __init__(
        self,
        run: Path,
        options: Options,
        state: TrainState,
        strategy: tf.distribute.Strategy | None = None,
        signals: Sequence[int] = (),
    ) -> None:
        self._run, self._options, self._state, self._strategy = run, options, state, strategy
        self._signals = signals
        self._evaluations: list[metrics.Evaluation] = []  # created at the first snapshot, and kept with their graphs
        for file in run.glob("metric-*.jsonl"):  # including metrics that are no longer computed
            if (name := file.stem.removeprefix("metric-")) in metrics.METRICS:
                self._forget_after(name, state.cur_nimg)

    def has_missing_metrics(self, snapshot: Path) -> bool:
        """True if a process was killed between saving a snapshot and the last of its metrics."""
        lines = [read_json_lines(self._file(name))[-1:] for name in self._options.metrics]
        return snapshot.exists() and not all(last and last[0].get("snapshot") == snapshot.name for last in lines)

    def num_killed_attempts(self, snapshot: Path) -> int:
        """Number of processes that were killed while computing the metrics of a snapshot."""
        try:
            found = json.loads((self._run / _ATTEMPTS).read_text())
            return int(found["attempts"]) if self._attempt_at(snapshot).items() <= found.items() else 0
        except (OSError, ValueError, TypeError, LookupError, AttributeError):  # missing or damaged
            return 0

    def _attempt_at(self, snapshot: Path) -> dict[str, Any]:
        """Identify an attempt. A change of metrics or samples starts a new count, as it may need less memory."""
        options = self._options
        return {
            "snapshot": snapshot.name,
            "metrics": list(options.metrics),
            "metrics_samples": options.metrics_samples,
        }

    def evaluate(self, snapshot: Path) -> dict[str, float]:
        """Compute the metrics of state.G_ema.

        For every result that is better than all earlier ones, copies the snapshot to network-best-RESULT.keras. Then
        writes a line to metric-NAME.jsonl for every metric.

        Args:
            snapshot: .keras file of the same weights, in the run folder.

        Returns:
            {"Metrics/RESULT": value}.

        Raises:
            StopRequestedError: a signal was received; metrics that are done have their lines.
        """
        self._heed_signals()
        for name in self._options.metrics:  # remove lines that a killed process has written for this snapshot
            self._forget_after(name, self._state.cur_nimg - 1)
        found: dict[str, float] = {}
        with self._counting_kills(snapshot):
            self._evaluations = self._evaluations or list(self._open())
            for evaluation in self._evaluations:
                for computed in evaluation:
                    self._record(computed, snapshot)
                    found |= computed.values
        return {f"Metrics/{result}": value for result, value in found.items()}

    @contextlib.contextmanager
    def _counting_kills(self, snapshot: Path) -> Iterator[None]:
        """Context with a file that remains only if the process is killed."""
        file = self._run / _ATTEMPTS
        with atomic_write(file) as out:
            attempt = {**self._attempt_at(snapshot), "attempts": self.num_killed_attempts(snapshot) + 1}
            out.write(json.dumps(attempt).encode())
        try:
            yield
        finally:
            file.unlink(missing_ok=True)

    def _open(self) -> Iterator[metrics.Evaluation]:
        options = self._options
        for names, num_samples in _groups(options):
            yield metrics.Evaluation(
                names,
                self._state.G_ema,
                _real_images(options),
                detector_dir=options.detector_dir,
                cache_dir=default_cache_dir(),
                num_samples=num_samples,
                batch=options.batch_per_replica,
                seed=options.seed,
                strategy=self._strategy,
                progress=self._heed_signals,
            )

    def _heed_signals(self, *_progress: object) -> None:
        if self._signals:
            raise StopRequestedError

    def _record(self, computed: metrics.MetricResult, snapshot: Path) -> None:
        file = self._file(computed.metric)
        line = {
            "metric": computed.metric,
            "results": computed.values,
            "num_samples": computed.num_samples,
            "version": metrics.METRICS[computed.metric].version,
            "snapshot": snapshot.name,
            "kimg": self._state.cur_nimg / 1000,
        }
        if computed.metric in SELF_CONTAINED_METRICS:  # to a choice of real images, which depends on the version
            line["data_order"] = ORDERS[-1]
        lines = [*read_json_lines(file), line]
        for result, higher_is_better in metrics.METRICS[computed.metric].results.items():
            if best_line(lines, result, higher_is_better) is line:
                _copy(snapshot, self._best(result))
        append_line(file, to_json(line))

    def _forget_after(self, name: str, nimg: int) -> None:
        """Remove the values of a metric after `nimg` images, and restore the best snapshots of the remaining ones."""
        file = self._file(name)
        run_dir.truncate_lines(file, nimg, _kimg)
        for result, higher_is_better in metrics.METRICS[name].results.items():
            best, line = self._best(result), best_line(read_json_lines(file), result, higher_is_better)
            if line is None:
                best.unlink(missing_ok=True)
                discriminator_beside(best).unlink(missing_ok=True)
            elif (snapshot := self._run / line.get("snapshot", "")).is_file() and not _is_copied(snapshot, best):
                _copy(snapshot, best)

    def _file(self, metric: str) -> Path:
        return self._run / f"metric-{metric}.jsonl"

    def _best(self, result: str) -> Path:
        return self._run / f"network-best-{result}.keras"


def best_line(lines: list[dict[str, Any]], result: str, higher_is_better: bool | None) -> dict[str, Any] | None:
    """Return the last line of a metric's file that is better than all comparable lines before it.

    None if there is none, or if neither direction is better. NaN is never better.
    """
    if higher_is_better is None:
        return None
    best: dict[Definition, float] = {}
    found = None
    for line in lines:
        value, definition = line["results"][result], Definition.of(line)
        score = value if higher_is_better else -value
        if score > best.get(definition, -np.inf):
            best[definition], found = score, line
    return found


def _groups(options: Options) -> Iterator[tuple[list[str], int | None]]:
    """Yield metrics that are computed together, and their number of generated images; None: as published."""
    if options.metrics_samples is not None:
        yield list(options.metrics), options.metrics_samples
        return
    self_contained = [name for name in options.metrics if name in SELF_CONTAINED_METRICS]
    others = [name for name in options.metrics if name not in SELF_CONTAINED_METRICS]
    if self_contained:
        yield self_contained, self_contained_samples(options)
    if others:
        yield others, None


def self_contained_samples(options: Options) -> int:
    """Number of generated images for metrics that need no detector files: fewer if snapshots are frequent."""
    snapshot_nimg = options.snap * options.tick * 1000
    return int(np.clip(snapshot_nimg * SAMPLES_SHARE, MIN_SAMPLES, MAX_SAMPLES))


def _real_images(options: Options) -> Dataset:
    """All images of the data set, as published: including those left out of training, and not mirrored."""
    return open_dataset(options.data, resolution=options.resolution, use_labels=options.cond)


# --- metric-NAME.jsonl ------------------------------------------------------------------------------------------------


def _kimg(line: dict[str, Any]) -> float:
    """kimg of a line of a metric's file; LookupError if the line is damaged."""
    if missing := {"results", "num_samples", "kimg"} - set(line):
        raise LookupError(f"no {', '.join(sorted(missing))}")
    return float(line["kimg"])


def _pairs(snapshot: Path, best: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (source, target) of the discriminator, which older snapshots do not have, and of the generator."""
    yield discriminator_beside(snapshot), discriminator_beside(best)
    yield snapshot, best


def _is_copied(snapshot: Path, best: Path) -> bool:
    return best.exists() and all(
        filecmp.cmp(source, target, shallow=False) if source.exists() and target.exists() else not target.exists()
        for source, target in _pairs(snapshot, best)
    )


def _copy(snapshot: Path, best: Path) -> None:
    for source, target in _pairs(snapshot, best):
        if not source.exists():
            target.unlink(missing_ok=True)
            continue
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
