"""The training loop."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from sg3tf.data.dataset import Dataset
from sg3tf.data.errors import DataError
from sg3tf.ops import use_backend
from sg3tf.utils.command_line import is_file_error
from sg3tf.utils.error_text import first_line
from sg3tf.utils.resolution import image_shape
from trainer import run_dir
from trainer.config import Options
from trainer.distribution import Workers, training_backend_for
from trainer.errors import TrainingError
from trainer.inputs import BatchIterator, InputPipeline, Labels
from trainer.logger import NullLogger, RunLogger
from trainer.profiling import Profiler
from trainer.random_inputs import RandomInputs
from trainer.schedule import Due, Schedule
from trainer.state import TrainState
from trainer.step import TrainStep
from trainer.transfer import init_from

AGREE_EVERY_STEPS = 4  # agreeing waits for all workers' devices


def train(
    options: Options,
    dataset: Dataset | Iterable[Any],
    run: Path,
    *,
    held_out: Dataset | None = None,
    strategy: tf.distribute.Strategy | None = None,
    resume: Path | None = None,
    started: float | None = None,
) -> bool:
    """Train until options.kimg, or until a signal requests to stop.

    Args:
        options: options of the run.
        dataset: real images: a data set, or any iterable of batches (images uint8 [B, H, W, C], labels float32
            [B, label_dim]), where B is this worker's part of the batch. See `trainer.inputs.BatchIterator`.
        run: the run folder, which must exist (`trainer.run_dir.create`).
        held_out: images that D scores but does not learn from; None without --validation.
        strategy: strategy to train with; default: the current one.
        resume: checkpoint folder to resume from; None for a new run.
        started: time.monotonic() at the start of the process, for the goodput; None: now.

    Returns:
        True if the run is finished, False if it stopped earlier, at a checkpoint.

    Raises:
        DataError: a batch from an iterator is not as described, or an image cannot be read before the first checkpoint.
        TrainingError: the run cannot continue; its last checkpoint is intact.
    """
    started = time.monotonic() if started is None else started
    strategy = strategy or tf.distribute.get_strategy()
    _ensure_temporary_folder(run)
    workers = Workers(strategy)
    state = TrainState(options, strategy)
    notes = load_weights(state, options, resume, dataset.classes if isinstance(dataset, Dataset) else ())
    intervals = options.kimg, options.tick, options.snap  # workers agree on stopping after each snapshot
    progress = (options.reproducibility_fields, intervals, state.cur_nimg)
    with one_line_errors(run, workers):
        workers.require_equal(zlib.crc32(repr(progress).encode()), "options or checkpoints")
    part = workers.part(options.batch)
    data = dataset if isinstance(dataset, Dataset) else _batch_iterator(dataset, options, part)
    random_inputs = make_random_inputs(options, state, data)
    train_step = TrainStep(state, options, strategy, random_inputs)
    pipeline = InputPipeline(options, data, held_out, step=state.step, cur_nimg=state.cur_nimg, part=part)
    local = strategy if workers.count == 1 else None  # what only the chief computes must not wait for other workers
    signals: list[int] = []
    logger: RunLogger | NullLogger = NullLogger()
    if workers.is_chief:
        logger = RunLogger(run, options, state, data, random_inputs, local, started, signals)
    profiler = Profiler(run / "tensorboard", options.profile_steps)
    schedule = Schedule(options, state.cur_nimg)

    def report(due: Due, at_end: bool = False) -> None:
        # A cluster soon kills a process that it has asked to stop, so its checkpoint comes first. In other steps it
        # comes after the snapshot, which a process that resumes from it would not save.
        if due.tick:
            logger.on_tick(pipeline.pop_stall_seconds())
        if due.checkpoint and at_end:
            logger.on_checkpoint()
        if due.snapshot:
            logger.on_snapshot()
        if due.checkpoint and not at_end:
            logger.on_checkpoint()
        if due.snapshot:
            logger.on_evaluation()

    closing, errors = _closing(pipeline, logger, profiler), one_line_errors(run, workers, data)
    with closing, errors, use_backend(training_backend_for(strategy)), _stop_signals(signals):
        logger.on_start(notes)
        due = Due(snapshot=True)  # whose metrics on_start may have computed
        while not schedule.is_finished(state.cur_nimg) and not _stop_requested(signals, workers, state.step, due):
            with profiler.step():
                logger.on_step(train_step.run(*pipeline.next()))
            due = schedule.due(state.cur_nimg)
            report(due)
        report(schedule.due_at_end(state.cur_nimg), at_end=True)
        logger.on_end()
        # A signal may have ended the last metrics. All workers return the same, and wait for each other, because one
        # that leaves early would be considered lost.
        stopped = workers.any_worker(bool(signals))
    return schedule.is_finished(state.cur_nimg) and not stopped


def _ensure_temporary_folder(run: Path) -> None:
    """Let Keras put temporary files into the run folder if no other place is writable."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = str(run)


