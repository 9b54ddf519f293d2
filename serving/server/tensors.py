"""TensorProtos of requests to arrays, and of arrays to TensorProtos in the two forms of TensorFlow Serving."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.server.errors import TooLargeError, invalid
from sg3tf.remote import TENSOR_TYPES

# Numbers that one call of C code converts; no other thread runs until it returns.
_PIECE = 1 << 16


def to_array(name: str, proto: tensor_pb2.TensorProto, max_bytes: int) -> np.ndarray:
    """Convert a TensorProto to an array.

    Raises:
        RequestError: it is unreadable, or the array would have more than `max_bytes`. A proto with one value and a huge
            shape repeats that value, so a request of a few bytes could exhaust memory.
    """
    dims = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(dim < 0 for dim in dims):
        raise invalid(f"{name!r} has the shape {dims}; every size must be known")
    try:
        size = math.prod(dims) * max(tf.as_dtype(proto.dtype).size or 1, 1)
        if size > max_bytes:
            raise TooLargeError(f"{name!r} has the shape {dims}, {size} bytes; at most {max_bytes} are accepted")
        return tf.make_ndarray(proto)
    except (TypeError, ValueError, LookupError, OverflowError) as error:  # KeyError: a type that NumPy lacks
        raise invalid(f"{name!r} is not a readable TensorProto: {error}") from error


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
