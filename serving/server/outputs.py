"""Outputs of predictions as TensorProtos, in the two forms of TensorFlow Serving."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from sg3tf.remote import TENSOR_TYPES


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
    getattr(proto, field).extend((flat.view(np.uint16) if field == "half_val" else flat).tolist())
    return proto
