"""Transfer learning: weights of another model to start a run from, --init_from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

import sg3tf
from sg3tf import Discriminator
from sg3tf.models.configs import AnyGeneratorConfig, DiscriminatorConfig
from sg3tf.models.loading import load_model
from trainer import run_dir
from trainer.config import Options
from trainer.errors import OptionError, summarize_error
from trainer.state import TrainState

NETWORKS = ("G", "D", "G_ema")
#: Ending of the file beside NAME.keras that holds the discriminator trained against it.
DISCRIMINATOR_SUFFIX = "-discriminator.keras"

_MAY_DIFFER = frozenset({"label_dim", "mapping_layers", "magnitude_ema_beta", "mbstd_group_size", "conv_clamp"})


def check_init_from(options: Options) -> None:
    """Refuse an options.init_from whose networks do not fit `options`; labels and mapping may differ.

    Raises:
        OptionError: nothing there to read, or another architecture.
    """
    if options.init_from is None:
        return
    source = Path(options.init_from)
    if _is_saved_models(source):
        there = {name: model.config for name, model in _saved_models(source).items()}
    else:
        there = {"G": _options_of(source).generator()}
    here = {"G": options.generator(), "D": options.discriminator(), "G_ema": options.generator()}
    for name, config in there.items():
        differences = _differences(_fields(config), _fields(here[name]))
        if differences:
            raise OptionError(f"--init_from={source}: another architecture of {name} ({'; '.join(differences)})")


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {there.get(name)} there, {value} here"
        for name, value in here.items()
        if name not in _MAY_DIFFER and value != there.get(name)
    ]


def _fields(config: AnyGeneratorConfig | DiscriminatorConfig) -> dict[str, Any]:
    """Fields of a configuration, with its class under "cfg"."""
    return {"cfg": type(config).__name__, **dataclasses.asdict(config)}


def init_from(state: TrainState, source: Path) -> list[str]:
    """Copy weights and running statistics; nothing of optimizers, augmentation or progress.

    Args:
        state: new; variables without a counterpart of the same name and shape in the source keep their values.
        source: run folder or checkpoint; folder with some of G.keras, D.keras and G_ema.keras; or .keras file of a
            generator, NAME.keras, with its discriminator in NAME-discriminator.keras beside it or without, or of a
            discriminator. Of G and G_ema, one stands in for the other where that is missing.

    Returns:
        Lines that name the variables and networks that were not copied, and another clamp.

    Raises:
        OptionError: nothing there to read.
    """
    notes = []
    if _is_saved_models(source):
        found: Mapping[str, Any] = _saved_models(source)
    else:
        other = TrainState(_options_of(source))
        other.restore(run_dir.resolve_resume_path(source, flag="init_from")[1])
        found = {name: getattr(other, name) for name in NETWORKS}
    for name in NETWORKS:
        if name not in found:
            notes.append(f"--init_from={source}: has no {name}, which starts from random weights")
            continue
        network = getattr(state, name)
        if new := copy_weights(found[name], network):
            notes.append(f"--init_from={source}: new in {name}: {', '.join(new)}")
        there, here = found[name].config.conv_clamp, network.config.conv_clamp
        if there != here:
            notes.append(f"--init_from={source}: {name} clamps activations at {there:g} there, and at {here:g} here")
    return notes


def _options_of(source: Path) -> Options:
    run, _ = run_dir.resolve_resume_path(source, flag="init_from")
    return Options.from_file(run / run_dir.OPTIONS)


def _is_saved_models(source: Path) -> bool:
    return source.suffix == ".keras" or any((source / f"{name}.keras").is_file() for name in NETWORKS)


def _saved_models(source: Path) -> dict[str, keras.Model]:
    """Load networks from .keras files."""
    if source.suffix == ".keras":
        first = _load(source, keras.Model)
        if isinstance(first, Discriminator):
            return {"D": first}
        found = {"G": first, "G_ema": first}
        beside = source.with_name(source.stem + DISCRIMINATOR_SUFFIX)
        if beside.is_file():
            found["D"] = _load(beside, Discriminator)
        return found
    kinds = {"G": sg3tf.Generator, "D": Discriminator, "G_ema": sg3tf.Generator}
    found = {
        name: _load(source / f"{name}.keras", kind)
        for name, kind in kinds.items()
        if (source / f"{name}.keras").is_file()
    }
    for name, other in (("G", "G_ema"), ("G_ema", "G")):
        if other in found:
            found.setdefault(name, found[other])
    return found


def _load(file: Path, kind: type[keras.Model]) -> keras.Model:
    try:
        model = load_model(file, kind)
    except (FileNotFoundError, ValueError) as error:
        raise OptionError(f"--init_from={file}: {summarize_error(error)}") from error
    if not isinstance(model, sg3tf.Generator | Discriminator):
        raise OptionError(f"--init_from={file}: holds a {type(model).__name__}; give a generator or a discriminator")
    return model


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
