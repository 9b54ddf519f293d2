"""TensorProtos of requests to arrays, and of arrays to TensorProtos in the two forms of TensorFlow Serving."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.server.errors import RequestError, TooLargeError, invalid
from sg3tf.remote import TENSOR_TYPES

# Numbers that one call of C code converts; no other thread runs until it returns.
_PIECE = 1 << 16
_TEXT_BYTES = 8  # of an array per text: a reference


def to_spec(name: str, proto: tensor_pb2.TensorProto) -> tf.TensorSpec:
    """Return the shape and type of a TensorProto.

    Raises:
        RequestError: they are not those of an array.
    """
    dims = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(dim < 0 for dim in dims):
        raise invalid(f"{name!r} has the shape {dims}; every size must be known")
    try:
        return tf.TensorSpec(dims, tf.as_dtype(proto.dtype))
    except (TypeError, ValueError) as error:
        raise _unreadable(name, error) from error


def to_arrays(
    protos: Mapping[str, tensor_pb2.TensorProto], specs: Mapping[str, tf.TensorSpec], max_bytes: int
) -> dict[str, np.ndarray]:
    """Convert the TensorProtos of a request to arrays.

    Args:
        protos: input name -> TensorProto.
        specs: input name -> its `to_spec`.
        max_bytes: size of all arrays together.

    Raises:
        RequestError: one is unreadable, or the arrays would have more than `max_bytes`. A proto with one value and a
            huge shape repeats that value, so a request of a few bytes could exhaust memory.
    """
    total = 0
    for name, spec in specs.items():
        item = _TEXT_BYTES if spec.dtype == tf.string else max(spec.dtype.size or 1, 1)
        total += item * math.prod(spec.shape)
        if total > max_bytes:
            shape = spec.shape.as_list()
            raise TooLargeError(
                f"{name!r} has the shape {shape}, and the inputs {total} bytes; at most {max_bytes} are accepted"
            )
    return {name: _to_array(name, proto) for name, proto in protos.items()}


def _to_array(name: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, LookupError, OverflowError) as error:  # KeyError: a type that NumPy lacks
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> RequestError:
    return invalid(f"{name!r} is not a readable TensorProto: {error}")


def to_proto(array: np.ndarray, as_tensor_content: bool) -> tensor_pb2.TensorProto:
    """Convert an array to a TensorProto.

    Args:
        array: numbers, or bytes objects.
        as_tensor_content: True for one field with the array's bytes, which is fast but not supported by many small
            clients; False for one entry per element in the type's field (int_val for uint8, float_val, string_val).
            Strings are always in string_val.
    """
    dtype = tf.as_dtype(array.dtype)
    _, field = TENSOR_TYPES.get(dtype.as_datatype_enum, (None, ""))
    if as_tensor_content or not field:  # a type that small clients lack anyway
        return tensor_pb2.TensorProto.FromString(tf.io.serialize_tensor(array).numpy())
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.ravel()
    if field == "half_val":
        flat = flat.view(np.uint16)
    for start in range(0, flat.size, _PIECE):
        getattr(proto, field).extend(flat[start : start + _PIECE].tolist())
    return proto
