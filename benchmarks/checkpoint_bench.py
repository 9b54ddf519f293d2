"""Pause of training at a checkpoint: one JSON line per network.

python -m benchmarks.checkpoint_bench --networks=T-256 --out=checkpoints-cpu.json

A step waits until the state is copied to host memory, and a thread writes the copy. Before, the step waited for the
whole save. Both are timed alternately, in one process: `trainer.state.TrainState.copy`, and `save`, which copies,
writes, flushes to disk and computes digests. How much the thread slows down concurrent steps is not measured here.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import machine, report
from benchmarks.report import Row, goal, median
from benchmarks.train_bench import TRAININGS, Training
from benchmarks.workers import Worker
from sg3tf.models.configs import ConfigError
from trainer.config import Options
from trainer.distribution import make_strategy
from trainer.state import TrainState

GIGA = 1e9
MOST_PAUSE = 0.25  # share of a save

NETWORKS = {**TRAININGS, "T-256": Training("T", 256, 32768, 512, 4)}

_NETWORKS = flags.DEFINE_list("networks", ["T-64", "T-256"], f"networks to save: {', '.join(NETWORKS)}")


class Saving:
    """A state with random weights that is saved repeatedly.

    Args:
        options: options of a run.
        repeats: number of measurements.
    """

    def __init__(self, options: Options, repeats: int) -> None:
        self._options, self._repeats = options, repeats

    def measure(self) -> dict[str, Any]:
        """Return seconds of copies and of saves, and the size of a checkpoint in gigabytes."""
        state = TrainState(self._options, make_strategy("cpu"))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "checkpoint"
            state.save(folder)
            size = sum(file.stat().st_size for file in folder.iterdir()) / GIGA
            pair = (state.copy, lambda: state.save(folder))
            times = [tuple(map(machine.seconds, pair)) for _ in range(self._repeats)]
        copies, saves = zip(*times, strict=True)
        return {"copies": list(copies), "saves": list(saves), "size": size}


def results() -> Iterator[Row]:
    if unknown := sorted(set(_NETWORKS.value) - set(NETWORKS)):
        raise ConfigError(f"networks={unknown!r}: give some of {', '.join(NETWORKS)}")
    for name in _NETWORKS.value:
        training = NETWORKS[name]
        with Worker(Saving, training.options("float32"), report.REPEATS.value) as worker:
            measured = worker.call("measure")
        pause, save = median(measured["copies"]), median(measured["saves"])
        yield {
            "network": name,
            **{key: value for key, value in dataclasses.asdict(training).items() if key in ("cbase", "cmax")},
            "gigabytes": measured["size"],
            "asynchronous_pause_seconds": pause,
            "synchronous_pause_seconds": save,
            "seconds_of_copies": measured["copies"],
            "seconds_of_saves": measured["saves"],
            "goals": {"pause_share": goal(pause / save, MOST_PAUSE)},
        }


def main(argv: Sequence[str]) -> None:
    report.run(argv, results)


if __name__ == "__main__":
    app.run(main)
