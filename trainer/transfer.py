"""Transfer learning: weights of another model to start a run from, --init_from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

import sg3tf
from sg3tf import Discriminator
from sg3tf.convert import nvidia_pickle
from sg3tf.convert.from_pickle import build_model
from sg3tf.convert.official_network import OfficialNetwork
from sg3tf.convert.weights import ParameterMismatchError
from sg3tf.data.labels import original_numbers
from sg3tf.models import hub
from sg3tf.models.discriminator_loading import existing_discriminator_beside
from sg3tf.models.loading import class_names, load_model
from sg3tf.models.run_folder import OPTIONS
from sg3tf.utils.error_text import first_line
from sg3tf.utils.safe_pickle import PickleError
from trainer import run_dir
from trainer.config import Options
from trainer.errors import OptionError
from trainer.layer_matching import copy_layers
from trainer.state import TrainState

NETWORKS = ("G", "D", "G_ema")

#: Fields of configurations that do not affect the layers.
_UNCHANGED_LAYERS = frozenset({"magnitude_ema_beta", "mbstd_group_size", "conv_clamp"})


def check_init_from(options: Options) -> list[str]:
    """Compare the networks in options.init_from with those of `options`; return a line for each that differs.

    Raises:
        OptionError: there is nothing to read, or a network is of another kind.
    """
    if options.init_from is None:
        return []
    source, there, here = options.init_from, _read_configs(_local(options.init_from)), _configs(options)
    lines = []
    for name in filter(there.get, NETWORKS):
        if type(there[name]) is not type(here[name]):
            kinds = f"{name} is a {type(there[name]).__name__} there, a {type(here[name]).__name__} here"
            raise OptionError(
                f"--init_from={source}: another architecture ({kinds}); give its --cfg, or the .keras file of D alone"
            )
        if differences := _differences(dataclasses.asdict(there[name]), dataclasses.asdict(here[name])):
            lines.append(f"--init_from={source}: {name} has {'; '.join(differences)}")
    return lines


def init_from(state: TrainState, source: str | Path, classes: Sequence[str] = ()) -> list[str]:
    """Copy weights and running statistics, but no state of optimizers, augmentation or progress.

    Args:
        state: new state; layers without a counterpart in the source keep their values (see trainer.layer_matching).
        source: run folder or checkpoint; folder with some of G.keras, D.keras and G_ema.keras; .keras file of a
            generator, NAME.keras, optionally with its discriminator in NAME-discriminator.keras next to it, or of a
            discriminator; official pickle; or the address of a generator, as for `sg3tf.load`. If G or G_ema is
            missing, the other is used for both.
        classes: names of the data's classes. If their number differs from the source's, classes of the same names keep
            what the networks know about them. A source without names, such as an official pickle, has numbers: those
            that the data's classes had before they were renumbered.

    Returns:
        Lines about networks that differ: which of their layers were copied, resized, or left unchanged.

    Raises:
        OptionError: there is nothing to read.
    """
    notes = []
    local = _local(source)
    found, reasons = _read_networks(local)
    try:
        names = class_names(local)
    except FileNotFoundError:  # a folder without an average or a run
        names = ()
    for name in NETWORKS:
        if name not in found:
            missing = f"supported {name} ({reasons[name]})" if name in reasons else name
            notes.append(f"--init_from={source}: has no {missing}, which starts from random weights")
            continue
        target = getattr(state, name)
        numbers = _class_numbers(classes, names, found[name].config.label_dim)
        if differences := _differences(dataclasses.asdict(found[name].config), dataclasses.asdict(target.config)):
            notes.append(f"--init_from={source}: {name} has {'; '.join(differences)}")
        notes += [f"--init_from={source}: {name} {line}" for line in copy_layers(found[name], target, numbers)]
        clamps = [model.config.conv_clamp for model in (found[name], target)]
        if clamps[0] != clamps[1]:
            at = "clamps activations at {:g} there, and at {:g} here".format(*clamps)
            notes.append(f"--init_from={source}: {name} {at}")
    return notes


def _class_numbers(classes: Sequence[str], names: Sequence[str], label_dim: int) -> tuple[int, ...]:
    """Return the numbers of the data's classes in a source whose classes have `names`; () if one is missing there."""
    if not names:
        return original_numbers(classes, label_dim)
    return tuple(names.index(name) for name in classes) if set(classes) <= set(names) else ()


