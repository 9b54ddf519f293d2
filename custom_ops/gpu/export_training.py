"""Export the training step of a run, to train on a machine with a GPU and JAX but without TensorFlow.

python custom_ops/gpu/export_training.py --out=build/portraits-64 --backend=xla --data=datasets/portraits --batch=32
python custom_ops/gpu/export_training.py --out=build/portraits-64 --backend=xla --resume=runs/00000-...

Takes the options of `sg3tf train`. Writes one StableHLO program per phase, the images, and the initial state into the
folder --out. Large weights of a new run are drawn from a seed on both sides, which keeps the folder small.
train_programs.py trains with it, and import_training.py brings the result back.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import tensorflow as tf
from absl import flags
from numpy.typing import NDArray

from custom_ops.gpu import packed_images, stablehlo, training_folder
from custom_ops.gpu.training_folder import Description, Progress, Signature
from sg3tf.ops.backend import BACKENDS
from sg3tf.utils import command_line
from sg3tf.utils.resolution import image_shape
from trainer import loop, option_flags
from trainer.config import Options
from trainer.errors import OptionError
from trainer.inputs import Latents, named_arrays
from trainer.random_inputs import RandomInputs
from trainer.resolve import resolve
from trainer.run_dir import ResumePoint
from trainer.state import PARTS, TrainState
from trainer.step import TrainStep, update_ema
from trainer.step_order import StepOrder, StepSettings
from trainer.transfer import check_init_from

LARGE = 20_000  # elements; smaller weights are stored
IMAGES_AT_ONCE = 16  # of the program "images", for grids


def variables_by_name(state: TrainState) -> dict[str, tf.Variable]:
    """Return {PART/NUMBER: variable} of networks and optimizers, and the moving averages of the losses."""
    named = {
        f"{part}/{number:03d}": variable.value
        for part in PARTS
        for number, variable in enumerate(getattr(state, part).variables)
    }
    means = {"pl_mean": state.pl_mean, "lecam_means": state.lecam_means}
    return named | {name: variable for name, variable in means.items() if variable is not None}


class Exporter:
    """Writes the programs and the state of one run.

    Args:
        folder: existing folder to write to.
        options: options of the run.
        state: its state.
        dataset: its images.
        backend: backend of the operations, see sg3tf.ops.use_backend.
        draw: replace large weights by numbers drawn from a seed, for an untrained state.
    """

    def __init__(
        self, folder: Path, options: Options, state: TrainState, dataset: Any, backend: str, draw: bool
    ) -> None:
        self.folder, self.options, self.state, self.backend = folder, options, state, backend
        self.random_inputs = loop.make_random_inputs(options, state, dataset)
        self.train_step = TrainStep(state, options, tf.distribute.get_strategy(), self.random_inputs)
        self._variables = variables_by_name(state)
        self._names = {variable.handle.ref(): name for name, variable in self._variables.items()}
        self._programs: dict[str, Signature] = {}
        self._stored: dict[str, NDArray[Any]] = {}
        self._initial = self._initial_values(draw)

    def export(self) -> None:
        """Export all phases of the run's options."""
        for name, values in _Recorder(self.options, self.random_inputs).inputs.items():
            self._export(name, self.train_step.replica_steps[name], values, list(named_arrays(values).items()))

        def average(decay: tf.Tensor) -> dict[str, tf.Tensor]:
            update_ema(self.state.G_ema, self.state.G, decay)
            return {}

        decay = np.zeros([], np.float32)
        self._export("average", average, decay, [("decay", decay)])
        grid = self.random_inputs.grid(IMAGES_AT_ONCE)
        self._export("images", self._images, grid, list(named_arrays(grid).items()))

    def save(self) -> None:
        """Write the stored arrays, options.json and training.json."""
        random_inputs = self.random_inputs
        names = ("batch", "z_dim", "seed", "style_mixing", "num_ws", "noise")
        controller = [np.asarray(variable).tolist() for variable in self.state.controller.variables]
        training_folder.write_parts(self.folder, "stored", self._stored)
        description = Description(
            settings=dataclasses.asdict(StepSettings.of(self.options)),
            random_inputs={name: getattr(random_inputs, name) for name in names},
            programs=self._programs,
            initial=self._initial,
            progress=dataclasses.asdict(Progress(self.state.cur_nimg, self.state.step, controller)),
        )
        training_folder.write_description(self.folder, description)
        self.options.write(self.folder / training_folder.OPTIONS)

    def _images(self, latents: Latents) -> dict[str, tf.Tensor]:
        return {"images": self.state.G_ema({"z": latents.z, "label": latents.label})}

    def _export(self, name: str, function: Callable[[Any], Any], inputs: Any, arrays: list[tuple[str, Any]]) -> None:
        exported = stablehlo.export(function, inputs, backend=self.backend)
        taken = [array_name for array_name, array in arrays if array.size]
        captured = [self._name(f"constants/{name}/{n}", value) for n, value in enumerate(exported.captured)]
        updated = [self._names[variable.handle.ref()] for variable in exported.updated]
        results = sorted(exported.results)  # as tf.nest.flatten has them
        self._programs[name] = Signature(taken, captured, results, updated)
        donated = {len(taken) + captured.index(one): len(results) + n for n, one in enumerate(updated)}
        text = donating(exported.text, donated)
        training_folder.write_program(self.folder, name, text)
        print(f"{name}: {len(text) / 1e6:.1f} MB, {len(captured)} variables, {len(updated)} updated", flush=True)

    def _name(self, name: str, captured: Any) -> str:
        """Return the name of a variable; for a constant that a function holds, store it as `name`."""
        if isinstance(captured, tf.Variable):
            return self._names[captured.handle.ref()]
        self._stored[name] = captured.numpy()
        self._initial[name] = {"stored": True}
        return name

    def _initial_values(self, draw: bool) -> dict[str, dict[str, Any]]:
        """Return how each variable starts, and store arrays that cannot be computed; `draw` changes variables."""
        initial: dict[str, dict[str, Any]] = {}
        values = {name: variable.numpy() for name, variable in self._variables.items()}
        for number, (name, value) in enumerate(values.items()):
            source = name.replace("G_ema/", "G/")
            if not value.any():
                initial[name] = {"zeros": list(value.shape), "dtype": value.dtype.name}
            elif source != name and np.array_equal(values[source], value):
                initial[name] = {"copy": source}
                self._variables[name].assign(self._variables[source])
            elif draw and value.size > LARGE and value.dtype == np.float32:
                initial[name] = {"shape": list(value.shape), "seed": number, "scale": float(value.std())}
                self._variables[name].assign(training_folder.drawn(initial[name]))
            else:
                initial[name] = {"stored": True}
                self._stored[name] = value
        return initial


