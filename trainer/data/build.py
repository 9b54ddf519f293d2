"""Makes a data set of TFRecords from a folder or zip file of images.

python -m trainer.data.build --source=photos --dest=datasets/photos-256 --resolution=256
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from absl import flags
from tqdm import tqdm

from sg3tf.atomic import whole_folder
from trainer.data.errors import DataError, run_command
from trainer.data.ffhq import MIN_RESOLUTION, encode_levels, ffhq_writer
from trainer.data.images import CROPS, RESIZE_FILTER, load_square
from trainer.data.labels import Label, LabelSpec
from trainer.data.records import record_writer
from trainer.data.shards import ContentDigest, encode_png, write_manifest
from trainer.data.sources import Source, find_images, read_file
from trainer.data.workers import map_in_order

FORMATS = ("shards", "ffhq")


@dataclass(frozen=True)
class Recipe:
    """How images become records.

    Attributes:
      resolution: of the result, a power of two from 4.
      crop: "center" or "none".
      channels: 1, 3 or 4.
      format: "shards" for the project's own records, "ffhq" for NVIDIA's.
      shards: number of files of the former.
    """

    resolution: int
    crop: str = "center"
    channels: int = 3
    format: str = "shards"
    shards: int = 8

    def __post_init__(self) -> None:
        if self.resolution < MIN_RESOLUTION or self.resolution & (self.resolution - 1):
            raise DataError(f"--resolution={self.resolution} must be a power of two from 4")
        if self.shards < 1:
            raise DataError(f"--shards={self.shards} must be at least 1")


@dataclass(frozen=True)
class Converted:
    """One image: `payloads` are its records, or else `problem` says what is wrong with it."""

    name: str
    label: Label
    payloads: list[bytes]
    digest: bytes = b""
    problem: str = ""


def convert(recipe: Recipe, source: Path, spec: LabelSpec, entry: tuple[str, Label]) -> Converted:
    """Makes the records of one image; runs in a worker process."""
    name, label = entry
    try:
        encoded = read_file(source, name)
        image = load_square(encoded, recipe.resolution, recipe.crop, recipe.channels)
    except Exception as error:  # Pillow raises many kinds for damaged files
        return Converted(name, label, [], problem=f"{error}" or type(error).__name__)
    ffhq = recipe.format == "ffhq"
    payloads = encode_levels(image) if ffhq else [encode_png(image, label)]
    return Converted(name, label, payloads, ContentDigest.of(image, spec.row(label, name)))


def build(
    source: Path,
    dest: Path,
    recipe: Recipe,
    *,
    workers: int = 1,
    strict: bool = False,
    max_images: int | None = None,
) -> tuple[int, int]:
    """Builds a data set; the same input gives the same bytes whatever `workers` is.

    Args:
      source: folder or zip file of images.
      dest: folder to make; it appears whole or not at all.
      recipe: what to make.
      workers: processes; 1 works in this one.
      strict: stop at an image that cannot be read, instead of naming and skipping it.
      max_images: use at most this many, spread evenly over the source.

    Returns:
      How many images it holds and how many were skipped.

    Raises:
      FileExistsError: dest exists.
      DataError: source holds no usable images, or (strict) an image is bad.
    """
    with whole_folder(dest) as folder:
        found = find_images(source)
        total = min(len(found.entries), max_images or len(found.entries))
        entries = [found.entries[i * len(found.entries) // total] for i in range(total)]
        function = partial(convert, recipe, source, found.label)
        sink = _ffhq_sink if recipe.format == "ffhq" else _shard_sink
        num_images = 0
        with (
            sink(folder, dest.name, recipe, found, total) as add,
            tqdm(total=total, unit="img", desc=dest.name) as bar,
        ):
            for index, image in enumerate(map_in_order(function, entries, workers)):
                bar.update()
                if not image.problem:
                    add(index, image)
                    num_images += 1
                elif strict:
                    raise DataError(f"{source}: {image.name}: {image.problem}")
                else:
                    bar.write(f"skipped {image.name}: {image.problem}", file=sys.stderr)
        if not num_images:
            raise DataError(f"{source}: none of the {total} images could be used")
    return num_images, total - num_images


Add = Callable[[int, Converted], None]


@contextmanager
def _ffhq_sink(folder: Path, name: str, recipe: Recipe, found: Source, total: int) -> Iterator[Add]:
    with ffhq_writer(folder, name, recipe.resolution) as add:
        yield lambda index, image: add(image.payloads, image.label)


@contextmanager
def _shard_sink(folder: Path, name: str, recipe: Recipe, found: Source, total: int) -> Iterator[Add]:
    """Cuts the images into shards by their place in the source, then writes the manifest."""
    num_shards = min(recipe.shards, total)
    files = [f"{name}-{i:05d}-of-{num_shards:05d}.tfrecords" for i in range(num_shards)]
    counts = [0] * num_shards
    digest = ContentDigest()
    with ExitStack() as stack:
        writers = [stack.enter_context(record_writer(folder / file)) for file in files]

        def add(index: int, image: Converted) -> None:
            shard = index * num_shards // total
            writers[shard](image.payloads[0])
            counts[shard] += 1
            digest.add(image.digest)

        yield add
    write_manifest(
        folder,
        {
            "name": name,
            "resolution": recipe.resolution,
            "channels": recipe.channels,
            "num_images": sum(counts),
            "num_skipped": total - sum(counts),
            "label": {"kind": found.label.kind, "dim": found.label.dim, "classes": found.classes},
            "crop": recipe.crop,
            "resize_filter": RESIZE_FILTER,
            "digest": str(digest),
            "shards": [{"file": f, "num_images": n} for f, n in zip(files, counts, strict=True)],
        },
    )


def _define_flags() -> None:
    flags.DEFINE_string("source", None, "folder or zip file of images", required=True)
    flags.DEFINE_string("dest", None, "folder to make; must not exist", required=True)
    flags.DEFINE_integer("resolution", None, "width and height, a power of two", required=True)
    flags.DEFINE_enum("crop", "center", CROPS, "largest centred square, or want square images")
    flags.DEFINE_enum("channels", "3", ["1", "3", "4"], "1 grey, 3 RGB, 4 RGBA")
    flags.DEFINE_enum("format", "shards", FORMATS, "own records, or NVIDIA's FFHQ layout")
    flags.DEFINE_integer("shards", 8, "number of files (format shards)")
    flags.DEFINE_integer("workers", os.cpu_count(), "processes", lower_bound=1)
    flags.DEFINE_bool("strict", False, "stop at a bad image instead of skipping it")
    flags.DEFINE_integer("max_images", None, "use at most this many", lower_bound=1)


def main() -> None:
    """The command line."""
    args = flags.FLAGS
    recipe = Recipe(args.resolution, args.crop, int(args.channels), args.format, args.shards)
    num_images, num_skipped = build(
        Path(args.source),
        Path(args.dest),
        recipe,
        workers=args.workers,
        strict=args.strict,
        max_images=args.max_images,
    )
    print(f"{args.dest}: {num_images} images at {args.resolution}, {num_skipped} skipped")


if __name__ == "__main__":
    _define_flags()
    run_command(main)
