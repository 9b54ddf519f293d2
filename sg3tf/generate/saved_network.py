"""A network that was exported as a SavedModel."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.generate.exported_network import OUTPUTS, Shape, exported_network
from sg3tf.generate.network import Network
from sg3tf.generate.one_by_one import default_batch, one_by_one

_MODEL_FILE = "saved_model.pb"


def version_folder(path: Path) -> Path | None:
    """The SavedModel at `path`, or the newest of its versions there; None where there is none."""
    versions = [entry for entry in path.glob("*") if entry.name.isdecimal()]
    newest = sorted(versions, key=lambda entry: int(entry.name), reverse=True)
    return next((folder for folder in (path, *newest) if (folder / _MODEL_FILE).is_file()), None)


def saved_network(folder: Path, name: str, batch: int | None = None) -> Network:
    """The Network of a version that serving.export has written.

    Args:
        folder: the version's.
        name: what messages call it.
        batch: as of open_network.

    Raises:
        OSError, ValueError: something else is in the folder.
    """
    loaded = tf.saved_model.load(str(folder))
    signatures = {key: loaded.signatures[key] for key in OUTPUTS if key in loaded.signatures}
    shapes: dict[str, Shape] = {}
    for signature in signatures.values():
        specs = {**signature.structured_input_signature[1], **signature.structured_outputs}
        shapes |= {key: tuple(spec.shape) for key, spec in specs.items() if spec.shape.rank is not None}
    batch = batch or default_batch((shapes.get("images") or (None, None))[1] or 1)
    functions = {key: _one_by_one(signature, OUTPUTS[key], batch) for key, signature in signatures.items()}

    def call(signature: str, inputs: dict[str, NDArray[Any] | None], owner: Any = loaded) -> NDArray[Any]:
        """`owner` keeps the variables alive, which the functions do not."""
        return functions[signature](**inputs)

    return exported_network(name, shapes, call, lambda: _digest(folder), batch)


def _one_by_one(signature: Any, output: str, batch: int) -> Any:
    spec = signature.structured_outputs[output]
    row = tf.TensorSpec(spec.shape[1:], spec.dtype)
    return one_by_one(lambda **inputs: signature(**inputs)[output], row, batch)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.glob("variables/*")):
        digest.update(file.read_bytes())
    return f"sha256:{digest.hexdigest()}"
