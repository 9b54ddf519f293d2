"""Metric values over the course of training runs, read from run folders; runs that differ only in seed are grouped."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sg3tf.utils.files import read_json_lines
from trainer.config import FIELDS

Array = NDArray[np.float64]

#: Options that do not define a different experiment: seed, image sampling, and how a run computes, ends and reports.
NOT_COMPARED = {name for name, field in FIELDS.items() if not field.metadata["affects_result"]}
NOT_COMPARED |= {"seed", "data_order", "batch_per_replica", "changes"}
MAX_LABEL = 60  # characters, for the options that distinguish a group


class NoValueError(ValueError):
    """Run without a value of a metric."""


class Definition(NamedTuple):
    """Properties that the values of a metric must share to be comparable.

    Distances grow as fewer images are compared, and data_order changes which real images are compared.

    Attributes:
        num_samples: number of generated images; None for a statistic of training.
        data_order: version of the choice of real images; None where they are not chosen.
        version: of the metric's definition.
    """

    num_samples: int | None = None
    data_order: int | None = None
    version: int = 1

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Definition:
        """Definition of the values in a line of metric-*.jsonl; lines of earlier revisions lack the newer keys."""
        return cls(**{key: line[key] for key in cls._fields if key in line})

    def __str__(self) -> str:
        order = "" if self.data_order is None else f", choice {self.data_order} of real images"
        return f"{self.num_samples} images{order}, version {self.version} of the metric"


@dataclasses.dataclass(frozen=True)
class RunCurve:
    """Values of a metric in one run.

    Attributes:
        name: folder name, with parent folders if runs share the name.
        options: content of options.json.
        kimg: thousands of images at each value, float [N], ascending.
        hours: training time up to each value, without interruptions, float [N].
        values: float [N].
        definition: of all values.
    """

    name: str
    options: Mapping[str, Any]
    kimg: Array
    hours: Array
    values: Array
    definition: Definition


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs whose options differ only in the seed, at the same numbers of images.

    Attributes:
        label: the options that distinguish these runs from others.
        runs: the runs.
        kimg, hours: float [N], as in RunCurve; hours are the mean over runs.
        mean, low, high: statistics of the values over runs, float [N].
    """

    label: str
    runs: Sequence[RunCurve]
    kimg: Array
    hours: Array
    mean: Array
    low: Array
    high: Array


def read_runs(folders: Sequence[Path], name: str) -> list[RunCurve]:
    """Read several run folders with `read_run`, and give them distinct names.

    Runs without a value, such as one that has just begun, are left out with a line on stderr if others have some.

    Raises:
        ValueError: a folder cannot be read, or none has a value.
    """
    runs: list[RunCurve] = []
    paths: list[tuple[str, ...]] = []
    lacking: list[NoValueError] = []
    for folder in folders:
        try:
            runs.append(read_run(folder, name))
            paths.append(folder.absolute().parts)
        except NoValueError as error:
            lacking.append(error)
    if lacking and not runs:
        raise lacking[0]
    for lack in lacking:
        print(f"left out: {lack}", file=sys.stderr)
    length = 1  # of the names, in folders
    while len({path[-length:] for path in paths}) < len(set(paths)):
        length += 1
    return [dataclasses.replace(run, name="/".join(path[-length:])) for run, path in zip(runs, paths, strict=True)]


