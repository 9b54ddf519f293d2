"""Conversion of a source of images to a data set."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

from sg3tf.data.build.beam import beam_shards
from sg3tf.data.build.report import Report, add, printable
from sg3tf.data.build.shard_writer import Shard, plan_shards, write_build_manifest, write_shard
from sg3tf.data.conversion import BuildConfig, Converted, convert
from sg3tf.data.errors import DataError
from sg3tf.data.ffhq import ffhq_writer, write_classes
from sg3tf.data.sources import find_source
from sg3tf.utils.checksums import write_checksums
from sg3tf.utils.files import atomic_directory
from sg3tf.utils.parallel import map_in_order
from sg3tf.utils.progress import Progress, print_above_bar


def build(
    source: Path,
    dest: Path,
    config: BuildConfig,
    *,
    workers: int = 1,
    strict: bool = False,
    max_images: int | None = None,
    beam_options: list[str] | None = None,
) -> Report:
    """Build a data set; the same input gives the same bytes, regardless of the number of processes.

    Args:
        source: any collection that `find_source` recognizes.
        dest: folder to create, atomically.
        config: properties of the data set.
        workers: number of processes; 1 to convert in this process.
        strict: fail if an image cannot be read, instead of reporting and skipping it.
        max_images: use at most this many images, spread over the source.
        beam_options: options of an Apache Beam pipeline that converts instead of `workers`; None for no pipeline.

    Returns:
        Summary of the images found, used and skipped.

    Raises:
        FileExistsError: dest exists.
        DataError: the source has no usable images, an image is bad (strict), or the pipeline failed.
        MissingExtraError: apache-beam or lmdb is needed and not installed.
        ChildProcessError: a worker process was killed.
    """
    if beam_options is not None and config.format == "ffhq":
        raise DataError("--format=ffhq is written by one process; --runner=beam needs --format=shards")
    with atomic_directory(dest) as folder:
        found = find_source(source, max_images, config.labels, config.missing_labels, config.standardize)
        report = Report(found)
        if config.format == "ffhq" and found.label.dim and (missing := report.num_unlabeled()):
            raise DataError(
                f"{source}: {missing} images have no label, which --format=ffhq cannot hold; give --format=shards or "
                "--nolabels"
            )
        if config.format == "ffhq" and found.scale:
            raise DataError(
                f"{source}: the labels are standardized, and --format=ffhq cannot hold their means; give "
                "--format=shards or --nolabels"
            )
        for name, reason in found.unused:
            _print_skipped(source, name, reason, strict)
        shards: list[Shard] = []
        if beam_options is not None:
            plan = plan_shards(dest.name, config.shards, len(found.entries))
            shards = beam_shards(source, max_images, folder, config, plan, beam_options)
            for shard in shards:
                for name, reason in shard.skipped.items():
                    _print_skipped(source, name, reason, strict)
                report.skipped.update(shard.skipped)
                for note, (count, name) in shard.notes.items():
                    add(report.notes, note, name, count)
        else:
            with closing(_converted(report, config, workers, strict, dest.name)) as images:
                if config.format == "ffhq":
                    _write_ffhq(folder, dest.name, config, images)
                    if found.classes:
                        write_classes(folder, dest.name, found.classes)
                    if found.label.dim:
                        write_checksums(folder, ("*.labels",))  # records have their own
                else:
                    plan = plan_shards(dest.name, config.shards, len(found.entries))
                    shards = [write_shard(folder / file, islice(images, len(rows))) for file, rows in plan]
        if not report.num_images:
            raise DataError(f"{source}: none of the {report.num_skipped} images could be used")
        if config.format == "shards":
            write_build_manifest(folder, dest.name, config, report, shards)
    return report


def _converted(report: Report, config: BuildConfig, workers: int, strict: bool, name: str) -> Generator[Converted]:
    """Convert all images in order, with a progress bar; record the outcome of each in `report`."""
    found = report.source
    function = partial(convert, config, found.read, found.label)
    with Progress(len(found.entries), description=printable(name)) as progress:
        for image in map_in_order(function, found.entries, workers):
            progress.update()
            if image.error:
                _print_skipped(found.path, image.name, image.error, strict)
                report.skipped[image.name] = image.error
            for note in image.notes:
                add(report.notes, note, image.name)
            yield image


def _print_skipped(source: Path, name: str, error: str, strict: bool) -> None:
    if strict:
        raise DataError(f"{source}: {name}: {error}")
    print_above_bar(printable(f"skipped {name}: {error}"), sys.stderr)


def _write_ffhq(folder: Path, name: str, config: BuildConfig, images: Iterator[Converted]) -> None:
    with ffhq_writer(folder, name, config.size.width) as append:
        for image in images:
            if not image.error:
                append(image.payloads, image.label)
