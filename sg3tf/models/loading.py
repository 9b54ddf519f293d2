"""Load a generator from a run folder, a checkpoint or a .keras file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np

from sg3tf.models.generators import Generator

Model = TypeVar("Model", bound=keras.Model)


def load(path: str | os.PathLike[str]) -> Generator:
    """Load the generator stored at `path`.

    Args:
        path: a .keras file, a checkpoint folder (which holds generator.keras), or a run folder (for its newest
            network-snapshot-*.keras).

    Raises:
        FileNotFoundError: there is no generator.
        ValueError: the file does not hold a generator.
    """
    return load_model(_generator_file(Path(path)), Generator)


def load_model(file: Path, kind: type[Model]) -> Model:
    """Load the model in a .keras file.

    Raises:
        ValueError: it cannot be loaded, or is not a `kind`.
    """
    try:
        model = keras.models.load_model(file, compile=False)
    except Exception as error:  # Keras raises errors of many types for files of other formats
        raise ValueError(f"{file}: cannot be loaded as a .keras model ({error})") from error
    if not isinstance(model, kind):
        raise ValueError(f"{file}: holds a {type(model).__name__}, not a {kind.__name__}")
    return model


def weights_digest(G: Any) -> str:
    """Digest of a generator's class, configuration and variables, "sha256:...", wherever it is stored."""
    digest = hashlib.sha256(json.dumps([type(G).__name__, dataclasses.asdict(G.config)]).encode())
    for variable in G.variables:
        digest.update(np.ascontiguousarray(variable).tobytes())
    return f"sha256:{digest.hexdigest()}"


def _generator_file(path: Path) -> Path:
    if path.is_file():
        return path
    if (path / "generator.keras").is_file():
        return path / "generator.keras"
    snapshots = sorted(path.glob("network-snapshot-*.keras"))
    if not snapshots:
        raise FileNotFoundError(
            f"{path}: holds no generator; give a .keras file, a checkpoint folder with generator.keras, "
            "or a run folder with network-snapshot-*.keras"
        )
    return snapshots[-1]
