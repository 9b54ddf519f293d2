"""Transfer learning: weights of another model to start a run from, --init_from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras

import sg3tf
from sg3tf.models.configs import AnyGeneratorConfig
from trainer import run_dir
from trainer.config import Options
from trainer.errors import OptionError, summarize_error
from trainer.state import TrainState


def check_init_from(options: Options) -> None:
    """Refuse an options.init_from whose networks do not fit `options`; labels and mapping may differ.

    Raises:
        OptionError: nothing there to read, or another architecture.
    """
    if options.init_from is None:
        return
    source = Path(options.init_from)
    there = _fields(_generator_of(source).config if source.suffix == ".keras" else _options_of(source).generator())
    here = _fields(options.generator())
    may_differ = {"label_dim", "mapping_layers", "magnitude_ema_beta"}
    differences = [
        f"{name} {there.get(name)} there, {value} here"
        for name, value in here.items()
        if name not in may_differ and value != there.get(name)
    ]
    if differences:
        raise OptionError(f"--init_from={source}: another architecture ({'; '.join(differences)})")


def _fields(config: AnyGeneratorConfig) -> dict[str, Any]:
    """Fields of a generator's configuration, with its class under "cfg"."""
    return {"cfg": type(config).__name__, **dataclasses.asdict(config)}


def init_from(state: TrainState, source: Path) -> list[str]:
    """Copy weights and running statistics; nothing of optimizers, augmentation or progress.

    Args:
        state: new; variables without a counterpart of the same name and shape in the source keep their values.
        source: run folder or checkpoint, for all networks; or .keras file, for the generators alone.

    Returns:
        Lines that name the variables that were not copied.

    Raises:
        OptionError: nothing there to read.
    """
    notes = []
    if source.suffix == ".keras":
        G_ema = _generator_of(source)
        found: dict[str, Any] = {"G": G_ema, "G_ema": G_ema}
        notes.append(f"--init_from={source}: holds a generator only; the discriminator starts from random weights")
    else:
        other = TrainState(_options_of(source))
        other.restore(run_dir.resolve_resume_path(source, flag="init_from")[1])
        found = {"G": other.G, "D": other.D, "G_ema": other.G_ema}
    for part, model in found.items():
        if new := copy_weights(model, getattr(state, part)):
            notes.append(f"--init_from={source}: new in {part}: {', '.join(new)}")
    return notes


def _options_of(source: Path) -> Options:
    run, _ = run_dir.resolve_resume_path(source, flag="init_from")
    return Options.from_file(run / run_dir.OPTIONS)


def _generator_of(source: Path) -> sg3tf.Generator:
    try:
        return sg3tf.load(source)
    except (FileNotFoundError, ValueError) as error:
        raise OptionError(f"--init_from={source}: {summarize_error(error)}") from error


def copy_weights(source: keras.Model, target: keras.Model) -> list[str]:
    """Copy variables of equal path and shape; return the paths of those in `target` that have no counterpart."""
    values = {_path(variable): variable for variable in source.variables}
    without = []
    for variable in target.variables:
        value = values.get(_path(variable))
        if value is None or value.shape != variable.shape:
            without.append(_path(variable))
        else:
            variable.assign(value.numpy())
    return without


def _path(variable: Any) -> str:
    """Path of a variable without the model's name, which has a number."""
    return variable.path.partition("/")[2]
