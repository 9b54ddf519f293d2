"""Build a TFRecord data set from images: a folder, a zip file, CIFAR-10, MNIST, LMDB or other TFRecords.

sg3tf data build --source=photos --outdir=datasets/photos-256 --resolution=256
"""

from __future__ import annotations

import shlex
from pathlib import Path

from absl import flags

from sg3tf.data.build.builder import build
from sg3tf.data.conversion import (
    CROPS,
    DEFAULT_ASPECT,
    FILTERS,
    FORMATS,
    BuildConfig,
    parse_aspect,
    resolution_of_aspect,
)
from sg3tf.data.encoding import Encoding
from sg3tf.data.errors import DataError
from sg3tf.utils import flags as shared
from sg3tf.utils.machine import num_cores


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of the command."""
    flags.DEFINE_string(
        "source",
        None,
        "Images to convert: a folder or zip file, CIFAR-10, MNIST, an LMDB folder, img2dataset's files, or TFRecords; "
        "docs/data.md lists the kinds, which are recognized by their content.",
        required=True,
        flag_values=options,
    )
    shared.define_outdir(options, "Folder to create; it must not exist.")
    shared.define_resolution(
        options, "Image size: the side of squares, a power of two, or WIDTHxHEIGHT, such as 512x256."
    )
    flags.mark_flag_as_required("resolution", options)
    flags.DEFINE_enum(
        "crop",
        "center",
        CROPS,
        "center: the largest centered area with the shape of --resolution. wide: the one with the shape of --aspect, "
        "with black bars. pad: the whole image, with black bars, or transparent ones with --channels=4. none: images "
        "must already have the shape of --resolution.",
        flag_values=options,
    )
    flags.DEFINE_string(
        "aspect",
        None,
        "WIDTH:HEIGHT of the images, whose longer side is --resolution; with --crop=wide, of the area kept in a square "
        "(default: 4:3).",
        flag_values=options,
    )
    flags.DEFINE_enum("filter", "lanczos", FILTERS, "Resampling filter for resizing.", flag_values=options)
    flags.DEFINE_enum(
        "channels",
        "3",
        ["1", "3", "4"],
        "Channels of the images: 1 grayscale, 3 RGB, 4 RGBA.",
        flag_values=options,
    )
    flags.DEFINE_enum(
        "format",
        "shards",
        FORMATS,
        "shards: sharded records of image files with a manifest. ffhq: NVIDIA's multi-resolution records.",
        flag_values=options,
    )
    flags.DEFINE_string(
        "encoding",
        "png",
        "Image encoding for --format=shards: png or webp (lossless), jpeg:QUALITY or webp:QUALITY.",
        flag_values=options,
    )
    flags.DEFINE_integer("shards", 8, "Number of files, for --format=shards.", flag_values=options)
    flags.DEFINE_integer(
        "workers",
        num_cores(),
        "Number of processes that convert images, for --runner=local.",
        lower_bound=1,
        flag_values=options,
    )
    flags.DEFINE_bool("strict", False, "Fail on an unreadable image instead of skipping it.", flag_values=options)
    flags.DEFINE_bool("labels", True, "Store the labels of the source; --nolabels omits them.", flag_values=options)
    flags.DEFINE_bool(
        "missing_labels",
        False,
        "Keep images without a label, in a folder or zip file of images; their label is all zeros.",
        flag_values=options,
    )
    flags.DEFINE_bool(
        "standardize",
        False,
        "Treat labels as numbers, and standardize them to mean 0 and standard deviation 1.",
        flag_values=options,
    )
    flags.DEFINE_integer(
        "bits",
        None,
        "Bits per pixel of grayscale images with more than 8, whose largest value becomes white; default: 12 if all "
        "values are below 4096, otherwise 16.",
        flag_values=options,
    )
    flags.DEFINE_float(
        "max_megapixels",
        178,
        "Skip images with more million pixels than this, without decoding them.",
        flag_values=options,
    )
    flags.DEFINE_integer(
        "max_images",
        None,
        "Use at most this many images, spread over the source.",
        lower_bound=1,
        flag_values=options,
    )
    flags.DEFINE_enum(
        "runner",
        "local",
        ("local", "beam"),
        "local: processes on this machine. beam: an Apache Beam pipeline.",
        flag_values=options,
    )
    flags.DEFINE_string(
        "beam_options",
        "",
        "Options of the Beam pipeline, as on Beam's command line, for example --runner=FlinkRunner.",
        flag_values=options,
    )


def main(options: flags.FlagValues) -> None:
    """Build the data set that the flags describe, and print a summary."""
    if not options.source:
        raise DataError("--source is missing; give the images to convert")
    _refuse_flags_without_effect(options)
    aspect, resolution = parse_aspect(options.aspect) if options.aspect else DEFAULT_ASPECT, options.resolution
    if options.aspect and options.crop != "wide":
        resolution = resolution_of_aspect(resolution, aspect)
    config = BuildConfig(
        resolution=resolution,
        crop=options.crop,
        channels=int(options.channels),
        resize=options.filter,
        aspect=aspect,
        format=options.format,
        shards=options.shards,
        encoding=Encoding.parse(options.encoding),
        bits=options.bits,
        max_megapixels=options.max_megapixels,
        labels=options.labels,
        missing_labels=options.missing_labels,
        standardize=options.standardize,
    )
    report = build(
        Path(options.source),
        Path(options.outdir),
        config,
        workers=options.workers,
        strict=options.strict,
        max_images=options.max_images,
        beam_options=shlex.split(options.beam_options) if options.runner == "beam" else None,
    )
    print(f"{options.outdir}: {report.num_images} images at {resolution}, {report.num_skipped} skipped")
    for line in report.lines():
        print(f"  {line}")


def _refuse_flags_without_effect(options: flags.FlagValues) -> None:
    if options.beam_options and options.runner != "beam":
        raise DataError(f"--beam_options={options.beam_options}: needs --runner=beam; give it, or leave this out")
    if options["shards"].present and options.format == "ffhq":
        raise DataError(f"--shards={options.shards}: is for --format=shards; leave it out with --format=ffhq")
    if options["workers"].present and options.runner == "beam":
        raise DataError(f"--workers={options.workers}: is for --runner=local; leave it out with --runner=beam")