def _stop_requested(signals: list[int], workers: Workers, step: int, due: Due) -> bool:
    """True if any worker has received a signal; multiple workers agree on that every few steps.

    They also do after a snapshot, whose metrics a signal may have interrupted: the run resumes there and computes them.
    Then `signals` is not empty in any of them, so that the chief computes no metrics while another is asked to end.
    """
    if workers.count > 1 and step % AGREE_EVERY_STEPS and not due.snapshot:
        return False
    stopped = workers.any_worker(bool(signals))
    if stopped and not signals:
        signals.append(signal.SIGTERM)
    return stopped


@contextlib.contextmanager
def one_line_errors(run: Path, workers: Workers, data: Dataset | BatchIterator | None = None) -> Iterator[None]:
    """Turn failures of the disk, the data, the devices and other workers into one-line errors with the remedy."""
    try:
        yield
    except DataError as error:
        if not isinstance(data, Dataset) or not (found := run_dir.checkpoints(run)):
            raise
        raise TrainingError(
            f"{error}; with the same images, continue with --resume from {found[-1]}; with others, start a new run "
            f"with --init_from={run}"
        ) from error
    except (OSError, tf.errors.OpError) as error:
        line = _describe_failure(error, run, workers)
        if line is None:
            raise
        raise TrainingError(line) from error


def _describe_failure(error: OSError | tf.errors.OpError, run: Path, workers: Workers) -> str | None:
    """Message for a failure of the disk, a device or another worker; None for a bug in the program."""
    advice, summary = run_dir.how_to_continue(run), first_line(error)
    if isinstance(error, OSError):
        file, reason = error.filename or run, error.strerror or error
        return f"{file}: cannot be written ({reason}); {advice}"
    if is_file_error(error):  # in TensorBoard's files; TensorFlow reports a full disk as an exhausted resource
        return f"{run}: cannot be written ({summary}); {advice}"
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return f"a device has too little memory ({summary}); with a smaller --batch_per_replica, {advice}"
    if workers.count == 1:
        return None
    return (
        f"{workers.describe_lost_workers(error)}: lost; check its log, its host and the network ({summary}); "
        f"restart all workers with --resume=latest, from {run_dir.last_checkpoint(run)}"
    )


def load_weights(state: TrainState, options: Options, resume: Path | None, classes: Sequence[str]) -> list[str]:
    """Load a run's initial weights; return notes for its log.

    Args:
        state: new state.
        options: options of the run.
        resume: checkpoint to continue from; None for a new run.
        classes: names of the data's classes.
    """
    notes = options.warnings
    if resume is not None:
        notes += state.restore(resume)
    elif options.init_from is not None:
        notes += init_from(state, options.init_from, classes)
    return notes


def _batch_iterator(source: Iterable[Any], options: Options, part: slice) -> BatchIterator:
    shape = (part.stop - part.start, *image_shape(options.resolution, options.image_channels))
    return BatchIterator(source, shape, options.label_dim)


def make_random_inputs(options: Options, state: TrainState, labels: Labels) -> RandomInputs:
    """Random inputs of a run."""
    return RandomInputs(
        labels,
        options.batch,
        state.G.config.z_dim,
        options.seed,
        style_mixing=options.style_mixing,
        num_ws=state.G.num_ws,
        noise=state.G.supports_noise,
    )


@contextlib.contextmanager
def _closing(*resources: Any) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for resource in resources:
            stack.enter_context(contextlib.closing(resource))
        yield


@contextlib.contextmanager
def _stop_signals(received: list[int]) -> Iterator[None]:
    """Context in which `received` gets SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal).

    A second signal has its usual effect at once, except SIGHUP, which both the shell and the system may send. SIGHUP
    stays ignored under nohup. In threads other than the main one, signals keep their usual effect.
    """
    previous: dict[int, Any] = {}

    def handle(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else previous[number])

    if threading.current_thread() is threading.main_thread():  # no other thread may set handlers
        for stopping in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if stopping != signal.SIGHUP or signal.getsignal(stopping) is not signal.SIG_IGN:
                previous[stopping] = signal.signal(stopping, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