def read_run(folder: Path, name: str) -> RunCurve:
    """Read a run folder.

    A change of --snap, --tick or --metrics_samples may change how values are measured. Those that cannot be compared
    with the last one are left out, with a line on stderr.

    Args:
        folder: the run folder.
        name: a result in metric-*.jsonl, such as swd, or a statistic in stats.jsonl, such as Loss/D/loss.

    Raises:
        ValueError: it is not a run folder, or a file is damaged.
        NoValueError: no value has this name; the message lists the names that exist.
    """
    try:
        options = json.loads((folder / "options.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: is not a run folder with a readable options.json ({error})") from error
    try:
        ticks, known = _read_values(folder)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder}: stats.jsonl or metric-*.jsonl is damaged ({error!r})") from error
    if name not in known:
        results = sorted(result for result in known if "/" not in result)
        there = f"its metrics are {', '.join(results)}" if results else "no metric has been computed yet"
        raise NoValueError(f"{folder}: has no values of {name!r}; {there}")
    points = sorted(known[name].items())
    _, (_, definition) = points[-1]
    kept = [(at, value) for at, (value, measured) in points if measured == definition]
    if others := sorted({str(measured) for _, (_, measured) in points if measured != definition}):
        print(
            f"{folder}: {len(points) - len(kept)} of {len(points)} values of {name} left out, because they were "
            f"measured differently ({'; '.join(others)}) than the last one ({definition})",
            file=sys.stderr,
        )
    kimg, values = np.transpose(kept)
    at_ticks, seconds = np.transpose([(0.0, 0.0), *ticks])
    hours = np.interp(kimg, at_ticks, np.cumsum(seconds) / 3600)
    return RunCurve(folder.name, options, kimg, hours, values, definition)


def _read_values(folder: Path) -> tuple[list[tuple[float, float]], dict[str, dict[float, tuple[float, Definition]]]]:
    """Read a run's files.

    Returns:
        (kimg, seconds since the previous tick) of each tick, and {name: {kimg: (value, definition)}}.
    """
    ticks = []
    known: dict[str, dict[float, tuple[float, Definition]]] = {}
    for line in read_json_lines(folder / "stats.jsonl"):
        kimg = line["Progress/kimg"]["mean"]
        ticks.append((kimg, line["Timing/sec_per_tick"]["mean"]))
        for statistic in line.keys() - {"timestamp"}:
            known.setdefault(statistic, {})[kimg] = (line[statistic]["mean"], Definition())
    for file in sorted(folder.glob("metric-*.jsonl")):
        for line in read_json_lines(file):
            for result, value in line["results"].items():
                known.setdefault(result, {})[line["kimg"]] = (value, Definition.of(line))
    return ticks, known


def group_runs(runs: Sequence[RunCurve]) -> list[Group]:
    """Group runs that differ only in the seed, in the order of their first runs.

    Raises:
        ValueError: values were measured differently, or runs of a group have no values at the same kimg.
    """
    names = {run.definition: run.name for run in runs}
    if len(names) > 1:
        each = "; ".join(f"{definition} in {name}" for definition, name in names.items())
        raise ValueError(f"values that were measured differently cannot be compared: {each}")
    shared = set.intersection(*(set(run.options) for run in runs)) - NOT_COMPARED  # older runs lack newer options
    differing = sorted(name for name in shared if len({json.dumps(run.options[name]) for run in runs}) > 1)
    groups: dict[str, list[RunCurve]] = {}
    for run in runs:
        groups.setdefault(json.dumps([run.options[name] for name in differing]), []).append(run)
    return [_group(group, differing) for group in groups.values()]


def _group(runs: list[RunCurve], differing: Sequence[str]) -> Group:
    start, stop = max(run.kimg[0] for run in runs), min(run.kimg[-1] for run in runs)
    if start > stop:
        raise ValueError(f"{runs[0].name} and {runs[-1].name} have no values at the same numbers of images")
    shared = [run.kimg[(run.kimg >= start) & (run.kimg <= stop)] for run in runs]
    kimg = min(filter(len, shared), key=len)  # the run that starts last contributes at least its first value
    values = np.array([np.interp(kimg, run.kimg, run.values) for run in runs])
    hours = np.mean([np.interp(kimg, run.kimg, run.hours) for run in runs], axis=0)
    label = ", ".join(f"{name}={runs[0].options[name]}" for name in differing)
    if not label or len(label) > MAX_LABEL:
        label = runs[0].name
    return Group(label, runs, kimg, hours, values.mean(0), values.min(0), values.max(0))
