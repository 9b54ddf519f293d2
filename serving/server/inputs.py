"""Is this what the signature takes? Answered before TensorFlow sees it, with the argument's name."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server.errors import invalid


def check_inputs(
    definition: meta_graph_pb2.SignatureDef, inputs: Mapping[str, np.ndarray], max_rows: int
) -> int | None:
    """Names, types, shapes and finite numbers.

    Args:
      definition: the signature.
      inputs: input name -> array.
      max_rows: the largest batch; 0 is no limit.

    Returns:
      The number of rows N, or None where the signature has no batch axis.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    missing = sorted(set(definition.inputs) - set(inputs))
    unknown = sorted(set(inputs) - set(definition.inputs))
    if missing or unknown:
        parts = [f"input {name!r} is missing" for name in missing]
        parts += [f"input {name!r} is unknown" for name in unknown]
        raise invalid(f"{'; '.join(parts)}; this signature takes {_describe(definition)}")
    first: tuple[str, int] | None = None
    for name in sorted(inputs):
        shape = tf.TensorShape(definition.inputs[name].tensor_shape)
        _check_one(name, inputs[name], tf.as_dtype(definition.inputs[name].dtype), shape)
        if not has_rows(shape):
            continue
        rows = inputs[name].shape[0]
        _check_rows(name, rows, max_rows)
        first = first or (name, rows)
        if first[1] != rows:
            raise invalid(f"{name!r} has {rows} rows and {first[0]!r} has {first[1]}; send as many of each")
    return first[1] if first else None


def has_rows(shape: tf.TensorShape) -> bool:
    """Whether the first axis is the batch: known to be there, of a free size."""
    return bool(shape.rank) and shape[0] is None


def _check_rows(name: str, rows: int, max_rows: int) -> None:
    if not rows:
        raise invalid(f"{name!r} has 0 rows; send at least one")
    if max_rows and rows > max_rows:
        raise invalid(f"{name!r} has {rows} rows; send at most {max_rows} in one request")


def _check_one(name: str, value: np.ndarray, dtype: tf.DType, shape: tf.TensorShape) -> None:
    if tf.as_dtype(value.dtype) != dtype:
        got = tf.as_dtype(value.dtype).name
        raise invalid(f"{name!r} has dtype {got}; it must be {dtype.name}")
    if not shape.is_compatible_with(value.shape):
        raise invalid(f"{name!r} has shape {list(value.shape)}; it must be {_shape_text(shape)}")
    if dtype.is_floating and not np.isfinite(value).all():
        raise invalid(f"{name!r} has NaN or infinite values; all must be finite {dtype.name} numbers")


def _describe(definition: meta_graph_pb2.SignatureDef) -> str:
    inputs = sorted(definition.inputs.items())
    return ", ".join(
        f"{name} {_shape_text(tf.TensorShape(info.tensor_shape))} {tf.as_dtype(info.dtype).name}"
        for name, info in inputs
    )


def _shape_text(shape: tf.TensorShape) -> str:
    if shape.rank is None:
        return "[...]"
    return "[" + ", ".join("N" if dim is None else str(dim) for dim in shape) + "]"
