"""Train with the programs of export_training.py, on a machine with a GPU, JAX and NumPy but no TensorFlow.

python3 custom_ops/gpu/train_programs.py FOLDER --out=OUT --ffi=libffi.so --minutes=8

Uses the same real images, latents, labels and augmentations as `sg3tf train`. Writes OUT/state at snapshots and at the
end; --resume continues from it, and import_training.py imports it. OUT/stats.jsonl has the statistics of each tick, and
OUT/fakes.png images of the average, if Pillow is installed.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# The published networks were trained without TensorFloat-32. CUDA's libraries read this when they are loaded.
os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from custom_ops.gpu import packed_images, pjrt, training_folder
from custom_ops.gpu.training_folder import Description, Progress, Signature
from trainer import stats
from trainer.augment.heuristics import INTERVAL, SOURCES, direction, measure, next_probability
from trainer.inputs import InputPipeline, named_arrays
from trainer.random_inputs import RandomInputs
from trainer.schedule import Schedule
from trainer.step_order import StepOrder, StepSettings

GRID = (16, 8)  # columns and rows of fakes.png
STEPS_AHEAD = 4  # of the device, at most, to keep the time limit


class HostController:
    """The controller of the augmentation probability, like trainer.augment.controller.Controller, in NumPy.

    Args:
        options: options of the run.
        values: sums, counts, steps, probability, overfitting and saturated_nimg, as in a state.
    """

    def __init__(self, options: SimpleNamespace, values: list[Any]) -> None:
        self.sources, self._options = SOURCES[options.ada_heuristic], options
        self._sums, self._counts = np.asarray(values[0], np.float32), np.asarray(values[1], np.int64)
        self._steps, self.probability, self.overfitting, self._saturated_nimg = values[2:]
        self._pending: list[list[Any]] = []  # read at the end of an interval, so that no step waits for the device

    def values(self) -> list[Any]:
        """Return the values for a state."""
        self._add_pending()
        numbers = [self._steps, self.probability, self.overfitting, self._saturated_nimg]
        return [self._sums.tolist(), self._counts.tolist(), *numbers]

    def observe(self, *phases: Mapping[str, Any]) -> None:
        """Add the metrics of one step; move the probability after every interval."""
        self._pending += [[metrics.get(name) for name in self.sources] for metrics in phases]
        self._steps += 1
        if self._steps % INTERVAL:
            return
        self._add_pending()
        options = self._options
        self.overfitting = measure(options.ada_heuristic, list(self._sums / self._counts))
        self._sums, self._counts = np.zeros_like(self._sums), np.zeros_like(self._counts)
        sign = direction(self.overfitting, options.target)
        move = options.batch * INTERVAL / (options.ada_kimg * 1000)
        self.probability = next_probability(self.probability, sign * move)
        is_saturated = self.probability >= 1 and sign >= 0
        self._saturated_nimg = self._saturated_nimg + options.batch * INTERVAL if is_saturated else 0

    def _add_pending(self) -> None:
        for values in self._pending:
            for i, value in enumerate(values):
                if value is not None:
                    self._sums[i] += np.float32(value)
                    self._counts[i] += 1
        self._pending = []


@dataclasses.dataclass
class HostState:
    """Progress of the training, see trainer.step_order.Progress."""

    cur_nimg: int
    step: int
    augment: bool | None
    controller: HostController


@functools.cache
def compiled_programs(folder: Path) -> dict[str, pjrt.Program]:
    """Compile all programs of a folder in parallel, once per process."""
    names = list(training_folder.read_description(folder).programs)
    with ThreadPoolExecutor() as pool:
        programs = pool.map(lambda name: pjrt.Program(training_folder.read_program(folder, name)), names)
        return dict(zip(names, programs, strict=True))


class ProgramStep(StepOrder):
    """A training step made of exported programs. The arrays of the state stay on the device.

    Args:
        folder: written by export_training.py.
        description: its training.json.
        arrays: the initial state.
        progress: its progress.
        labels: images whose labels generated images receive.
    """

    state: HostState

    def __init__(
        self, folder: Path, description: Description, arrays: Mapping[str, Any], progress: Progress, labels: Any
    ) -> None:
        options = training_folder.read_options(folder)
        controller = HostController(options, progress.controller)
        augment = True if options.aug in ("fixed", "ada") else None
        state = HostState(progress.cur_nimg, progress.step, augment, controller)
        super().__init__(state, StepSettings(**description.settings), RandomInputs(labels, **description.random_inputs))
        self._signatures, self._compiled = description.programs, compiled_programs(folder)
        jax.config.update("jax_enable_x64", True)  # counters of steps are int64
        # Copies, because programs write into these arrays.
        self._arrays = {name: jnp.array(array, copy=True) for name, array in arrays.items()}
        self._phases = {name: self._phase(name) for name in ("G", "PL", "D", "R1") if name in self._signatures}
        self._held_out_scores = self._phase("held_out")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the state."""
        return {name: np.asarray(array) for name, array in self._arrays.items()}

    def progress(self) -> Progress:
        """Return the progress."""
        return Progress(self.state.cur_nimg, self.state.step, self.state.controller.values())

    def images(self, columns: int, rows: int) -> NDArray[np.float32]:
        """Return images of the average from the latents of the run's grids."""
        latents = named_arrays(self.random_inputs.grid(columns * rows))
        at_once = 16
        parts = [
            self._run("images", {name: array[first : first + at_once] for name, array in latents.items()})["images"]
            for first in range(0, columns * rows, at_once)
        ]
        return np.concatenate([np.asarray(part) for part in parts])

    def _update_ema(self, decay: NDArray[np.float32]) -> None:
        self._run("average", {"decay": decay})

    def _phase(self, name: str) -> Any:
        return lambda inputs: self._run(name, named_arrays(inputs))

    def _run(self, name: str, inputs: Mapping[str, Any]) -> stats.Moments:
        signature: Signature = self._signatures[name]
        arguments = [inputs[one] for one in signature.inputs] + [self._arrays[one] for one in signature.variables]
        results = self._compiled[name](arguments)
        self._arrays.update(zip(signature.updated, results[len(signature.results) :], strict=True))
        return dict(zip(signature.results, results, strict=False))


