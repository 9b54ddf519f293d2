"""python -m trainer.main: trains StyleGAN3 on TFRecords."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from absl import app, flags, logging

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

import tensorflow as tf

from sg3tf import metrics
from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.errors import DataError
from sg3tf.models.configs import PRECISIONS, PRESETS, ConfigError
from trainer import augment, defaults, dry_run, evaluation, run_dir, transfer
from trainer.config import AUGMENTATIONS, Options
from trainer.distribution import HELP as STRATEGY_HELP
from trainer.distribution import Workers, make_strategy
from trainer.errors import OptionError, TrainingError
from trainer.loop import train

FLAGS = flags.FLAGS
# What is trained, on what.
flags.DEFINE_string("outdir", "runs", "where run folders are made")
flags.DEFINE_enum("cfg", "stylegan3-t", PRESETS, "architecture")
flags.DEFINE_string("data", None, "TFRecords: FFHQ-layout folder or file, or a folder made by sg3tf.data.build")
flags.DEFINE_integer("resolution", None, "resolution to train at; default: the largest in --data")
flags.DEFINE_bool("mirror", False, "flip half of the images left to right")
flags.DEFINE_bool("cond", False, "train with the labels of the data set")
flags.DEFINE_integer("max_images", None, "use only so many images of the data set, evenly spread")
flags.DEFINE_integer("validation", 0, "hold out so many images, evenly spread, that D only judges")
flags.DEFINE_integer("cbase", 32768, "channel base: capacity multiplier (config R doubles it in G)")
flags.DEFINE_integer("cmax", 512, "channel maximum (config R doubles it in G)")
flags.DEFINE_integer(
    "map_depth", None, "dense layers of the mapping network; default: 2, StyleGAN2 and configs A to C 8"
)
flags.DEFINE_string(
    "init_from", None, "begin with the weights of a run, a checkpoint or a .keras file (transfer learning)"
)
# How it is trained.
flags.DEFINE_integer("batch", None, "total batch size, in images")
flags.DEFINE_float("gamma", None, "weight of the R1 penalty; default: the published one, by resolution and batch")
flags.DEFINE_float("kimg", 25000.0, "length of the run, in thousands of images")
flags.DEFINE_float("glr", None, "learning rate of G; default: 0.0025, StyleGAN2 0.002")
flags.DEFINE_float("dlr", 0.002, "learning rate of D")
flags.DEFINE_integer("mbstd_group", 4, "images per group of the minibatch standard deviation")
flags.DEFINE_float(
    "style_mixing", None, "share of images with the styles of two latents; default: 0, StyleGAN2 and A to C 0.9"
)
flags.DEFINE_float("pl_weight", None, "weight of path length regularisation; default: 0, StyleGAN2 and A to C 2")
flags.DEFINE_integer("freezed", 0, "keep the first so many convolutions of D as they are")
flags.DEFINE_enum(
    "precision", None, list(PRECISIONS), "of the four highest resolutions; default: fp16 on GPUs, else fp32"
)
flags.DEFINE_bool("fp32", False, "the same as --precision=fp32")
flags.DEFINE_integer("seed", 0, "of every random draw")
# Augmentation.
flags.DEFINE_enum("aug", "ada", AUGMENTATIONS, "none, with a fixed probability, or as much as D overfits")
flags.DEFINE_enum("augpipe", None, list(augment.PIPES), "transforms; default: bgc")
flags.DEFINE_float("p", None, "probability of every transform, for --aug=fixed")
flags.DEFINE_float("target", None, f"what --aug=ada keeps the heuristic at; default: {augment.TARGET}")
flags.DEFINE_enum("ada_heuristic", None, list(augment.SOURCES), "r_t (default), or r_v, which needs --validation")
flags.DEFINE_float(
    "ada_kimg",
    None,
    f"kimg in which p can get from 0 to 1; default: {augment.KIMG:g}, {augment.KIMG_FROM_MODEL:g} with --init_from",
)
# Where it is trained.
flags.DEFINE_string("strategy", "auto", f"devices: {STRATEGY_HELP}")
flags.DEFINE_integer("batch_per_replica", None, "images per device at a time; default: --batch / devices")
flags.DEFINE_integer("workers", 3, "threads that read and decode")
flags.DEFINE_float("cache", 0, "keep decoded images in memory, at most so many gigabytes")
# What it leaves.
flags.DEFINE_float("tick", 4.0, "statistics every so many kimg")
flags.DEFINE_integer("snap", 50, "image grid, .keras snapshot and metrics every so many ticks")
flags.DEFINE_integer("checkpoint", 10, "checkpoint to resume from every so many ticks")
flags.DEFINE_integer("keep_checkpoints", 2, "how many of them stay")
flags.DEFINE_integer("max_bad_ticks", 3, "stop after so many ticks in a row with gradients that are not finite")
flags.DEFINE_list("metrics", [], f"computed at snapshots: {', '.join(metrics.METRICS)}")
flags.DEFINE_string("detector_dir", None, "folder with the networks that metrics look with; see docs/metrics.md")
flags.DEFINE_integer("metrics_samples", None, "images for each metric; default: as published, 50000")
flags.DEFINE_bool("histograms", False, "weight histograms in TensorBoard at snapshots")
flags.DEFINE_list("profile_steps", [], "record the steps from a until before b of this process, a,b")
flags.DEFINE_string(
    "resume", None, "'latest' (continue the newest like run in --outdir, or begin), or a run or checkpoint"
)
flags.DEFINE_string("desc", "", "appended to the name of the run folder")
flags.DEFINE_bool("dry_run", False, "print options, networks, memory and steps, and exit")
flags.mark_flags_as_required(["data", "batch"])

#: Flags that are fields of Options under the same name.
_SAME = [
    *("cfg", "data", "mirror", "cond", "max_images", "validation", "cbase", "cmax", "map_depth", "init_from"),
    *("batch", "gamma", "kimg", "glr", "dlr", "mbstd_group", "style_mixing", "pl_weight", "freezed", "precision"),
    *("seed", "aug", "augpipe", "p", "target", "ada_heuristic", "ada_kimg", "strategy", "workers", "cache", "tick"),
    *("snap", "checkpoint", "keep_checkpoints", "max_bad_ticks", "metrics_samples", "detector_dir", "histograms"),
    "desc",
]


def main(argv: list[str]) -> int:
    """Parses flags, opens the data, trains; returns the exit status."""
    logging.set_verbosity(logging.WARNING)  # TensorFlow's notes on its own doings
    if len(argv) > 1:
        return _fail(f"unexpected argument {argv[1]!r}: options are written --name=value")
    try:
        dataset, held_out = _open_data()
        strategy = make_strategy(FLAGS.strategy)
        options = _options(dataset, strategy)
        if FLAGS.dry_run:
            print(dry_run.describe(options, strategy.num_replicas_in_sync), end="")
            return 0
        run, checkpoint = _run_folder(options, Workers(strategy).is_chief)
        finished = train(options, dataset, held_out, strategy, run, checkpoint)
    except (OptionError, ConfigError, DataError, TrainingError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:  # before the loop, or the second one
        return _fail("interrupted; --resume=latest continues at the last checkpoint, if there is one")
    if not finished:
        print(f"Stopped at a checkpoint. Continue with:\n  {_resume_command(run)}")
        return 130
    return 0


def _open_data() -> tuple[Dataset, Dataset | None]:
    """The images to train on, and those held out."""
    dataset = open_dataset(FLAGS.data, resolution=FLAGS.resolution, use_labels=FLAGS.cond, max_images=FLAGS.max_images)
    if FLAGS.cache:
        dataset = dataset.cached(FLAGS.cache * 1e9)
    return dataset.split(FLAGS.validation) if FLAGS.validation else (dataset, None)


def _options(dataset: Dataset, strategy: tf.distribute.Strategy) -> Options:
    """Everything resolved and checked, before anything is made."""
    replicas = strategy.num_replicas_in_sync
    if FLAGS.batch % replicas:
        raise OptionError(f"--batch={FLAGS.batch}: must be a multiple of the {replicas} devices of --strategy")
    if FLAGS.fp32 and FLAGS.precision not in (None, "fp32"):
        raise OptionError(f"--fp32 and --precision={FLAGS.precision} contradict each other; leave one of them out")
    given = {name: FLAGS[name].value for name in _SAME}
    given["precision"] = "fp32" if FLAGS.fp32 else given["precision"]
    options = Options(
        **defaults.resolve_defaults(given, resolution=dataset.resolution, on_gpu=_on_gpu(strategy)),
        data_name=dataset.name,
        data_digest=dataset.digest,
        resolution=dataset.resolution,
        image_channels=dataset.channels,
        num_images=len(dataset),
        label_dim=dataset.label_dim,
        batch_per_replica=FLAGS.batch_per_replica or FLAGS.batch // replicas,
        metrics=tuple(FLAGS.metrics),
        profile_steps=_whole_numbers("profile_steps"),
    )
    options.num_accumulation_steps(replicas)
    transfer.check_init_from(options)
    evaluation.check_metrics(options)
    return options


def _on_gpu(strategy: tf.distribute.Strategy) -> bool:
    return any("GPU" in device for device in strategy.extended.worker_devices)


def _whole_numbers(flag: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in FLAGS[flag].value)
    except ValueError:
        raise OptionError(f"--{flag}={','.join(FLAGS[flag].value)}: give whole numbers, such as 20,25") from None


def _run_folder(options: Options, is_chief: bool) -> tuple[Path, Path | None]:
    """The folder to write to, and the checkpoint to go on from."""
    if FLAGS.resume is None:
        return _new_run(options, is_chief), None
    path = Path(FLAGS.resume)
    if FLAGS.resume == "latest":
        newest = run_dir.latest_matching_run(Path(FLAGS.outdir), options)
        if newest is None:
            print(f"--resume=latest: no run named *-{options.description} in {FLAGS.outdir}; beginning one")
            return _new_run(options, is_chief), None
        path = newest
    run, checkpoint = run_dir.resolve_resume_path(path)
    different = options.differences(Options.from_file(run / run_dir.OPTIONS))
    if different:
        raise OptionError(f"--resume={FLAGS.resume}: options differ from the run's: {'; '.join(different)}")
    if is_chief:
        options.write(run / run_dir.OPTIONS)  # its length and reports may be others now
    print(f"Resuming from {checkpoint}")
    return run, checkpoint


def _new_run(options: Options, is_chief: bool) -> Path:
    """Only the chief writes; what the others would call the folder does not matter."""
    outdir = Path(FLAGS.outdir)
    return run_dir.create(outdir, options) if is_chief else outdir


def _resume_command(run: Path) -> str:
    given = sys.argv[1:]
    without = [
        argument
        for before, argument in zip([""] + given, given, strict=False)
        if not re.match("--?resume(=|$)", argument) and not re.match("--?resume$", before)
    ]
    return shlex.join(["python", "-m", "trainer.main", *without, f"--resume={run}"])


def _fail(message: str) -> int:
    print(f"trainer.main: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    app.run(main)
