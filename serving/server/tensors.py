"""TensorProto to array, without believing the size that it claims."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from serving.server.errors import TooLargeError, invalid


def to_array(name: str, proto: tensor_pb2.TensorProto, max_bytes: int) -> np.ndarray:
    """The array that `proto` holds.

    Raises:
      RequestError: it is unreadable, or claims more than `max_bytes`: a proto of one value and a huge shape means that
        value everywhere, so that a few bytes could ask for all of the memory.
    """
    dims = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(dim < 0 for dim in dims):
        raise invalid(f"{name!r} has the shape {dims}; every size must be known")
    try:
        size = math.prod(dims) * max(tf.as_dtype(proto.dtype).size or 1, 1)
        if size > max_bytes:
            raise TooLargeError(f"{name!r} has the shape {dims}, {size} bytes; at most {max_bytes} are taken")
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise invalid(f"{name!r} is not a readable TensorProto: {error}") from error
