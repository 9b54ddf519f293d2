"""The conversion as an Apache Beam pipeline: one element is one shard, so that no pixel goes through a shuffle.

Source and destination are paths that every worker sees.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path

from sg3tf.data.build.conversion import BuildConfig, convert
from sg3tf.data.build.shard_writer import Shard, write_shard
from sg3tf.data.build.sources import Source, find_source
from sg3tf.data.errors import DataError
from sg3tf.utils.extras import require

Part = tuple[str, range]  # file name of a shard, indices of its images


def beam_shards(
    source: Path, max_images: int | None, folder: Path, recipe: BuildConfig, plan: list[Part], options: list[str]
) -> list[Shard]:
    """Writes the shards of `plan` into `folder`.

    Args:
      source, max_images: what `find_source` takes.
      folder: an existing one.
      recipe: what to make.
      plan: of all shards.
      options: of the pipeline, as on Beam's own command lines; without --runner it is the DirectRunner.

    Raises:
      DataError: apache-beam is not installed, or the pipeline failed.
    """
    beam = require("apache_beam", extra="beam", purpose="--runner=beam")
    pipeline_options = require("apache_beam.options.pipeline_options", extra="beam", purpose="--runner=beam")
    write = partial(_write, source.absolute(), max_images, folder.absolute(), recipe)
    try:
        with beam.Pipeline(options=pipeline_options.PipelineOptions(options)) as pipeline:
            shards = pipeline | "Plan" >> beam.Create(plan) | "Spread" >> beam.Reshuffle()
            _ = shards | "Write" >> beam.Map(write)
    except (RuntimeError, ValueError, OSError) as error:  # Beam wraps what happened in a worker
        raise DataError(f"--runner=beam: the pipeline failed: {_last_line(error)}") from error
    return [_take_report(folder / file) for file, _ in plan]


def _write(source: Path, max_images: int | None, folder: Path, recipe: BuildConfig, part: Part) -> None:
    """Writes one shard and, beside it, what `Shard` says; a worker may be asked twice, even at the same time."""
    file, rows = part
    found = _find(source, max_images)
    images = map(partial(convert, recipe, found.read, found.label), found.entries[rows.start : rows.stop])
    attempt = folder / uuid.uuid4().hex
    shard = write_shard(attempt, images)
    report = attempt.with_suffix(".json")
    report.write_text(json.dumps({**asdict(shard), "file": file}), encoding="utf-8")
    os.replace(attempt, folder / file)
    os.replace(report, _report(folder / file))


@lru_cache(maxsize=1)
def _find(source: Path, max_images: int | None) -> Source:
    """Once per worker: sending the names of all images with the pipeline would exceed what Dataflow accepts."""
    return find_source(source, max_images)


def _report(shard: Path) -> Path:
    return shard.with_suffix(".json")


def _take_report(shard: Path) -> Shard:
    report = Shard(**json.loads(_report(shard).read_text(encoding="utf-8")))
    _report(shard).unlink()
    return report


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
