"""Compare exported training programs with the trainer, step by step on the same images, on JAX's CPU client.

python custom_ops/gpu/compare_training.py build/portraits-64 --steps=20 --out=report.json

Rounding errors grow from step to step, so the trainer is also compared with itself, starting from weights that differ
by one rounding (a unit in the last place). The differences of the programs may grow as fast as these, but no faster.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from custom_ops.gpu import packed_images, pjrt, training_folder
from custom_ops.gpu.export_training import variables_by_name
from custom_ops.gpu.import_training import assign
from custom_ops.gpu.train_programs import ProgramStep
from custom_ops.gpu.training_folder import Progress
from sg3tf.ops import native, use_backend
from sg3tf.ops.backend import training_backend
from trainer import loop
from trainer.config import Options
from trainer.inputs import InputPipeline
from trainer.state import PARTS, TrainState
from trainer.step import TrainStep
from trainer.step_order import StepOrder

Arrays = dict[str, NDArray[Any]]
ROUNDING = 2.0**-23  # unit in the last place of a number between 1 and 2


@dataclasses.dataclass
class Row:
    """Differences after one step.

    Attributes:
        step: number of steps done.
        programs: {part: |programs - trainer| / |trainer|} over the numbers that training changes; "metrics": the
            largest difference of a mean metric, relative to the larger of 1 and its size.
        rounding: the same for the trainer, from weights that differ by one rounding.
        moved: {part: |trainer - start| / |trainer|}.
        probabilities: augmentation probability of the programs and of the trainer.
    """

    step: int
    programs: dict[str, float]
    rounding: dict[str, float]
    moved: dict[str, float]
    probabilities: tuple[float, float]

    @property
    def excess(self) -> float:
        """Largest ratio of a difference of the programs to the difference that one rounding makes."""
        return max(self.programs[name] / max(self.rounding[name], ROUNDING) for name in self.programs)


def compare(folder: Path, steps: int) -> Iterator[Row]:
    """Yield the differences after each step of an exported run.

    Args:
        folder: written by export_training.py.
        steps: number of steps.
    """
    description = training_folder.read_description(folder)
    options = Options.from_file(folder / training_folder.OPTIONS)
    data: Any = packed_images.read(folder / training_folder.IMAGES)
    held_out: Any = packed_images.read(folder / training_folder.HELD_OUT) if options.validation else None
    start = training_folder.initial_arrays(folder, description)
    progress = Progress(**description.progress)

    def pipeline() -> InputPipeline:
        return InputPipeline(options, data, held_out, step=progress.step, cur_nimg=progress.cur_nimg)

    state = TrainState(options)
    step = TrainStep(state, options, tf.distribute.get_strategy(), loop.make_random_inputs(options, state, data))
    variables = variables_by_name(state)

    def trainer(arrays: Arrays) -> list[Snapshot]:
        assign(state, arrays, progress)
        return list(_run(step, pipeline(), steps, lambda: {name: v.numpy() for name, v in variables.items()}))

    rng = np.random.default_rng(0)
    with use_backend(training_backend()):
        exact = trainer(start)
        rounded = trainer({name: _rounded(rng, array) for name, array in start.items()})
    programs = ProgramStep(folder, description, start, progress, data)
    for number, mine in enumerate(_run(programs, pipeline(), steps, programs.arrays)):
        expected = exact[number]
        changed = [n for n in expected.arrays if not np.array_equal(expected.arrays[n], start[n])]
        yield Row(
            number + 1,
            programs=_differences(mine, expected, changed),
            rounding=_differences(rounded[number], expected, changed),
            moved=_differences(dataclasses.replace(expected, arrays=start), expected, changed),
            probabilities=(mine.probability, expected.probability),
        )


@dataclasses.dataclass
class Snapshot:
    """State after a step, and the moments of the step's metrics."""

    arrays: Arrays
    metrics: Arrays
    probability: float


def _run(step: StepOrder, pipeline: InputPipeline, steps: int, arrays: Callable[[], Arrays]) -> Iterator[Snapshot]:
    for _ in range(steps):
        metrics = step.run(*pipeline.next())
        moments = {name: np.asarray(value, np.float64) for name, value in metrics.items()}
        yield Snapshot(arrays(), moments, step.state.controller.probability)
    pipeline.close()


def _rounded(rng: np.random.Generator, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != np.float32:
        return array
    return array * (1 + ROUNDING * rng.choice([-1, 1], array.shape)).astype(np.float32)


def _differences(mine: Snapshot, expected: Snapshot, changed: list[str]) -> dict[str, float]:
    """Relative differences of each part and of the metrics; counters must be equal."""
    differences = {}
    for part in PARTS:
        square = total = 0.0
        for name in changed:
            if not name.startswith(f"{part}/"):
                continue
            a, b = mine.arrays[name], expected.arrays[name]
            if a.dtype == np.float32:
                square += float(np.sum(np.square(a.astype(np.float64) - b)))
                total += float(np.sum(np.square(b.astype(np.float64))))
            elif not np.array_equal(a, b):
                square = math.inf
        differences[part] = math.sqrt(square / total)
    if set(mine.metrics) != set(expected.metrics):
        raise ValueError(f"metrics {sorted(mine.metrics)} instead of {sorted(expected.metrics)}")
    means = [(mine.metrics[name][1] / mine.metrics[name][0], b[1] / b[0]) for name, b in expected.metrics.items()]
    return {**differences, "metrics": max(abs(a - b) / max(1.0, abs(b)) for a, b in means)}


def main() -> None:
    """Compare one folder. Judge by `excess`, the ratio to the growth of one rounding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="written by export_training.py")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, help="write the report here, as JSON")
    args = parser.parse_args()
    if native.available():
        pjrt.register_handlers(native.FOLDER / native.XLA)
    rows = []
    for row in compare(args.folder, args.steps):
        rows.append(row)
        print(json.dumps(dataclasses.asdict(row)), f"excess {row.excess:.2f}", flush=True)
    if args.out:
        args.out.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
