"""python -m trainer.main: trains StyleGAN3 on TFRecords."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from absl import app, flags, logging

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices; errors still show

from sg3tf.config import PRESETS, ConfigError
from trainer import run_folder
from trainer.data import DataError, Dataset, open_dataset
from trainer.devices import HELP as STRATEGY_HELP
from trainer.devices import make_strategy
from trainer.loop import train
from trainer.options import OptionError, Options

FLAGS = flags.FLAGS
flags.DEFINE_string("outdir", "runs", "where run folders are made")
flags.DEFINE_enum("cfg", "stylegan3-t", PRESETS, "architecture")
flags.DEFINE_string("data", None, "TFRecords: FFHQ-layout folder or file, or a folder made by trainer.data.build")
flags.DEFINE_integer("resolution", None, "resolution to train at; default: the largest in --data")
flags.DEFINE_integer("batch", None, "total batch size, in images")
flags.DEFINE_float("gamma", None, "weight of the R1 penalty")
flags.DEFINE_integer("batch_per_replica", None, "images per device at a time; default: --batch / devices")
flags.DEFINE_float("kimg", 25000.0, "length of the run, in thousands of images")
flags.DEFINE_float("tick", 4.0, "progress report every so many kimg")
flags.DEFINE_integer("snap", 50, "image grid, .keras snapshot and checkpoint every so many ticks")
flags.DEFINE_integer("seed", 0, "of every random draw")
flags.DEFINE_bool("mirror", False, "flip half of the images left to right")
flags.DEFINE_bool("cond", False, "train with the labels of the data set")
flags.DEFINE_integer("cbase", 32768, "channel base: capacity multiplier (config R doubles it in G)")
flags.DEFINE_integer("cmax", 512, "channel maximum (config R doubles it in G)")
flags.DEFINE_integer("map_depth", 2, "dense layers of the mapping network")
flags.DEFINE_integer("mbstd_group", 4, "images per group of the minibatch standard deviation")
flags.DEFINE_float("glr", 0.0025, "learning rate of G")
flags.DEFINE_float("dlr", 0.002, "learning rate of D")
flags.DEFINE_integer("max_images", None, "use only so many images of the data set, evenly spread")
flags.DEFINE_integer("workers", 3, "threads that read and decode")
flags.DEFINE_string("strategy", "auto", f"devices: {STRATEGY_HELP}")
flags.DEFINE_string(
    "resume", None, "'latest' (continue the newest like run in --outdir, or begin), or a run or checkpoint"
)
flags.DEFINE_string("desc", "", "appended to the name of the run folder")
flags.DEFINE_bool("dry_run", False, "print the options and exit")
flags.mark_flags_as_required(["data", "batch", "gamma"])

#: Flags that are fields of Options under the same name.
_SAME = [
    *("cfg", "data", "batch", "gamma", "kimg", "tick", "snap", "seed", "mirror", "cond", "cbase", "cmax"),
    *("map_depth", "mbstd_group", "glr", "dlr", "max_images", "workers", "strategy", "desc"),
]


def main(argv: list[str]) -> int:
    """Parses flags, opens the data, trains; returns the exit status."""
    logging.set_verbosity(logging.WARNING)  # TensorFlow's notes on its own doings
    if len(argv) > 1:
        return _fail(f"unexpected argument {argv[1]!r}: options are written --name=value")
    try:
        dataset = open_dataset(
            FLAGS.data, resolution=FLAGS.resolution, use_labels=FLAGS.cond, max_images=FLAGS.max_images
        )
        strategy = make_strategy(FLAGS.strategy)
        options = _options(dataset, strategy.num_replicas_in_sync)
        options.generator(), options.discriminator(), options.rounds(strategy.num_replicas_in_sync)
        if FLAGS.dry_run:
            print(options.to_json(), end="")
            return 0
        run, checkpoint = _run_folder(options)
        finished = train(options, dataset, strategy, run, checkpoint)
    except (OptionError, ConfigError, DataError) as error:
        return _fail(str(error))
    if not finished:
        print(f"Stopped at a checkpoint. Continue with:\n  {_resume_command(run)}")
        return 130
    return 0


def _options(dataset: Dataset, replicas: int) -> Options:
    if FLAGS.batch % replicas:
        raise OptionError(f"--batch={FLAGS.batch}: must be a multiple of the {replicas} devices of --strategy")
    return Options(
        **{name: FLAGS[name].value for name in _SAME},
        data_name=dataset.name,
        resolution=dataset.resolution,
        image_channels=dataset.channels,
        num_images=len(dataset),
        label_dim=dataset.label_dim,
        batch_per_replica=FLAGS.batch_per_replica or FLAGS.batch // replicas,
    )


def _run_folder(options: Options) -> tuple[Path, Path | None]:
    """The folder to write to, and the checkpoint to go on from."""
    outdir = Path(FLAGS.outdir)
    if FLAGS.resume is None:
        return run_folder.create(outdir, options), None
    if FLAGS.resume == "latest":
        newest = run_folder.newest_of(outdir, options)
        if newest is None:
            print(f"--resume=latest: no run named *-{options.description} in {outdir}; beginning one")
            return run_folder.create(outdir, options), None
        run, checkpoint = run_folder.locate(newest)
    else:
        run, checkpoint = run_folder.locate(Path(FLAGS.resume))
    different = options.differences(Options.from_file(run / run_folder.OPTIONS))
    if different:
        raise OptionError(f"--resume={FLAGS.resume}: options differ from the run's: {'; '.join(different)}")
    print(f"Resuming from {checkpoint}")
    return run, checkpoint


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
