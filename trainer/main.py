"""Train a generator and a discriminator on images.

sg3tf train --data=datasets/photos --cfg=stylegan3-t --batch=32 --mirror
sg3tf train --resume=runs/00000-stylegan3-t-photos-batch32-gamma2 --gamma=4
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from sg3tf.utils import command_line, extras
from sg3tf.utils.errors import ExpectedError
from sg3tf.utils.output import ignoring_lost_output
from trainer import option_flags
from trainer.config import DEFAULTS, Change, Options
from trainer.errors import OptionError

if TYPE_CHECKING:
    import tensorflow as tf

    from trainer.distribution import Workers
    from trainer.run_dir import ResumePoint


def define_flags(values: flags.FlagValues) -> None:
    """Define the flags: every option of trainer.config.Options, where to write, and what to resume."""
    option_flags.define_flags(values)
    flags.DEFINE_string("outdir", "runs", "Folder in which to create run folders.", flag_values=values)
    flags.DEFINE_string(
        "resume",
        None,
        "Run folder or checkpoint to resume; options that are not given keep their values. Or 'latest': the "
        "newest run in --outdir with these settings, or a new one if there is none.",
        flag_values=values,
    )
    flags.DEFINE_bool("fp32", False, "Short for --precision=fp32.", flag_values=values)
    flags.DEFINE_bool("dry_run", False, "Print options, networks, memory and steps, and exit.", flag_values=values)


def main(argv: Sequence[str] | None = None, name: str = "trainer.main") -> int:
    """Run the program `name` with the arguments `argv`, by default those of the process; return the exit status."""
    return command_line.run(name, functools.partial(_main, name), define_flags, str(__doc__), argv)


def _main(name: str, values: flags.FlagValues) -> int:
    started = time.monotonic()
    _end_on_sigterm_in_a_container()
    extras.require("tensorboard", extra="train", purpose="sg3tf train")
    # Imported here, so that --help and errors in flags do not load TensorFlow.
    from sg3tf.ops import use_backend
    from trainer import run_dir
    from trainer.distribution import Workers, training_backend_for
    from trainer.loop import one_line_errors, train
    from trainer.resolve import resolve
    from trainer.run_dir import ResumePoint
    from trainer.transfer import check_init_from

    given = option_flags.given_options(values)
    if values.fp32 and given.setdefault("precision", "fp32") != "fp32":
        raise OptionError(f"--fp32 and --precision={values.precision} contradict each other; leave one of them out")
    point = None if values.resume in (None, "latest") else ResumePoint.from_path(Path(values.resume))
    strategy = _connect(given, values.strategy, point)
    replicas, outdir, workers = strategy.num_replicas_in_sync, Path(values.outdir), Workers(strategy)
    try:
        with use_backend(training_backend_for(strategy)):  # asks for the library, if SG3TF_OPS does
            pass
    except ExpectedError as error:
        raise OptionError(str(error)) from error

    options, dataset, held_out = resolve(given, replicas, point)
    if values.resume == "latest" and (latest := run_dir.latest_matching_run(outdir, options)):
        point = ResumePoint.from_path(latest)
        options, dataset, held_out = resolve(given, replicas, point)
    differences = check_init_from(options) if point is None else []
    changes = point.changes_to(options) if point else []
    if workers.is_chief:
        for line in (*dataset.remarks, *(differences if values.dry_run else ())):  # a run's log has them
            print(line)
    _print_plan(values, options, replicas, point, changes)
    if values.dry_run:
        return 0

    with one_line_errors(point.run if point else outdir, workers):
        nimg = round(point.kimg * 1000) if point else -1
        workers.require_equal(nimg, "images seen at the checkpoints to resume from (-1: a new run)")
    with _open_run(outdir, options, dataset.classes, values.resume is not None, point, changes, workers) as run:
        checkpoint = point.checkpoint if point else None
        if train(options, dataset, run, held_out=held_out, strategy=strategy, resume=checkpoint, started=started):
            return 0
    with ignoring_lost_output():
        print(_how_to_continue(name, run))
    return 130


def _end_on_sigterm_in_a_container() -> None:
    """Let SIGTERM end a container's first process, also before training; the kernel gives it no default action."""
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _frame: os._exit(128 + number))


def _how_to_continue(name: str, run: Path) -> str:
    """Text for the end of a run that was stopped."""
    from trainer import run_dir

    if not run_dir.checkpoints(run):  # the first tick was bad
        return f"Stopped; {run_dir.how_to_continue(run)}"
    program = name if name.startswith("sg3tf") else f"python -m {name}"
    resume = shlex.quote(f"--resume={run}")
    return f"Stopped. The last checkpoint is {run_dir.last_checkpoint(run)}. Continue with:\n  {program} {resume}"


def _connect(given: dict[str, Any], strategy: str, point: ResumePoint | None) -> tf.distribute.Strategy:
    """Create the strategy, whose options are needed before all others are resolved; add these to `given`."""
    from trainer.distribution import make_strategy

    given.setdefault("strategy", point.options.strategy if point else strategy)
    names = ("communication", "start_timeout", "reduce_timeout", "heartbeat_timeout")
    for name in names:
        given.setdefault(name, getattr(point.options, name) if point else DEFAULTS[name])
    return make_strategy(given["strategy"], **{name: given[name] for name in names})


def _print_plan(
    values: flags.FlagValues, options: Options, replicas: int, point: ResumePoint | None, changes: list[Change]
) -> None:
    """Print what will be trained (--dry_run), and where a resumed run continues."""
    from trainer import dry_run

    if values.dry_run:
        print(dry_run.describe(options, replicas, round(point.kimg * 1000) if point else 0), end="")
    if point:
        print(f"Resuming from {point.checkpoint}", *point.notes(changes), sep="\n")
        if point.kimg >= options.kimg:
            print(f"The run has reached its length, --kimg={options.kimg:g}; give a larger one to train on")
    elif values.resume:
        print(f"--resume=latest: no run named *-{options.description} in {values.outdir} has a checkpoint")


@contextlib.contextmanager
def _open_run(
    outdir: Path,
    options: Options,
    classes: Sequence[str],
    latest: bool,
    point: ResumePoint | None,
    changes: list[Change],
    workers: Workers,
) -> Iterator[Path]:
    """Yield the run folder, which the chief alone creates or reopens, and locks until the block ends.

    The other workers learn the number of a new one from the chief.
    """
    from trainer import run_dir

    if workers.is_chief:
        opened = (
            point.open_for_resume(options, changes)
            if point
            else run_dir.create_locked(outdir, options, classes, latest)
        )
        with opened as run:
            with ignoring_lost_output():
                print(f"Run folder: {run}")
            if point is None:
                _broadcast_from_chief(workers, outdir, int(run.name[:5]))
            yield run
    elif point:
        yield point.run
    else:
        yield outdir / f"{_broadcast_from_chief(workers, outdir, 0):05d}-{options.description}"


def _broadcast_from_chief(workers: Workers, outdir: Path, number: int) -> int:
    from trainer.loop import one_line_errors

    with one_line_errors(outdir, workers):
        return workers.broadcast_from_chief(number)


if __name__ == "__main__":
    sys.exit(main())
