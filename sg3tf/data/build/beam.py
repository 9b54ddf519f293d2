"""Conversion as an Apache Beam pipeline. Each element is a shard, so that no pixels are shuffled between workers.

Every worker must be able to read the source and write to the destination under the same paths.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path

from sg3tf.data.build.shard_writer import Shard, write_shard
from sg3tf.data.conversion import BuildConfig, convert
from sg3tf.data.errors import DataError
from sg3tf.data.sources import Source, find_source
from sg3tf.utils.extras import require

Part = tuple[str, range]  # file name of a shard, indices of its images


def beam_shards(
    source: Path, max_images: int | None, folder: Path, config: BuildConfig, plan: list[Part], options: list[str]
) -> list[Shard]:
    """Write the shards of `plan` into `folder`.

    Args:
        source, max_images: arguments of `find_source`.
        folder: an existing folder.
        config: properties of the data set.
        plan: file name and indices of every shard.
        options: pipeline options, as on Beam's command line; the default runner is the DirectRunner.

    Raises:
        MissingExtraError: apache-beam is not installed.
        DataError: the pipeline failed.
    """
    beam = require("apache_beam", extra="beam", purpose="--runner=beam")
    pipeline_options = require("apache_beam.options.pipeline_options", extra="beam", purpose="--runner=beam")
    _find.cache_clear()  # of an earlier build in this process
    write = partial(_write, source.absolute(), max_images, folder.absolute(), config)
    try:
        with beam.Pipeline(options=pipeline_options.PipelineOptions(options)) as pipeline:
            shards = pipeline | "Plan" >> beam.Create(plan) | "Spread" >> beam.Reshuffle()
            _ = shards | "Write" >> beam.Map(write)
    except (RuntimeError, ValueError, OSError) as error:  # Beam wraps workers' exceptions
        raise DataError(
            f"--runner=beam: the pipeline failed: {_last_line(str(error)) or type(error).__name__}"
        ) from error
    return [_take_report(folder / file) for file, _ in plan]


def _write(source: Path, max_images: int | None, folder: Path, config: BuildConfig, part: Part) -> None:
    """Write one shard and, next to it, its report. Beam may run this twice per shard, even concurrently."""
    file, rows = part
    found = _find(source, max_images, config)
    images = map(partial(convert, config, found.read, found.label), found.entries[rows.start : rows.stop])
    attempt = folder / uuid.uuid4().hex
    shard = write_shard(attempt, images)
    report = attempt.with_suffix(".json")
    report.write_text(json.dumps({**asdict(shard), "file": file}), encoding="utf-8")
    os.replace(attempt, folder / file)
    os.replace(report, _report(folder / file))


@lru_cache(maxsize=1)
def _find(source: Path, max_images: int | None, config: BuildConfig) -> Source:
    """List the source once per worker, because the names of all images would exceed Dataflow's request size limit."""
    return find_source(source, max_images, config.labels, config.missing_labels, config.standardize)


def _report(shard: Path) -> Path:
    return shard.with_suffix(".json")


def _take_report(shard: Path) -> Shard:
    report = Shard(**json.loads(_report(shard).read_text(encoding="utf-8")))
    _report(shard).unlink()
    return report


def _last_line(text: str) -> str:
    """Return the last nonempty line, which names the exception in Python's tracebacks."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
