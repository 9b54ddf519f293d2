"""Networks exported as SavedModels by `sg3tf export`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from sg3tf.generate.keras_network import default_batch, map_rows
from sg3tf.generate.network import ExportedNetwork, Shape
from sg3tf.utils import saved_models
from sg3tf.utils.label_scale import LabelScale
from sg3tf.utils.resolution import Size


def exported_classes(folder: Path) -> tuple[str, ...]:
    """Return the class names in a version folder written by `sg3tf export`; () if it has none."""
    try:
        return tuple(map(str, _metadata(folder)["classes"]))
    except (LookupError, TypeError):
        return ()


def exported_label_scale(folder: Path) -> LabelScale | None:
    """Return the label scale in a version folder written by `sg3tf export`; None if it has none."""
    metadata = _metadata(folder)
    return LabelScale.from_json(metadata.get("label_scale")) if isinstance(metadata, dict) else None


def _metadata(folder: Path) -> Any:
    try:
        return saved_models.read_metadata(folder) or {}
    except OSError:
        return {}


class SavedModelNetwork(ExportedNetwork):
    """Network for a version folder written by `sg3tf export`.

    Args:
        folder: the version folder.
        name: its name in messages.
        batch: see open_network.

    Raises:
        OSError, ValueError: the folder has other content.
    """

    def __init__(self, folder: Path, name: str, batch: int | None = None) -> None:
        saved_models.require_intact(folder)
        self._folder = folder
        self._loaded = saved_models.load(folder)  # keeps the variables alive; the functions alone do not
        signatures = {key: self._loaded.signatures[key] for key in self.OUTPUTS if key in self._loaded.signatures}
        shapes: dict[str, Shape] = {}
        for signature in signatures.values():
            specs = {**signature.structured_input_signature[1], **signature.structured_outputs}
            shapes |= {key: tuple(spec.shape) for key, spec in specs.items() if spec.shape.rank is not None}
        _, height, width, _ = shapes.get("images") or (None,) * 4
        super().__init__(name, batch or default_batch(Size(width or 1, height or 1)), shapes)
        self._functions = {key: self._single(signature, self.OUTPUTS[key]) for key, signature in signatures.items()}

    def identity(self) -> str:
        """Return the digest of the graph, which includes the precision, and the variables' files."""
        digest = hashlib.sha256()
        for file in [self._folder / "saved_model.pb", *sorted(self._folder.glob("variables/*"))]:
            digest.update(file.read_bytes())
        return f"sha256:{digest.hexdigest()}"

    def _call(self, signature: str, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        return self._functions[signature](**inputs)

    def _single(self, signature: Any, output: str) -> Callable[..., NDArray[Any]]:
        spec = signature.structured_outputs[output]
        row = tf.TensorSpec(spec.shape[1:], spec.dtype)
        return map_rows(lambda **inputs: signature(**inputs)[output], row, self.batch)