def _configs(options: Options) -> dict[str, Any]:
    return {"G": options.generator(), "D": options.discriminator(), "G_ema": options.generator()}


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {there.get(name)} there, {value} here"
        for name, value in here.items()
        if name not in _UNCHANGED_LAYERS and value != there.get(name)
    ]


# --- Reading networks -------------------------------------------------------------------------------------------------


def _local(source: str | Path) -> Path:
    """Return `source`, or a local copy if it is an address."""
    return hub.fetch(str(source), discriminator=True) if hub.is_address(source) else Path(source)


def _read_configs(source: Path) -> dict[str, Any]:
    if _is_saved_models(source):
        return {name: model.config for name, model in _saved_models(source).items()}
    if source.is_file():
        return {name: network.config for name, network in _pickled(source)[0].items()}
    return _configs(_options_of(source))


def _read_networks(source: Path) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Return {name: network}, and {name: reason} for missing networks, if known."""
    if _is_saved_models(source):
        return _saved_models(source), {}
    if source.is_file():
        found, reasons = _pickled(source)
        try:
            return _fill_missing_generator({name: build_model(network) for name, network in found.items()}), reasons
        except ParameterMismatchError as error:
            raise OptionError(f"--init_from={source}: {first_line(error)}") from error
    other = TrainState(_options_of(source))
    other.restore(run_dir.resolve_resume_path(source, flag="init_from")[1])
    return {name: getattr(other, name) for name in NETWORKS}, {}


def _pickled(source: Path) -> tuple[dict[str, OfficialNetwork], dict[str, str]]:
    """Read the networks of an official pickle that are supported here, and the reasons why others are not."""
    try:
        found, errors = nvidia_pickle.read_several(source, NETWORKS)
    except (PickleError, OSError) as error:
        raise OptionError(f"--init_from={source}: {first_line(error)}") from error
    reasons = {name: str(error) for name, error in errors.items()}
    if not found:
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise OptionError(f"--init_from={source}: holds no supported network ({listed})")
    return found, reasons


def _options_of(source: Path) -> Options:
    run, _ = run_dir.resolve_resume_path(source, flag="init_from")
    return Options.from_file(run / OPTIONS)


def _is_saved_models(source: Path) -> bool:
    return _is_one_model(source) or any((source / f"{name}.keras").is_file() for name in NETWORKS)


def _is_one_model(source: Path) -> bool:
    return source.suffix == ".keras" or hub.is_unzipped_keras(source)


def _saved_models(source: Path) -> dict[str, keras.Model]:
    """Load networks from .keras files."""
    if _is_one_model(source):
        first = _load(source, keras.Model)
        if isinstance(first, Discriminator):
            return {"D": first}
        found = {"G": first, "G_ema": first}
        if beside := existing_discriminator_beside(source):
            found["D"] = _load(beside, Discriminator)
        return found
    kinds = {"G": sg3tf.Generator, "D": Discriminator, "G_ema": sg3tf.Generator}
    found = {
        name: _load(source / f"{name}.keras", kind)
        for name, kind in kinds.items()
        if (source / f"{name}.keras").is_file()
    }
    return _fill_missing_generator(found)


def _fill_missing_generator(found: dict[str, keras.Model]) -> dict[str, keras.Model]:
    """Let G stand in for a missing G_ema, or G_ema for a missing G."""
    for name, other in (("G", "G_ema"), ("G_ema", "G")):
        if other in found:
            found.setdefault(name, found[other])
    return found


def _load(file: Path, kind: type[keras.Model]) -> keras.Model:
    try:
        model = load_model(file, kind)
    except (FileNotFoundError, ValueError) as error:
        raise OptionError(f"--init_from={first_line(error)}") from error
    if not isinstance(model, sg3tf.Generator | Discriminator):
        raise OptionError(f"--init_from={file}: holds a {type(model).__name__}; give a generator or a discriminator")
    return model
