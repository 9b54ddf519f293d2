"""Overhead of the training loop: one JSON line per run and kind of augmentation.

python -m benchmarks.loop_bench --presets=T-32 --aug=noaug,ada --out=training-loop-cpu.json

The same steps are run in two ways, alternating every 16 steps, in one process, with the same compiled functions and
weights:

- loop: `trainer.loop.train` on PNG records. Besides running the networks, it waits for batches, which threads decode on
  the same cores; draws latents and parameters of the augmentation; converts all of them to tensors; updates p; collects
  metrics; and ends the turn with a tick: statistics, norms of the weights, log, TensorBoard. In real runs, a tick comes
  only every 4 kimg.
- phases: G, D, one R1, and the moving average, on existing tensors. The optimizers, the augmentation itself, the
  moments of metrics and launching the graphs are part of these functions, so they count as networks.

Overhead is the share of the loop's time that the phases do not take: in wall time; in CPU time of all cores, which
includes decoding and does not depend on the load; and in wall time of the loop outside these functions, which is exact
but does not show how much decoding slows down the networks.

The first turn, in which functions are traced, and image grids, snapshots and checkpoints are excluded from both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from absl import app, flags

from benchmarks import report
from benchmarks.report import Row, goal, median
from benchmarks.train_bench import TRAININGS
from benchmarks.workers import Worker
from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.dataset import open_dataset
from sg3tf.data.encoding import encode_png
from sg3tf.models.configs import ConfigError
from sg3tf.utils.resolution import longer_side
from trainer import loop, stats
from trainer.config import AUGMENTATIONS, Options
from trainer.distribution import make_strategy, training_backend_for
from trainer.inputs import Batch
from trainer.step import TrainStep

MOST_OVERHEAD = 0.05
NUM_IMAGES = 2048

# --presets is defined in train_bench.
_AUG = flags.DEFINE_list("aug", ["noaug", "ada"], f"kinds of augmentation: {', '.join(AUGMENTATIONS)}")


@dataclasses.dataclass
class Turn:
    """Seconds of a turn in both ways.

    Attributes:
        loop, phases: wall time.
        loop_cores, phases_cores: CPU time of all cores.
        inside: wall time that the loop spends in the functions of the phases.
        waited: wall time that the loop spends waiting for images.
    """

    loop: float
    loop_cores: float
    phases: float
    phases_cores: float
    inside: float
    waited: float = 0.0

    @property
    def overheads(self) -> dict[str, float]:
        """Overheads as shares of the loop's time; see the module."""
        return {
            "clock": 1 - self.phases / self.loop,
            "cores": 1 - self.phases_cores / self.loop_cores,
            "outside_of_phases": 1 - self.inside / self.loop,
        }


