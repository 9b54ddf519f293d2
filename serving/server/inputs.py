"""Checks of the inputs of requests: names, types, shapes and ranges."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving import LARGEST_SCALE
from serving.server.errors import TooManyRowsError, invalid
from sg3tf.utils.class_names import describe_class_name, label_of
from sg3tf.utils.error_text import shown

# --- Checks against the signature, whose errors name the input --------------------------------------------------------


def check_inputs(
    definition: meta_graph_pb2.SignatureDef, inputs: Mapping[str, np.ndarray], max_rows: int
) -> int | None:
    """Check names, types and shapes, and that all numbers are finite.

    Args:
        definition: the signature.
        inputs: input name -> array.
        max_rows: largest batch; 0 for no limit.

    Returns:
        Number of rows N, or None if no input has a batch axis.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    specs = {name: tf.TensorSpec(value.shape, tf.as_dtype(value.dtype)) for name, value in inputs.items()}
    rows = check_specs(definition, specs, max_rows)
    for name in sorted(inputs):
        if specs[name].dtype.is_floating and not np.isfinite(inputs[name]).all():
            dtype = specs[name].dtype.name
            raise invalid(f"{name!r} has NaN or infinite values; all must be finite {dtype} numbers")
    return rows


def check_specs(
    definition: meta_graph_pb2.SignatureDef, specs: Mapping[str, tf.TensorSpec], max_rows: int
) -> int | None:
    """Check names, types and shapes, which are known before the arrays are.

    Args:
        definition: the signature.
        specs: input name -> shape and type.
        max_rows: largest batch; 0 for no limit.

    Returns:
        Number of rows N, or None if no input has a batch axis.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    missing = sorted(set(definition.inputs) - set(specs))
    unknown = sorted(set(specs) - set(definition.inputs))
    if missing or unknown:
        parts = [f"input {name!r} is missing" for name in missing]
        parts += [f"input {name!r} is unknown" for name in unknown]
        raise invalid(f"{'; '.join(parts)}; this signature takes {_signature_text(definition)}")
    first: tuple[str, int] | None = None
    for name in sorted(specs):
        shape = tf.TensorShape(definition.inputs[name].tensor_shape)
        _check_one(name, specs[name], tf.as_dtype(definition.inputs[name].dtype), shape)
        if not has_batch_axis(shape):
            continue
        rows = specs[name].shape[0]
        _check_rows(name, rows, max_rows)
        first = first or (name, rows)
        if first[1] != rows:
            raise invalid(f"{name!r} has {rows} rows and {first[0]!r} has {first[1]}; send the same number of each")
    return first[1] if first else None


def has_batch_axis(shape: tf.TensorShape) -> bool:
    """Return True if the shape is known and its first axis is free."""
    return bool(shape.rank) and shape[0] is None


def _check_rows(name: str, rows: int, max_rows: int) -> None:
    if not rows:
        raise invalid(f"{name!r} has 0 rows; send at least one")
    if max_rows and rows > max_rows:
        raise TooManyRowsError(name, rows, max_rows)


def _check_one(name: str, spec: tf.TensorSpec, dtype: tf.DType, shape: tf.TensorShape) -> None:
    if spec.dtype != dtype:
        raise invalid(f"{name!r} has dtype {spec.dtype.name}; it must be {dtype.name}")
    if not shape.is_compatible_with(spec.shape):
        raise invalid(f"{name!r} has shape {spec.shape.as_list()}; it must be {_shape_text(shape)}")


def num_marks(
    definition: meta_graph_pb2.SignatureDef,
    per_image: Mapping[str, tuple[int, ...]],
    max_rows: int,
    text_commas: int | None,
) -> int | None:
    """Return the largest number of lists, objects and commas in the JSON of a request; None if it has no limit.

    Args:
        definition: the signature.
        per_image: see `per_image_shapes`.
        max_rows: largest batch; 0 for no limit.
        text_commas: largest number of commas in a text; None for no limit.
    """
    total = 3 + 2 * max_rows  # the request, its columns or its list of rows, and the rows with their commas
    for name, info in definition.inputs.items():
        shape = tf.TensorShape(info.tensor_shape)
        if name in per_image:
            shape = tf.TensorShape([max_rows, *per_image[name]])
        elif has_batch_axis(shape):
            shape = tf.TensorShape([max_rows, *shape[1:]])
        if not (max_rows and shape.is_fully_defined()):
            return None
        *lists, elements = accumulate(shape, operator.mul, initial=1)  # lists at each depth
        total += 2 * sum(lists) + elements + max_rows  # each with a comma; the last for that in the object of a row
        if info.dtype == types_pb2.DT_STRING:
            if text_commas is None:
                return None
            total += elements * (1 + text_commas)  # binary ones are objects
    return total


def check_marks(body: bytes | bytearray, most: int | None, max_rows: int) -> None:
    """Reject JSON with more lists, objects and commas than `most` before it is parsed.

    No other thread runs while it is parsed, and each of them takes memory.

    Raises:
        RequestError: INVALID_ARGUMENT, with `max_rows`.
    """
    marks = sum(map(body.count, (b"[", b"{", b",")))
    if most is not None and marks > most:
        what = f"the JSON has {marks} lists, objects and commas"
        raise invalid(f"{what}; send at most {max_rows} rows in one request")  # clients read this number


def _signature_text(definition: meta_graph_pb2.SignatureDef) -> str:
    inputs = sorted(definition.inputs.items())
    return ", ".join(
        f"{name} {_shape_text(tf.TensorShape(info.tensor_shape))} {tf.as_dtype(info.dtype).name}"
        for name, info in inputs
    )


def _shape_text(shape: tf.TensorShape) -> str:
    if shape.rank is None:
        return "[...]"
    return "[" + ", ".join("N" if dim is None else str(dim) for dim in shape) + "]"


# --- Semantics of a generator's inputs, which a signature cannot express ----------------------------------------------
# They apply only to versions with assets.extra/sg3tf.json, which this project exported. Other models may use the same
# names with other meanings.

_MAX_PSI = 2.0
_LAST_SEED = 2**32 - 1


def per_image_shapes(signature: meta_graph_pb2.SignatureDef) -> dict[str, tuple[int, ...]]:
    """Return the shape per image of those inputs of the signature that may be given once or per image."""
    shapes: dict[str, tuple[int, ...]] = {"psi": (), "scale": ()}
    if "ws_a" in signature.inputs:
        shapes["mask"] = (signature.inputs["ws_a"].tensor_shape.dim[1].size,)
    return {name: shape for name, shape in shapes.items() if name in signature.inputs}


def check_per_image_shape(name: str, value: np.ndarray, row: tuple[int, ...], rows: int) -> None:
    """Check that `value` has the shape `row`, or [1, *row], or [rows, *row]."""
    if value.shape not in (row, (1, *row), (rows, *row)):
        per_image = "[" + ", ".join(["N", *map(str, row)]) + "]"
        for_all = str(list(row)) if row else "a scalar"
        raise invalid(f"{name} must be {for_all} or {per_image} with N={rows}; its shape is {list(value.shape)}")


def check_classes(texts: np.ndarray, classes: Sequence[str], dim: int) -> None:
    """Check the texts [N] of an input class_name.

    Raises:
        RequestError: INVALID_ARGUMENT, if a text is not a class.
    """
    for text in (value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in texts):
        if label_of(text, classes, dim) is None:
            raise invalid(f"'class_name' is {shown(text, 100)}; it must be {describe_class_name(classes, dim)}")


def check_ranges(inputs: Mapping[str, np.ndarray]) -> None:
    """Check the ranges of psi, seed and scale.

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


def _check_seed(name: str, value: np.ndarray) -> None:
    wrong = value[(value < 0) | (value > _LAST_SEED)]
    if wrong.size:
        raise invalid(f"{name!r} has {wrong.flat[0]}; every seed must be from 0 to {_LAST_SEED}")


def _check_scale(name: str, value: np.ndarray) -> None:
    wrong = value[(value < 1) | (value > LARGEST_SCALE)]
    if wrong.size:
        raise invalid(f"{name!r} is {wrong.flat[0]}; it must be from 1 to {LARGEST_SCALE}")


_CHECKS: dict[str, Callable[[str, np.ndarray], None]] = {
    "psi": _check_psi,
    "seed": _check_seed,
    "scale": _check_scale,
}
