"""Checkpoints: a copy of the training state in the memory of the host, and a thread that writes it."""

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

from sg3tf.models.loading import CHECKPOINT_GENERATOR
from sg3tf.utils.files import atomic_directory, write_checksums
from trainer.errors import TrainingError, summarize_error

PROGRESS = "progress.json"


class VariableCopy(NamedTuple):
    """Name and value of a variable; the name is part of a checkpoint, too."""

    name: str
    value: NDArray[Any]

    @classmethod
    def of(cls, variable: tf.Variable) -> VariableCopy:
        return cls(variable.name.partition(":")[0], np.array(variable.numpy()))  # numpy() may be a view on a CPU


class SpareGenerator:
    """A second generator, through which a thread saves copied weights while training changes those of the first.

    It is made once: Keras models are in cycles of references, so that one for each checkpoint would stay in memory
    until Python looks for cycles, which is seldom.

    Args:
        generator: the first one.
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
        variables: {part: tf.Variable, or list of them}, everything that a checkpoint holds.
        generator: writes the part "G_ema" of it.
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
            TrainingError: the folder cannot be written; one that was there is unchanged.
        """
        try:
            with atomic_directory(folder, replace=True) as partial, tf.device("/cpu:0"):
                self._checkpoint().write(str(partial / "state"))
                self._generator.save(self._values["G_ema"], partial / CHECKPOINT_GENERATOR)
                (partial / PROGRESS).write_text(json.dumps(self._progress) + "\n")
                write_checksums(partial)
        except (OSError, tf.errors.OpError) as error:
            raise TrainingError(f"{folder}: cannot be written ({summarize_error(error)})") from error

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
    """Calls functions that write checkpoints in a thread, one at a time.

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
        """Call `write` in the thread, after the one before has ended; raises the error of that."""
        self.wait()
        self._pending = self._thread.submit(write)

    def check(self) -> None:
        """Raise the error of the last checkpoint, if it has ended with one."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Return when nothing is being written; raises the error of the last checkpoint."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Let the checkpoint that is being written be finished; an error of it does not hide that of the run."""
        with contextlib.suppress(Exception):
            self.wait()
        self._thread.shutdown()