class Reports:
    """Statistics, images and states in the folder OUT.

    Args:
        out: the folder, created if missing.
        step: the training step.
    """

    def __init__(self, out: Path, step: ProgramStep) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._out, self._step = out, step
        self._statistics = stats.Statistics()
        self._started = self._tick_ended = time.monotonic()
        self._tick_nimg = step.state.cur_nimg

    def add(self, metrics: stats.Moments) -> None:
        """Collect the metrics of a step."""
        self._statistics.add(metrics)

    def on_tick(self) -> None:
        """Append a line to stats.jsonl, and print the most important numbers."""
        values = self._statistics.pop()  # waits for the device
        now, state = time.monotonic(), self._step.state
        kimg = (state.cur_nimg - self._tick_nimg) / 1000
        progress = {
            "Progress/kimg": state.cur_nimg / 1000,
            "Progress/augment": state.controller.probability,
            "Timing/total_sec": now - self._started,
            "Timing/sec_per_kimg": (now - self._tick_ended) / kimg if kimg else math.nan,
        }
        self._tick_ended, self._tick_nimg = now, state.cur_nimg
        line = {**values, **{name: stats.as_summary(value) for name, value in progress.items()}}
        with open(self._out / "stats.jsonl", "a") as file:
            file.write(json.dumps({**line, "timestamp": time.time()}) + "\n")
        losses = "  ".join(f"{name} {values[f'Loss/{name}/loss']['mean']:.3f}" for name in "DG")
        print("  ".join(f"{n.partition('/')[2]} {v:.4g}" for n, v in progress.items()), losses, sep="  ", flush=True)

    def on_snapshot(self) -> None:
        """Write the state, and fakes.png if Pillow is installed."""
        training_folder.write_state(self._out / "state", self._step.arrays(), self._step.progress())
        try:
            from sg3tf import images
        except ImportError:
            return
        images.save_png(self._out / "fakes.png", images.grid(self._step.images(*GRID), GRID[0]))


def train(
    folder: Path, out: Path, *, minutes: float, kimg: float | None = None, resume: Path | None = None
) -> ProgramStep:
    """Train until options.kimg, or until time is up.

    Args:
        folder: written by export_training.py.
        out: folder for reports and states.
        minutes: time limit, compilation included. The last state is written after it.
        kimg: length of the run in thousands of images; None for that of the options.
        resume: folder of a state to continue from; None for the exported state.
    """
    end = time.monotonic() + 60 * minutes
    description = training_folder.read_description(folder)
    options: Any = training_folder.read_options(folder)
    if kimg is not None:
        options.kimg = kimg
    arrays = training_folder.initial_arrays(folder, description)
    progress = Progress(**description.progress)
    if resume is not None:
        newer, progress = training_folder.read_state(resume)
        arrays = arrays | newer
    data = packed_images.read(folder / training_folder.IMAGES)
    held_out = packed_images.read(folder / training_folder.HELD_OUT) if options.validation else None
    step = ProgramStep(folder, description, arrays, progress, data)
    images: Any = (data, held_out)
    pipeline = InputPipeline(options, *images, step=progress.step, cur_nimg=progress.cur_nimg)
    reports, schedule = Reports(out, step), Schedule(options, progress.cur_nimg)
    print(f"{len(description.programs)} programs ready after {time.monotonic() - end + 60 * minutes:.0f} s", flush=True)
    recent: deque[stats.Moments] = deque(maxlen=STEPS_AHEAD)
    while not schedule.is_finished(step.state.cur_nimg) and time.monotonic() < end:
        if len(recent) == STEPS_AHEAD:
            jax.block_until_ready(recent[0])
        recent.append(step.run(*pipeline.next()))
        reports.add(recent[-1])
        due = schedule.due(step.state.cur_nimg)
        if due.tick:
            reports.on_tick()
        if due.snapshot:
            reports.on_snapshot()
    pipeline.close()
    due = schedule.due_at_end(step.state.cur_nimg)
    if due.tick:
        reports.on_tick()
    if due.snapshot:
        reports.on_snapshot()
    return step


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="written by export_training.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for reports and states")
    parser.add_argument("--minutes", type=float, default=8.0, help="time limit, compilation included")
    parser.add_argument("--kimg", type=float, help="run length in thousands of images; default: from the options")
    parser.add_argument("--resume", type=Path, help="folder of a state to continue from, such as OUT/state")
    parser.add_argument("--ffi", type=Path, help="library with the handlers of the native operations")
    args = parser.parse_args()
    if args.ffi:
        pjrt.register_handlers(args.ffi)
    train(args.folder, args.out, minutes=args.minutes, kimg=args.kimg, resume=args.resume)


if __name__ == "__main__":
    main()