class _Recorder(StepOrder):
    """Inputs of all phases of a first step, by name. The step includes every phase that runs only from time to time.

    Args:
        options: options of the run.
        random_inputs: random inputs of the run.
    """

    def __init__(self, options: Options, random_inputs: RandomInputs) -> None:
        controller = SimpleNamespace(sources=(), probability=0.0, observe=lambda *phases: None)
        augment = True if options.aug in ("fixed", "ada") else None
        state = SimpleNamespace(cur_nimg=0, step=0, augment=augment, controller=controller)
        super().__init__(state, StepSettings.of(options), random_inputs)
        self.inputs: dict[str, Any] = {}
        self._phases = {name: functools.partial(self._record, name) for name in ("G", "PL", "D", "R1")}
        self._held_out_scores = functools.partial(self._record, "held_out")
        self._update_ema = lambda decay: None
        images = np.zeros([options.batch, *image_shape(options.resolution, options.image_channels)], np.uint8)
        batch = images, np.zeros([options.batch, options.label_dim], np.float32)
        self.run(batch, batch if options.validation else None)

    def _record(self, name: str, inputs: Any) -> dict[str, Any]:
        self.inputs[name] = inputs
        return {}


def donating(text: str, donated: dict[int, int]) -> str:
    """Return a program whose results reuse the memory of arguments.

    Args:
        text: StableHLO.
        donated: {index of an argument of main: index of the result that replaces it}.
    """
    start = text.index("func.func @main(")
    end = text.index("\n", start)

    def annotated(match: re.Match[str]) -> str:
        result = donated.get(int(match[1]))
        return match[0] if result is None else f"{match[0]} {{tf.aliasing_output = {result} : i32}}"

    signature = re.sub(r"%arg(\d+): tensor<[^>]*>", annotated, text[start:end])
    return text[:start] + signature + text[end:]


def export_run(folder: Path, options: Options, state: TrainState, dataset: Any, held_out: Any, backend: str) -> None:
    """Export a run in its current state to a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = state.cur_nimg == 0 and options.init_from is None
    exporter = Exporter(folder, options, state, dataset, backend, draw)
    exporter.export()
    exporter.save()
    for name, images in ((training_folder.IMAGES, dataset), (training_folder.HELD_OUT, held_out)):
        if images is not None:
            samples = [images[i] for i in range(len(images))]
            packed_images.write(folder / name, np.stack([s[0] for s in samples]), np.stack([s[1] for s in samples]))


def define_flags(values: flags.FlagValues) -> None:
    """Define the flags: all options of trainer.config.Options, and those of the export."""
    option_flags.define_flags(values)
    flags.DEFINE_string("out", None, "Folder to write.", required=True, flag_values=values)
    flags.DEFINE_enum("backend", "native", BACKENDS, "Backend of the operations on the GPU.", flag_values=values)
    flags.DEFINE_string("resume", None, "Run folder or checkpoint to continue from.", flag_values=values)


def _main(values: flags.FlagValues) -> int:
    point = ResumePoint.from_path(Path(values.resume)) if values.resume else None
    options, dataset, held_out = resolve(option_flags.given_options(values), 1, point)
    if options.posthoc_ema:
        raise OptionError("--posthoc_ema: its averages are not exported; leave it out")
    if options.aug == "apa":
        raise OptionError("--aug=apa: its phases have other inputs once p is above 0, and cannot be exported; use ada")
    if point is None:
        check_init_from(options)
    state = TrainState(options)
    for note in loop.load_weights(state, options, point.checkpoint if point else None, dataset.classes):
        print(note)
    export_run(Path(values.out), options, state, dataset, held_out, values.backend)
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run("export_training", _main, define_flags, str(__doc__)))
