"""--profile_steps: what the devices do in some of the steps, for TensorBoard's profile page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf


class Profiler:
    """Records the steps from steps[0] until before steps[1], counted from the start of the process.

    Args:
        folder: TensorBoard's.
        steps: two numbers, or none to record nothing. The first steps trace and compile: begin after 20 or so.
    """

    def __init__(self, folder: Path, steps: Sequence[int]) -> None:
        self._folder, self._steps = folder, steps
        self._number = 0
        self._recording = False

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Around a step of training."""
        number, self._number = self._number, self._number + 1
        if not self._steps or not self._steps[0] <= number < self._steps[1]:
            yield
            return
        if number == self._steps[0]:
            tf.profiler.experimental.start(str(self._folder))
            self._recording = True
        with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
            yield
        if number == self._steps[1] - 1:
            self.close()

    def close(self) -> None:
        """Writes what was recorded, if that has not been done."""
        if self._recording:
            tf.profiler.experimental.stop()
            self._recording = False
