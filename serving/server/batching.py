"""Dynamic batching with TensorFlow Serving's own kernel and parameters file: requests that wait run together."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server.inputs import has_rows

Function = Callable[..., dict[str, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """The fields of TensorFlow Serving's BatchingParameters that the kernel has, with their defaults there.

    Raises:
      ValueError: values that do not fit together.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    enable_large_batch_splitting: bool = False

    @property
    def places(self) -> int:
        """Requests of one image that the kernel may hold: what its threads compute, and one batch that fills up.

        The others wait before it, where a caller who is late or gone gives up his place.
        """
        return self.max_batch_size * (self.num_batch_threads + 1)

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.batch_timeout_micros < 0:
            raise ValueError(f"batch_timeout_micros is {self.batch_timeout_micros}; it must be at least 0")
        sizes = self.allowed_batch_sizes
        if not sizes:
            return
        if sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
            raise ValueError(f"allowed_batch_sizes are {list(sizes)}; they must be at least 1 and increase")
        largest = self.max_batch_size
        # With splitting, the largest allowed size is that of the pieces.
        if sizes[-1] > largest or (sizes[-1] < largest and not self.enable_large_batch_splitting):
            raise ValueError(f"allowed_batch_sizes end with {sizes[-1]}; the last must be max_batch_size={largest}")


def read_parameters(path: Path) -> BatchingParameters:
    """Reads the text form of BatchingParameters.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is not such a text, has a field that is unknown here, or values that do not fit together.
    """
    message = _message_class()()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    values = {field.name: value for field, value in message.ListFields()}
    values.pop("thread_pool_name", None)  # a name for the real server's metrics
    given = {name: _plain(value) for name, value in values.items()}
    try:
        return BatchingParameters(**given)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _plain(value: Any) -> Any:
    return value.value if hasattr(value, "value") else tuple(value)


def _message_class() -> Any:
    """BatchingParameters as a protobuf class; the published Python package leaves it out."""
    file = descriptor_pb2.FileDescriptorProto(name="batching_parameters.proto", package="serving", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    field = descriptor_pb2.FieldDescriptorProto
    wrapped = dict.fromkeys(
        ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"), "Int64Value"
    ) | {"thread_pool_name": "StringValue", "enable_large_batch_splitting": "BoolValue"}
    for number, (name, kind) in enumerate(wrapped.items(), start=1):
        type_name = f".google.protobuf.{kind}"
        message.field.add(
            name=name, number=number, type=field.TYPE_MESSAGE, type_name=type_name, label=field.LABEL_OPTIONAL
        )
    message.field.add(
        name="allowed_batch_sizes", number=len(wrapped) + 1, type=field.TYPE_INT64, label=field.LABEL_REPEATED
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("serving.BatchingParameters"))


def is_batchable(definition: meta_graph_pb2.SignatureDef) -> bool:
    """Whether all tensors have rows (or an unknown shape, which may), so that requests can be put together."""
    shapes = [tf.TensorShape(info.tensor_shape) for info in definition.inputs.values()]
    shapes += [tf.TensorShape(info.tensor_shape) for info in definition.outputs.values()]
    return any(map(has_rows, shapes)) and all(shape.rank is None or has_rows(shape) for shape in shapes)


def batched(
    function: Function,
    definition: meta_graph_pb2.SignatureDef,
    row_shapes: Mapping[str, tuple[int, ...]],
    queue: str,
    parameters: BatchingParameters,
) -> Function:
    """`function`, run for the rows of several callers at once.

    Args:
      function: a signature's function; takes and returns tensors by name.
      definition: what it takes; `is_batchable`.
      row_shapes: shapes per row, where the definition has no shape.
      queue: a name of no other batched function in this process: those of one name would be mixed up.
      parameters: sizes, times and threads.
    """
    names = sorted(definition.inputs)
    specs = [_spec(definition.inputs[name], row_shapes.get(name)) for name in names]

    @tf.function(input_signature=specs, autograph=False)
    def run(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.name_scope(queue):
            return tf.nondifferentiable_batch_function(
                parameters.num_batch_threads,
                parameters.max_batch_size,
                parameters.batch_timeout_micros,
                list(parameters.allowed_batch_sizes) or None,
                parameters.max_enqueued_batches,
                autograph=False,
                enable_large_batch_splitting=parameters.enable_large_batch_splitting,
            )(lambda *rows: function(**dict(zip(names, rows, strict=True))))(*values)

    concrete = run.get_concrete_function()
    return lambda **inputs: concrete(*(inputs[name] for name in names))


def to_rows(value: np.ndarray, row_shape: tuple[int, ...], rows: int) -> np.ndarray:
    """What is for all images or for each -> for each of `rows` images."""
    return np.broadcast_to(value, (rows, *row_shape))


def _spec(info: meta_graph_pb2.TensorInfo, row_shape: tuple[int, ...] | None) -> tf.TensorSpec:
    shape = tf.TensorShape(info.tensor_shape) if row_shape is None else tf.TensorShape([None, *row_shape])
    return tf.TensorSpec(shape, tf.as_dtype(info.dtype))
