"""Checkpoints: a copy of the training state in host memory, and a thread that writes it."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.models.run_folder import CHECKPOINT_GENERATOR, PROGRESS
from sg3tf.utils.checksums import write_checksums
from sg3tf.utils.error_text import first_line
from sg3tf.utils.files import atomic_directory
from trainer.errors import TrainingError


class VariableCopy(NamedTuple):
    """Name and value of a variable; checkpoints store both."""

    name: str
    value: NDArray[Any]

    @classmethod
    def of(cls, variable: tf.Variable) -> VariableCopy:
        return cls(variable.name.partition(":")[0], np.array(variable.numpy()))  # numpy() may be a view on a CPU


class SpareGenerator:
    """A second generator, with which a thread saves copied weights while training changes those of the first.

    It is created once. Keras models contain reference cycles, so a new one for each checkpoint would stay in memory
    until Python's cyclic garbage collector runs, which is rare.

    Args:
        generator: generator to copy.
    """

    def __init__(self, generator: keras.Model) -> None:
        self._kind, self._config = type(generator), generator.get_config()

    @functools.cached_property
    def _model(self) -> keras.Model:
        return self._kind.from_config(self._config)

    def save(self, weights: Sequence[VariableCopy], file: Path) -> None:
        """Write a .keras file with these weights."""
        for variable, copy in zip(self._model.variables, weights, strict=True):
            variable.assign(copy.value)
        self._model.save(file)


class StateCopy:
    """Training state at one moment, which no later step changes.

    Args:
        variables: {part: tf.Variable, or list of them}: the content of a checkpoint.
        generator: writes the part "G_ema".
        progress: content of progress.json.
    """

    def __init__(self, variables: Mapping[str, Any], generator: SpareGenerator, progress: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = {
            part: [VariableCopy.of(v) for v in of_part] if isinstance(of_part, list) else VariableCopy.of(of_part)
            for part, of_part in variables.items()
        }
        self._generator, self._progress = generator, dict(progress)

    def write(self, folder: Path) -> None:
        """Write a checkpoint atomically.

        Raises:
            TrainingError: the folder cannot be written; an existing one is unchanged.
        """
        try:
            with atomic_directory(folder, replace=True) as partial, tf.device("/cpu:0"):
                self._checkpoint().write(str(partial / "state"))
                self._generator.save(self._values["G_ema"], partial / CHECKPOINT_GENERATOR)
                (partial / PROGRESS).write_text(json.dumps(self._progress) + "\n")
                write_checksums(partial)
        except (OSError, tf.errors.OpError) as error:
            raise TrainingError(f"{folder}: cannot be written ({first_line(error)})") from error

    def _checkpoint(self) -> tf.train.Checkpoint:
        return tf.train.Checkpoint(
            **{
                part: [_variable(copy) for copy in copies] if isinstance(copies, list) else _variable(copies)
                for part, copies in self._values.items()
            }
        )


def _variable(copy: VariableCopy) -> tf.Variable:
    return tf.Variable(copy.value, name=copy.name)


class CheckpointWriter:
    """Runs functions that write checkpoints in a thread, one at a time.

    Examples:
        >>> writer = CheckpointWriter()
        >>> writer.start(lambda: None)
        >>> writer.wait()
        >>> writer.close()
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def start(self, write: Callable[[], None]) -> None:
        """Call `write` in the thread, after the previous one has ended; raises the previous one's error."""
        self.wait()
        self._pending = self._thread.submit(write)

    def check(self) -> None:
        """Raise the error of the last checkpoint, if it has failed."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Wait until nothing is being written; raises the error of the last checkpoint."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait for the checkpoint that is being written; suppress its error, which would hide that of the run."""
        with contextlib.suppress(Exception):
            self.wait()
        self._thread.shutdown()
