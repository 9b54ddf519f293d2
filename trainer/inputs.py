"""What every step is fed, and how long was waited for it."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from sg3tf.data.dataset import Dataset
from sg3tf.data.sampler import batches
from trainer.config import Options
from trainer.state import TrainState
from trainer.step import Batch, TrainStep

#: The stream of held-out images has an order of its own.
_HELD_OUT_SEED = 2**32


class InputPipeline:
    """Batches of the training images, and of held-out ones where a step wants them.

    Args:
        options: of the run.
        state: how far it is.
        stepper: what is fed.
        dataset: images to train on.
        held_out: images that are only judged; None without --validation.
    """

    def __init__(
        self, options: Options, state: TrainState, stepper: TrainStep, dataset: Dataset, held_out: Dataset | None
    ) -> None:
        self._stepper = stepper
        self._waited_s = 0.0
        common: dict[str, Any] = {
            "mirror": options.mirror,
            "workers": options.workers,
            "part": stepper.workers.part(options.batch),
        }
        self._real = batches(dataset, options.batch, seed=options.seed, start_nimg=state.cur_nimg, **common)
        self._held_out: Generator[Batch] | None = None
        if held_out is not None:
            seed, start = options.seed + _HELD_OUT_SEED, stepper.held_out_nimg
            self._held_out = batches(held_out, options.batch, seed=seed, start_nimg=start, **common)

    def next(self) -> tuple[Batch, Batch | None]:
        """The images of the next step.

        Raises:
            DataError: a record cannot be read; the message names it.
        """
        start = time.monotonic()
        real = next(self._real)
        held_out = next(self._held_out) if self._held_out is not None and self._stepper.wants_held_out else None
        self._waited_s += time.monotonic() - start
        return real, held_out

    def take_waited_s(self) -> float:
        """Seconds waited since the last call."""
        waited, self._waited_s = self._waited_s, 0.0
        return waited

    def close(self) -> None:
        """Ends the threads."""
        for stream in (self._real, self._held_out):
            if stream is not None:
                stream.close()
