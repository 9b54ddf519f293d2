"""What an exported generator's inputs mean, beyond the types and shapes that a signature can express.

Applied only to a version whose assets.extra/sg3tf.json says that this project exported it: another model may give the
same names to other things.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server.errors import invalid

_MAX_PSI = 2.0
_LAST_SEED = 2**32 - 1


def read_metadata(version_folder: Path) -> dict[str, Any] | None:
    """What the export said of the version; None where this project did not export it.

    Raises:
      OSError: what it said cannot be read.
    """
    file = version_folder / "assets.extra" / "sg3tf.json"
    if not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OSError(f"{file} is damaged: {error}; export the version again") from error


def row_shapes(signature: meta_graph_pb2.SignatureDef) -> dict[str, tuple[int, ...]]:
    """Shape per image of the inputs that are for all images or for each: psi and mask, where the signature has them."""
    shapes: dict[str, tuple[int, ...]] = {"psi": ()}
    if "ws_a" in signature.inputs:
        shapes["mask"] = (signature.inputs["ws_a"].tensor_shape.dim[1].size,)
    return {name: shape for name, shape in shapes.items() if name in signature.inputs}


def check_row_shape(name: str, value: np.ndarray, row: tuple[int, ...], rows: int) -> None:
    """`value` must have the shape `row`, for all images, or be one row or `rows` rows of it."""
    if value.shape not in (row, (1, *row), (rows, *row)):
        per_image = "[" + ", ".join(["N", *map(str, row)]) + "]"
        for_all = str(list(row)) if row else "a scalar"
        raise invalid(f"{name} must be {for_all} or {per_image} with N={rows}; its shape is {list(value.shape)}")


def check_values(inputs: Mapping[str, np.ndarray]) -> None:
    """Refuses psi, label and seed outside of their ranges.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    for name, check in _CHECKS.items():
        if name in inputs:
            check(name, inputs[name])


def _check_psi(name: str, value: np.ndarray) -> None:
    wrong = value[np.abs(value) > _MAX_PSI]
    if wrong.size:
        raise invalid(f"{name!r} is {wrong.flat[0]:g}; it must be from {-_MAX_PSI:g} to {_MAX_PSI:g}")


def _check_label(name: str, value: np.ndarray) -> None:
    known = np.all((value == 0) | (value == 1), axis=1) & (value.sum(axis=1) <= 1)
    if not known.all():
        row = int(np.argmin(known))
        raise invalid(f"{name!r} row {row} is no known label; it must be one-hot, or all zeros for none")


def _check_seed(name: str, value: np.ndarray) -> None:
    wrong = value[(value < 0) | (value > _LAST_SEED)]
    if wrong.size:
        raise invalid(f"{name!r} has {wrong.flat[0]}; every seed must be from 0 to {_LAST_SEED}")


_CHECKS: dict[str, Callable[[str, np.ndarray], None]] = {
    "psi": _check_psi,
    "label": _check_label,
    "seed": _check_seed,
}
