"""The training loop, read from top to bottom."""

from __future__ import annotations

import contextlib
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from sg3tf.data.dataset import Dataset
from sg3tf.ops import use_backend
from trainer import run_dir
from trainer.config import Options
from trainer.distribution import Workers, implementation
from trainer.errors import TrainingError, summarize_error
from trainer.inputs import InputPipeline
from trainer.logger import NullLogger, RunLogger, tick
from trainer.profiling import Profiler
from trainer.random_inputs import RandomInputs
from trainer.state import TrainState
from trainer.step import TrainStep
from trainer.transfer import init_from

AGREE_EVERY_STEPS = 4  # reading what all workers say waits for the devices


def train(
    options: Options,
    dataset: Dataset,
    held_out: Dataset | None,
    strategy: tf.distribute.Strategy,
    run: Path,
    resume: Path | None,
) -> bool:
    """Trains until options.kimg, or until asked to stop.

    Args:
        options: of the run.
        dataset: real images.
        held_out: images that are only judged; None without --validation.
        strategy: where to compute.
        run: the run folder, which exists.
        resume: a checkpoint folder to go on from, or None to begin.

    Returns:
        Whether it finished; False: it stopped early, at a checkpoint.

    Raises:
        TrainingError, DataError: it cannot go on; the last checkpoint is intact.
    """
    workers = Workers(strategy)
    state = TrainState(options, strategy)
    notes = _load(state, options, resume)
    workers.require_equal(
        zlib.crc32(repr((options.reproducibility_fields, state.cur_nimg)).encode()), "options or checkpoints"
    )
    draws = _draws(options, state, dataset)
    stepper = TrainStep(state, options, strategy, draws)
    alone = strategy if workers.count == 1 else None  # what the chief does by itself must not wait for the others
    reporter = RunLogger(run, options, state, dataset, draws, alone) if workers.is_chief else NullLogger()
    feed = InputPipeline(options, state, stepper, dataset, held_out)
    profiler = Profiler(run / "tensorboard", options.profile_steps)

    closing, explained = _closing(feed, reporter, profiler), _explained(run, workers)
    with closing, explained, use_backend(implementation(strategy)), _stop_requests() as stop:
        reporter.on_start(notes)
        ticks = tick(state.cur_nimg, options)
        while state.cur_nimg < options.kimg * 1000 and not _shall_stop(stop, workers, state):
            with profiler.step():
                reporter.on_step(stepper.run(*feed.next()))
            if tick(state.cur_nimg, options) == ticks:
                continue
            ticks = tick(state.cur_nimg, options)
            reporter.on_tick(feed.take_waited_s())
            if ticks % options.snap == 0:
                reporter.on_snapshot()
            if ticks % options.checkpoint == 0 or ticks % options.snap == 0:
                reporter.on_checkpoint()
        reporter.on_tick(feed.take_waited_s())
        reporter.on_snapshot()
        reporter.on_checkpoint()
        workers.wait_for_all()  # who leaves early frightens the others
    return state.cur_nimg >= options.kimg * 1000


def _shall_stop(requests: list[int], workers: Workers, state: TrainState) -> bool:
    """Whether one of the workers was asked to stop; several agree on that every few steps."""
    if workers.count > 1 and state.step % AGREE_EVERY_STEPS:
        return False
    return workers.any(bool(requests))


@contextlib.contextmanager
def _explained(run: Path, workers: Workers) -> Iterator[None]:
    """What the disk, the devices and other workers do to a run, in one line with the remedy."""
    try:
        yield
    except OSError as error:
        last = run_dir.last_checkpoint(run)
        what = f"{error.filename or run}: cannot be written ({error.strerror or error})"
        raise TrainingError(f"{what}; continue with --resume from {last}") from error
    except tf.errors.ResourceExhaustedError as error:
        remedy = "use a smaller --batch_per_replica, or --precision=bf16"
        raise TrainingError(f"a device has too little memory ({summarize_error(error)}); {remedy}") from error
    except tf.errors.OpError as error:
        if workers.count == 1:
            raise
        raise TrainingError(
            f"another worker is lost, and its log says why ({summarize_error(error)}); start all of them again with "
            f"--resume=latest, from {run_dir.last_checkpoint(run)}"
        ) from error


def _load(state: TrainState, options: Options, resume: Path | None) -> list[str]:
    """Fills a new state; returns what is to be said about it."""
    notes = []
    if warning := options.gamma_warning:
        notes.append(f"warning: {warning}")
    if resume is not None:
        state.restore(resume)
    elif options.init_from is not None:
        notes += init_from(state, Path(options.init_from))
    return notes


def _draws(options: Options, state: TrainState, dataset: Dataset) -> RandomInputs:
    return RandomInputs(
        dataset,
        options.batch,
        state.G.config.z_dim,
        options.seed,
        style_mixing=options.style_mixing,
        num_ws=state.G.num_ws,
        noise=state.G.supports_noise,
    )


@contextlib.contextmanager
def _closing(*things: Any) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for thing in things:
            stack.enter_context(contextlib.closing(thing))
        yield


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """A list that fills when Ctrl-C or SIGTERM arrives; a second one takes its usual effect at once."""
    received: list[int] = []
    previous: dict[int, Any] = {}

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, previous[number])

    for wanted in (signal.SIGINT, signal.SIGTERM):
        previous[wanted] = signal.signal(wanted, note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
