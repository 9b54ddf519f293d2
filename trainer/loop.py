"""The training loop, read from top to bottom."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from sg3tf.ops import using
from sg3tf.ops.implementation import for_training
from trainer.actions import Reporter
from trainer.data import Dataset, batches
from trainer.draws import Draws
from trainer.options import Options
from trainer.state import TrainState
from trainer.step import Stepper


def train(options: Options, dataset: Dataset, strategy: tf.distribute.Strategy, run: Path, resume: Path | None) -> bool:
    """Trains until options.kimg, or until asked to stop.

    Args:
        options: of the run.
        dataset: real images.
        strategy: where to compute.
        run: the run folder, which exists.
        resume: a checkpoint folder to go on from, or None to begin.

    Returns:
        Whether it finished; False: it stopped early, at a checkpoint.
    """
    with strategy.scope():
        state = TrainState(options)
        if resume is not None:
            state.restore(resume)
    draws = Draws(dataset, options.batch, options.generator().z_dim, options.seed)
    stepper = Stepper(state, options, strategy, draws)
    reporter = Reporter(run, options, state, dataset, draws)
    stream = batches(
        dataset,
        options.batch,
        seed=options.seed,
        start_nimg=state.cur_nimg,
        mirror=options.mirror,
        workers=options.workers,
    )
    total_nimg, tick_nimg = options.kimg * 1000, options.tick * 1000
    next_tick, ticks = state.cur_nimg + tick_nimg, 0

    with contextlib.closing(stream), contextlib.closing(reporter), using(for_training()), _stop_requests() as stop:
        reporter.on_start()
        while state.cur_nimg < total_nimg and not stop:
            images, labels = next(stream)
            reporter.on_step(stepper.run(images, labels))
            if state.cur_nimg >= next_tick:
                next_tick += tick_nimg
                ticks += 1
                reporter.on_tick()
                if ticks % options.snap == 0:
                    reporter.on_snapshot()
        reporter.on_tick()
        reporter.on_snapshot()
    return not stop


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
