"""Profiles of a few steps for TensorBoard (--profile_steps)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf


class Profiler:
    """Records the steps from steps[0] up to, but excluding, steps[1], counted from the start of the process.

    Args:
        folder: TensorBoard's log folder.
        steps: two numbers, or none to record nothing. The first steps trace and compile: start at 20 or later.
    """

    def __init__(self, folder: Path, steps: Sequence[int]) -> None:
        self._folder, self._steps = folder, steps
        self._number = 0
        self._recording = False

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Context of one training step."""
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
        """Write the recording, if there is an unwritten one."""
        if self._recording:
            tf.profiler.experimental.stop()
            self._recording = False
