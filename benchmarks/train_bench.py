"""Seconds per training step, phase by phase, and peak memory: one JSON line per network, backend and precision.

python -m benchmarks.train_bench --presets=T-32,T-64,R-64 --impl=native,xla --dtype=float32,bfloat16

Every backend and precision trains in its own process, to measure its own peak memory; they alternate. The images are
noise, and no data set is read. Each phase's time comes with a floor: the time for its arithmetic at the speed of a
large matrix product of that precision, measured in every turn.

--dtype is the type of the four highest resolutions, as with the trainer's --precision; the others, the filters and the
weights are float32, so bfloat16 cannot reach its floor. float16 is not available: on a CPU, its convolutions are
float32 convolutions between two roundings (docs/adr/0010-mixed-precision.md).
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks import machine, report
from benchmarks.networks import PRESETS, discriminator_flop, generator_flop
from benchmarks.report import Row, median
from benchmarks.workers import Worker, peak_memory_gb
from sg3tf import ops
from sg3tf.models.configs import ConfigError, GeneratorConfig
from sg3tf.utils.resolution import image_shape
from trainer.config import Options
from trainer.distribution import make_strategy
from trainer.random_inputs import LabelArray, RandomInputs
from trainer.state import TrainState
from trainer.step import TrainStep

GIGA = 1e9
PHASES = ("G", "D", "R1", "rest")  # rest: moving average and everything between
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}


@dataclasses.dataclass(frozen=True)
class Training:
    """A run to time."""

    preset: str
    resolution: int
    cbase: int
    cmax: int
    batch: int

    def options(self, dtype: str) -> Options:
        """Return options for arithmetic of type `dtype` in the highest resolutions."""
        return Options(
            cfg=PRESETS[self.preset],
            data="noise",
            data_name="noise",
            data_digest="none",
            resolution=self.resolution,
            image_channels=3,
            num_images=self.batch,
            label_dim=0,
            batch=self.batch,
            gamma=2.0,
            batch_per_replica=self.batch,
            cbase=self.cbase,
            cmax=self.cmax,
            precision=PRECISIONS[dtype],
            aug="noaug",
        )


TRAININGS = {
    "T-16": Training("T", 16, 128, 8, 4),  # for a quick check
    "T-32": Training("T", 32, 1024, 32, 16),
    "T-64": Training("T", 64, 4096, 128, 4),
    "R-64": Training("R", 64, 2048, 64, 4),
}

_PRESETS = flags.DEFINE_list("presets", ["T-32", "T-64", "R-64"], f"runs to time: {', '.join(TRAININGS)}")
_DTYPE = report.dtype_flag(["float32"])


@dataclasses.dataclass(frozen=True)
class Side:
    """One configuration of a run."""

    name: str
    impl: str
    dtype: str


class TimedTraining:
    """Steps with all phases, each timed.

    Args:
        options: options of the run.
        impl: backend of the operations.
    """

    def __init__(self, options: Options, impl: str) -> None:
        self._impl, self._seconds = impl, dict.fromkeys(PHASES, 0.0)
        strategy = make_strategy("cpu")
        self._state = TrainState(options, strategy)
        no_labels = LabelArray(np.zeros([1, 0], np.float32))
        random_inputs = RandomInputs(no_labels, options.batch, options.generator().z_dim, options.seed)
        self._train_step = TrainStep(self._state, options, strategy, random_inputs)
        for name, phase in self._train_step._phases.items():
            self._train_step._phases[name] = self._timed(name, phase)
        size = [options.batch, *image_shape(options.resolution, options.image_channels)]
        self._images = np.random.default_rng(0).integers(0, 256, size, np.uint8)
        self._labels = np.zeros([options.batch, 0], np.float32)

    def _timed(self, name: str, phase: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def run(inputs: Any) -> Any:
            start = time.perf_counter()
            metrics = phase(inputs)
            tf.test.experimental.sync_devices()
            self._seconds[name] = time.perf_counter() - start
            return metrics

        return run

    def step(self) -> dict[str, float]:
        """Run a step; return its seconds by phase."""
        self._state.step = 0  # R1 is one of the phases of such a step
        with ops.use_backend(self._impl):
            total = machine.seconds(lambda: self._train_step.run((self._images, self._labels)))
        self._seconds["rest"] = total - sum(self._seconds[name] for name in PHASES if name != "rest")
        return self._seconds

    def peak_memory_gb(self) -> float:
        return peak_memory_gb()


def phase_gflop(options: Options) -> dict[str, float]:
    """Arithmetic of each phase; a backward pass costs as much as two forward passes, for the inputs and the weights."""
    G, D = generator_flop(cast(GeneratorConfig, options.generator())), discriminator_flop(options.discriminator())
    flop = {
        "G": 3 * G + 2 * D,
        "D": G + 2 * 3 * D,
        "R1": 6 * D,  # forward and backward, and the two gradients of each
        "rest": 0,
    }
    return {name: options.batch * value / GIGA for name, value in flop.items()}


def per_step(phases: dict[str, float], options: Options) -> float:
    """Average over steps with and without R1."""
    return sum(value / (options.r1_interval if name == "R1" else 1) for name, value in phases.items())


def row_of(side: Side, steps: Sequence[dict[str, float]], first: dict[str, float], memory: float, matmul: float) -> Row:
    """Results of one side, with the floor given by the speed of a matrix product in GFLOP/s."""
    training, options = TRAININGS[side.name], TRAININGS[side.name].options(side.dtype)
    phases = {phase: median([step[phase] for step in steps]) for phase in PHASES}
    seconds = per_step(phases, options)
    gflop = phase_gflop(options)
    floor = {phase: value / matmul for phase, value in gflop.items()}
    return {
        "network": side.name,
        "channel_base": training.cbase,
        "channel_max": training.cmax,
        "batch": training.batch,
        "impl": side.impl,
        "dtype": side.dtype,
        "seconds_per_step": seconds,
        "seconds_per_image": seconds / training.batch,
        "phase_seconds": phases,
        "seconds_of_steps": [per_step(step, options) for step in steps],
        "compile_seconds": sum(first.values()) - sum(phases.values()),
        "peak_memory_gb": memory,
        "phase_gflop": gflop,
        "matmul_gflop_per_second": matmul,
        "phase_floor_seconds": floor,
        "floor_seconds_per_image": per_step(floor, options) / training.batch,
    }


def measure(name: str) -> Iterator[Row]:
    """Results of all backends and precisions for one run; they alternate."""
    sides = [Side(name, impl, dtype) for dtype in _DTYPE.value for impl in report.IMPL.value]
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(TimedTraining, TRAININGS[name].options(side.dtype), side.impl)) for side in sides
        ]
        firsts = [worker.call("step") for worker in workers]
        turns, speeds = [], []
        for _ in range(report.REPEATS.value):
            turns.append([worker.call("step") for worker in workers])
            speeds.append({dtype: machine.matmul_gflop_per_second(dtype) for dtype in _DTYPE.value})
        memory = [worker.call("peak_memory_gb") for worker in workers]
    matmul = {dtype: median([speed[dtype] for speed in speeds]) for dtype in _DTYPE.value}
    rows = [
        row_of(side, steps, first, peak, matmul[side.dtype])
        for side, steps, first, peak in zip(sides, zip(*turns, strict=True), firsts, memory, strict=True)
    ]
    for row in rows:
        same = {other["impl"]: other for other in rows if other["dtype"] == row["dtype"]}
        if "native" in same:
            row["over_native"] = ratios(row, same["native"])
        yield row


def ratios(row: Row, native: Row) -> Row:
    """Ratios to the native backend."""
    names = ("seconds_per_step", "peak_memory_gb")
    phases = {name: row["phase_seconds"][name] / native["phase_seconds"][name] for name in ("G", "D", "R1")}
    return {**{name: row[name] / native[name] for name in names}, **phases}


def results() -> Iterator[Row]:
    unknown = sorted(set(_PRESETS.value) - set(TRAININGS))
    if unknown:
        raise ConfigError(f"presets={unknown!r}: give some of {', '.join(TRAININGS)}")
    for name in _PRESETS.value:
        yield from measure(name)


def main(argv: Sequence[str]) -> None:
    report.run(argv, results)


if __name__ == "__main__":
    app.run(main)
