"""Makes a data set of TFRecords from images: a folder, a zip file, CIFAR-10, MNIST, LMDB or other TFRecords.

python -m sg3tf.data.build --source=photos --dest=datasets/photos-256 --resolution=256
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

from absl import flags
from tqdm import tqdm

from sg3tf.data.build.beam import beam_shards
from sg3tf.data.build.conversion import CROPS, FILTERS, FORMATS, BuildConfig, Converted, convert, parse_aspect
from sg3tf.data.build.shard_writer import finish, plan_shards, write_shard
from sg3tf.data.build.sources import Source, find_source
from sg3tf.data.errors import DataError, run_command
from sg3tf.data.ffhq import ffhq_writer
from sg3tf.utils.files import atomic_directory
from sg3tf.utils.parallel import map_in_order


def build(
    source: Path,
    dest: Path,
    recipe: BuildConfig,
    *,
    workers: int = 1,
    strict: bool = False,
    max_images: int | None = None,
    beam_options: list[str] | None = None,
) -> tuple[int, int]:
    """Builds a data set; the same input gives the same bytes whatever converts it.

    Args:
      source: what `find_source` recognises.
      dest: folder to make; it appears whole or not at all.
      recipe: what to make.
      workers: processes; 1 works in this one.
      strict: fail if an image cannot be read, instead of naming and skipping it.
      max_images: use at most this many, spread evenly over the source.
      beam_options: if given, an Apache Beam pipeline with these options converts, instead of `workers`.

    Returns:
      How many images it holds and how many were skipped.

    Raises:
      FileExistsError: dest exists.
      DataError: source holds no usable images, (strict) an image is bad, or the pipeline cannot run.
    """
    if beam_options is not None and recipe.format == "ffhq":
        raise DataError("--format=ffhq is written by one process; --runner=beam needs --format=shards")
    with atomic_directory(dest) as folder:
        found = find_source(source, max_images)
        total = len(found.entries)
        if beam_options is None:
            write = _write_ffhq if recipe.format == "ffhq" else _write_shards
            with closing(_converted(found, recipe, workers, strict, dest.name)) as images:
                num_images = write(folder, dest.name, recipe, found, images)
        else:
            plan = plan_shards(dest.name, recipe.shards, total)
            shards = beam_shards(source, max_images, folder, recipe, plan, beam_options)
            for name, problem in (skipped for shard in shards for skipped in shard.skipped):
                _complain(source, name, problem, strict)
            num_images = finish(folder, dest.name, recipe, found, shards)
        if not num_images:
            raise DataError(f"{source}: none of the {total} images could be used")
    return num_images, total - num_images


def _converted(found: Source, recipe: BuildConfig, workers: int, strict: bool, name: str) -> Generator[Converted]:
    """Converts all images in order, with a progress bar and a word about those that cannot be."""
    function = partial(convert, recipe, found.read, found.label)
    with tqdm(total=len(found.entries), unit="img", desc=name) as bar:
        for image in map_in_order(function, found.entries, workers):
            bar.update()
            if image.problem:
                _complain(found.path, image.name, image.problem, strict)
            yield image


def _complain(source: Path, name: str, problem: str, strict: bool) -> None:
    if strict:
        raise DataError(f"{source}: {name}: {problem}")
    tqdm.write(f"skipped {name}: {problem}", file=sys.stderr)


def _write_ffhq(folder: Path, name: str, recipe: BuildConfig, found: Source, images: Iterator[Converted]) -> int:
    num_images = 0
    with ffhq_writer(folder, name, recipe.resolution) as add:
        for image in images:
            if not image.problem:
                add(image.payloads, image.label)
                num_images += 1
    return num_images


def _write_shards(folder: Path, name: str, recipe: BuildConfig, found: Source, images: Iterator[Converted]) -> int:
    plan = plan_shards(name, recipe.shards, len(found.entries))
    shards = [write_shard(folder / file, islice(images, len(rows))) for file, rows in plan]
    return finish(folder, name, recipe, found, shards)


def _define_flags() -> None:
    flags.DEFINE_string("source", None, "images: docs/data.md names the kinds, known by their content", required=True)
    flags.DEFINE_string("dest", None, "folder to make; must not exist", required=True)
    flags.DEFINE_integer("resolution", None, "width and height, a power of two", required=True)
    flags.DEFINE_enum("crop", "center", CROPS, "largest centred square, or area of --aspect, or want square images")
    flags.DEFINE_string("aspect", "4:3", "width:height of what --crop=wide keeps; black bars make it square")
    flags.DEFINE_enum("filter", "lanczos", FILTERS, "for resizing")
    flags.DEFINE_enum("channels", "3", ["1", "3", "4"], "1 grey, 3 RGB, 4 RGBA")
    flags.DEFINE_enum("format", "shards", FORMATS, "own records, or NVIDIA's FFHQ layout")
    flags.DEFINE_integer("shards", 8, "number of files (format shards)")
    flags.DEFINE_integer("workers", os.cpu_count(), "processes (runner local)", lower_bound=1)
    flags.DEFINE_bool("strict", False, "fail at a bad image instead of skipping it")
    flags.DEFINE_integer("max_images", None, "use at most this many", lower_bound=1)
    flags.DEFINE_enum("runner", "local", ("local", "beam"), "own processes, or an Apache Beam pipeline")
    flags.DEFINE_string("beam_options", "", "of the pipeline, as on Beam's own command lines: --runner=FlinkRunner ...")


def main() -> None:
    """Run the command line."""
    _define_flags()
    run_command(_main)


def _main() -> None:
    args = flags.FLAGS
    recipe = BuildConfig(
        resolution=args.resolution,
        crop=args.crop,
        channels=int(args.channels),
        resize=args.filter,
        aspect=parse_aspect(args.aspect),
        format=args.format,
        shards=args.shards,
    )
    num_images, num_skipped = build(
        Path(args.source),
        Path(args.dest),
        recipe,
        workers=args.workers,
        strict=args.strict,
        max_images=args.max_images,
        beam_options=shlex.split(args.beam_options) if args.runner == "beam" else None,
    )
    print(f"{args.dest}: {num_images} images at {args.resolution}, {num_skipped} skipped")
