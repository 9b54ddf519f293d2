"""Files of an exported training step (export_training.py) and states of its training, without TensorFlow."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.utils.files import atomic_directory

DESCRIPTION = "training.json"
OPTIONS = "options.json"
IMAGES = "images.npz"
HELD_OUT = "held_out.npz"
PROGRESS = "progress.json"
PART_BYTES = 15 * 2**20  # of a file of a state, because some machines return no files larger than 16 MiB

Arrays = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Signature:
    """Arguments and results of a program, by name.

    Attributes:
        inputs: first arguments, see trainer.inputs.named_arrays.
        variables: the other arguments: weights, and whatever else the state holds.
        results: first results, such as the moments of metrics.
        updated: variables whose new values are the other results. Their arguments are donated.
    """

    inputs: list[str]
    variables: list[str]
    results: list[str]
    updated: list[str]


@dataclasses.dataclass(frozen=True)
class Description:
    """Everything that training with a folder needs besides programs, images and stored arrays.

    Attributes:
        settings: trainer.step_order.StepSettings.
        random_inputs: arguments of trainer.random_inputs.RandomInputs.
        programs: signatures by the name of the phase, "average" and "images".
        initial: initial value of each variable: {"stored": True}, {"copy": name}, {"zeros": shape, "dtype"} or
            {"shape", "seed", "scale"} of normal numbers.
        progress: see Progress.
    """

    settings: dict[str, Any]
    random_inputs: dict[str, Any]
    programs: dict[str, Signature]
    initial: dict[str, dict[str, Any]]
    progress: dict[str, Any]


@dataclasses.dataclass
class Progress:
    """Progress of a run.

    Attributes:
        cur_nimg: real images that the run has seen.
        step: steps that it has done.
        controller: values of the variables of trainer.augment.controller.Controller.
    """

    cur_nimg: int
    step: int
    controller: list[Any]


def write_description(folder: Path, description: Description) -> None:
    """Write training.json."""
    (folder / DESCRIPTION).write_text(json.dumps(dataclasses.asdict(description), indent=1) + "\n")


def read_description(folder: Path) -> Description:
    """Read training.json."""
    values = json.loads((folder / DESCRIPTION).read_text())
    values["programs"] = {name: Signature(**signature) for name, signature in values["programs"].items()}
    return Description(**values)


def read_options(folder: Path) -> SimpleNamespace:
    """Read the options of the run, with the attributes of trainer.config.Options except derived quantities."""
    return SimpleNamespace(**json.loads((folder / OPTIONS).read_text()))


def write_program(folder: Path, name: str, text: str) -> None:
    """Write a program, compressed."""
    (folder / f"{name}.mlir.gz").write_bytes(gzip.compress(text.encode(), 6, mtime=0))


def read_program(folder: Path, name: str) -> str:
    """Read a program."""
    return gzip.decompress((folder / f"{name}.mlir.gz").read_bytes()).decode()


# --- Arrays -----------------------------------------------------------------------------------------------------------


def write_parts(folder: Path, name: str, arrays: Arrays) -> None:
    """Write arrays into NAME-0.npz, NAME-1.npz, ..., none much larger than PART_BYTES unless a single array is."""
    part: dict[str, Any] = {}
    size = count = 0
    for key, array in arrays.items():
        if part and size + array.nbytes > PART_BYTES:
            np.savez(folder / f"{name}-{count}.npz", **part)
            part, size, count = {}, 0, count + 1
        part[key.replace("/", "|")] = array
        size += array.nbytes
    np.savez(folder / f"{name}-{count}.npz", **part)


def read_parts(folder: Path, name: str) -> dict[str, NDArray[Any]]:
    """Read the arrays written by write_parts."""
    found: dict[str, NDArray[Any]] = {}
    for file in sorted(folder.glob(f"{name}-*.npz")):
        with np.load(file) as part:
            found |= {key.replace("|", "/"): part[key] for key in part.files}
    return found


def drawn(start: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the normal numbers of {"shape", "seed", "scale"}, the same on every machine."""
    normal = np.random.Generator(np.random.Philox(start["seed"])).standard_normal(start["shape"], np.float32)
    return normal * np.float32(start["scale"])


def initial_arrays(folder: Path, description: Description) -> dict[str, NDArray[Any]]:
    """Return the initial values of all variables."""
    arrays = read_parts(folder, "stored")
    for name, start in description.initial.items():
        if "zeros" in start:
            arrays[name] = np.zeros(start["zeros"], start["dtype"])
        elif "seed" in start:
            arrays[name] = drawn(start)
    for name, start in description.initial.items():
        if "copy" in start:
            arrays[name] = arrays[start["copy"]]
    return arrays


def write_state(folder: Path, arrays: Arrays, progress: Progress) -> None:
    """Write a state of the training atomically: G_ema-*.npz, state-*.npz with everything else, and progress.json."""
    average = {name: array for name, array in arrays.items() if name.startswith("G_ema/")}
    with atomic_directory(folder, replace=True) as partial:
        write_parts(partial, "G_ema", average)
        write_parts(partial, "state", {name: array for name, array in arrays.items() if name not in average})
        (partial / PROGRESS).write_text(json.dumps(dataclasses.asdict(progress)) + "\n")


def read_state(folder: Path) -> tuple[dict[str, NDArray[Any]], Progress]:
    """Read a state written by write_state."""
    arrays = read_parts(folder, "G_ema") | read_parts(folder, "state")
    return arrays, Progress(**json.loads((folder / PROGRESS).read_text()))
