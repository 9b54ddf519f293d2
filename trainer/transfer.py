"""Begins a run with the weights of another model: --init_from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras

import sg3tf
from trainer import run_dir
from trainer.config import Options
from trainer.errors import OptionError, summarize_error
from trainer.state import TrainState


def check_init_from(options: Options) -> None:
    """Whether the networks of options.init_from fit those of `options`; their labels and mapping may differ.

    Raises:
        OptionError: nothing there to read, or another architecture.
    """
    if options.init_from is None:
        return
    source = Path(options.init_from)
    theirs = _generator_of(source).config if source.suffix == ".keras" else _options_of(source).generator()
    ours = options.generator()
    named = (
        {"cfg": type(ours).__name__, **dataclasses.asdict(ours)},
        {"cfg": type(theirs).__name__, **dataclasses.asdict(theirs)},
    )
    may_differ = {"label_dim", "mapping_layers", "magnitude_decay"}
    differ = [n for n in named[0] if n not in may_differ and named[0][n] != named[1].get(n)]
    if differ:
        listed = "; ".join(f"{name} {named[1].get(name)} there, {named[0][name]} here" for name in differ)
        raise OptionError(f"--init_from={source}: another architecture ({listed})")


def init_from(state: TrainState, source: Path) -> list[str]:
    """Takes over weights and running statistics; nothing of optimizers, augmentation or progress.

    Args:
        state: new; what finds no partner of its name and shape in the source stays as it is.
        source: a run folder or a checkpoint, for all networks; or a .keras file, for the generators alone.

    Returns:
        Lines that say what was not taken over.

    Raises:
        OptionError: nothing there to read.
    """
    notes = []
    if source.suffix == ".keras":
        G_ema = _generator_of(source)
        found: dict[str, Any] = {"G": G_ema, "G_ema": G_ema}
        notes.append(f"--init_from={source}: holds a generator only; the discriminator begins anew")
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
    """Copies variables of equal path and shape; returns the paths in `target` that found none."""
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
    """Without the model's own name, which counts models."""
    return variable.path.partition("/")[2]