class Alternating(TrainStep):
    """Training step that repeats the steps between R1 phases without the loop, and times both.

    Args:
        turns: list to append the measurements to.
        arguments: arguments of TrainStep.
    """

    def __init__(self, turns: list[Turn], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._turns = turns
        self._inputs: dict[str, Any] = {}
        self._functions = {**self._phases, "average": self._update_ema}
        self._phases = {name: self._timed(name, self._to_devices) for name in self._phases}
        self._update_ema = self._timed("average", lambda decay: decay)
        self._begin()

    def run(self, real: Batch, held_out: Batch | None = None) -> stats.Moments:
        if self.state.step and self.state.step % self.options.r1_interval == 0:
            in_loop, inside_s = _since(self._began), self._inside_s
            alone = self._without_loop()
            self._turns.append(Turn(in_loop[0], in_loop[1], alone[0], alone[1], inside_s))
            self._begin()
        return super().run(real, held_out)

    def _begin(self) -> None:
        self._began, self._inside_s = _now(), 0.0

    def _timed(self, name: str, prepare: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Time the function of this name, excluding the preparation of its input, which is kept."""

        def run(given: Any) -> Any:
            self._inputs[name] = prepare(given)
            start = time.perf_counter()
            result = self._functions[name](self._inputs[name])  # on a CPU, the result is complete when this returns
            self._inside_s += time.perf_counter() - start
            return result

        return run

    def _without_loop(self) -> tuple[float, float]:
        began = _now()
        for step in range(self.options.r1_interval):
            for name, tensors in self._inputs.items():
                if name != "R1" or step == 0:
                    self._functions[name](tensors)
        return _since(began)


def _now() -> tuple[float, float]:
    """Wall time, and CPU time of all cores, in seconds."""
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    clock, cores = _now()
    return clock - began[0], cores - began[1]


class Run:
    """A run on synthetic images, in a temporary folder.

    Args:
        options: options of the run, except for the number of images and the length.
        count: turns to measure.
    """

    def __init__(self, options: Options, count: int) -> None:
        self._options, self._count = options, count

    def measure(self) -> tuple[str, list[Turn]]:
        """Return the backend of the operations, and the turns."""
        strategy, turns = make_strategy("cpu"), list[Turn]()
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(sys.stderr):
            data, run = Path(name) / "noise", Path(name) / "run"
            make_data(data, longer_side(self._options.resolution))
            run.mkdir()
            with mock.patch.object(loop, "TrainStep", partial(Alternating, turns)):
                loop.train(self._with_length(), open_dataset(data), run, strategy=strategy)
            ticks = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
        for turn, tick in zip(turns, ticks, strict=False):  # the last tick belongs to the step after the last turn
            turn.waited = tick["Timing/input_stall_share"]["mean"] * tick["Timing/sec_per_tick"]["mean"]
        return training_backend_for(strategy), turns[1:]

    def _with_length(self) -> Options:
        """Options with a tick per turn, no snapshot before the end, and one more step, which ends the last turn."""
        steps, kimg = self._options.r1_interval, self._options.batch / 1000
        turns = 1 + self._count
        length = (turns * steps + 1) * kimg
        never = turns + 1
        return dataclasses.replace(
            self._options, num_images=NUM_IMAGES, kimg=length, tick=steps * kimg, snap=never, checkpoint=never
        )


def make_data(folder: Path, resolution: int) -> None:
    """Create a data set of PNG-encoded noise."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as source:
        for i in range(NUM_IMAGES):
            image = rng.integers(0, 256, [resolution, resolution, 3], np.uint8)
            (Path(source) / f"{i}.png").write_bytes(encode_png(image))
        build(Path(source), folder, BuildConfig(resolution))


def row_of(name: str, aug: str, impl: str, turns: Sequence[Turn]) -> Row:
    """Results of one run."""
    training = TRAININGS[name]
    images = training.options("float32").r1_interval * training.batch
    overheads = {way: [turn.overheads[way] for turn in turns] for way in turns[0].overheads}
    shares = {way: median(values) for way, values in overheads.items()}
    return {
        "network": name,
        "channel_base": training.cbase,
        "channel_max": training.cmax,
        "batch": training.batch,
        "aug": aug,
        "impl": impl,
        "images_per_turn": images,
        "loop_images_per_second": images / median([turn.loop for turn in turns]),
        "phases_images_per_second": images / median([turn.phases for turn in turns]),
        "milliseconds_per_step_outside_of_phases": median(
            [1000 * (turn.loop - turn.inside) * training.batch / images for turn in turns]
        ),
        "input_stall_share": median([turn.waited / turn.loop for turn in turns]),
        "overhead_share": shares,
        "overhead_share_of_turns": overheads,
        "goals": {f"overhead_share_{way}": goal(share, MOST_OVERHEAD) for way, share in shares.items()},
    }


def results() -> Iterator[Row]:
    presets = flags.FLAGS.presets
    for flag, given, known in (("presets", presets, TRAININGS), ("aug", _AUG.value, AUGMENTATIONS)):
        if unknown := sorted(set(given) - set(known)):
            raise ConfigError(f"{flag}={unknown!r}: give some of {', '.join(known)}")
    for name in presets:
        for aug in _AUG.value:
            options = dataclasses.replace(TRAININGS[name].options("float32"), aug=aug)
            with Worker(Run, options, report.REPEATS.value) as worker:
                yield row_of(name, aug, *worker.call("measure"))


def main(argv: Sequence[str]) -> None:
    report.run(argv, results)


if __name__ == "__main__":
    app.run(main)
