"""Dynamic batching of waiting requests, with TensorFlow Serving's own kernel and parameters file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server.inputs import has_batch_axis
from sg3tf.utils.machine import num_cores
from sg3tf.utils.protobuf import message_classes

Function = Callable[..., dict[str, tf.Tensor]]


# Declared here because tensorflow-serving-api lacks these messages. The text form has no field numbers, so any will do.
_MESSAGES = message_classes(
    "serving",
    """
    message Int64Value {
      int64 value = 1;
    }
    message BoolValue {
      bool value = 1;
    }
    message StringValue {
      string value = 1;
    }
    message BatchingParameters {
      Int64Value max_batch_size = 1;
      Int64Value batch_timeout_micros = 2;
      Int64Value max_enqueued_batches = 3;
      Int64Value num_batch_threads = 4;
      StringValue thread_pool_name = 5;
      BoolValue enable_large_batch_splitting = 6;
      repeated int64 allowed_batch_sizes = 7;
    }
    """,
)


@dataclasses.dataclass(frozen=True)
class BatchingParameters:
    """Fields of TensorFlow Serving's BatchingParameters that its kernel supports, with the same defaults.

    Raises:
        ValueError: a value is out of range, or values contradict each other.

    Examples:
        >>> BatchingParameters(max_batch_size=8, num_batch_threads=2).num_slots
        24
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = num_cores()
    allowed_batch_sizes: tuple[int, ...] = ()
    enable_large_batch_splitting: bool = False

    @property
    def num_slots(self) -> int:
        """Number of one-image requests that the kernel may hold: a full batch per thread, and one batch being filled.

        Further requests wait outside the kernel, where they can still be canceled.
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
        # With splitting, the largest allowed size is the size of the parts.
        if sizes[-1] > largest or (sizes[-1] < largest and not self.enable_large_batch_splitting):
            raise ValueError(f"allowed_batch_sizes end with {sizes[-1]}; the last must be max_batch_size={largest}")


def read_parameters(path: Path) -> BatchingParameters:
    """Read a file of BatchingParameters in protobuf text form.

    Raises:
        OSError: the file cannot be read.
        ValueError: the form is wrong, a field is unsupported, or `BatchingParameters` rejects a value.
    """
    message = _MESSAGES["BatchingParameters"]()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    values = {field.name: value for field, value in message.ListFields()}
    values.pop("thread_pool_name", None)  # only names the stock server's metrics
    sizes = tuple(values.pop("allowed_batch_sizes", ()))
    try:
        return BatchingParameters(allowed_batch_sizes=sizes, **{name: value.value for name, value in values.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def is_batchable(definition: meta_graph_pb2.SignatureDef) -> bool:
    """Return True if all tensors have a batch axis (or an unknown shape), so requests can be concatenated."""
    shapes = [tf.TensorShape(info.tensor_shape) for info in definition.inputs.values()]
    shapes += [tf.TensorShape(info.tensor_shape) for info in definition.outputs.values()]
    return any(map(has_batch_axis, shapes)) and all(shape.rank is None or has_batch_axis(shape) for shape in shapes)


def batched_function(
    function: Function,
    definition: meta_graph_pb2.SignatureDef,
    per_image_shapes: Mapping[str, tuple[int, ...]],
    queue_name: str,
    parameters: BatchingParameters,
) -> Function:
    """Return a function that runs `function` once for the rows of several callers.

    Args:
        function: function of a signature, which takes and returns tensors by name.
        definition: the signature, for which `is_batchable` is True.
        per_image_shapes: shapes per row of the inputs whose shape the definition leaves open.
        queue_name: a name unique in this process; the kernel would mix up the requests of functions with equal names.
        parameters: sizes, times and threads.
    """
    names = sorted(definition.inputs)
    specs = [_spec(definition.inputs[name], per_image_shapes.get(name)) for name in names]

    def rows_by_name(*rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return function(**dict(zip(names, rows, strict=True)))

    batch = tf.function(rows_by_name, input_signature=specs, autograph=False).get_concrete_function()

    @tf.function(input_signature=specs, autograph=False)
    def run(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = tf.raw_ops.BatchFunction(
            in_tensors=values,
            captured_tensors=batch.captured_inputs,
            f=batch,
            Tout=[output.dtype for output in batch.outputs],
            num_batch_threads=parameters.num_batch_threads,
            max_batch_size=parameters.max_batch_size,
            batch_timeout_micros=parameters.batch_timeout_micros,
            allowed_batch_sizes=list(parameters.allowed_batch_sizes),
            max_enqueued_batches=parameters.max_enqueued_batches,
            enable_large_batch_splitting=parameters.enable_large_batch_splitting,
            # One set of threads for all queues: the kernel never ends its threads, and each wakes a thousand times a
            # second. `tf.nondifferentiable_batch_function` would start new ones for every queue.
            shared_name=repr(parameters),
            batching_queue=queue_name,
        )
        return tf.nest.pack_sequence_as(batch.structured_outputs, outputs)

    concrete = run.get_concrete_function()
    return lambda **inputs: concrete(*(inputs[name] for name in names))


def _spec(info: meta_graph_pb2.TensorInfo, row_shape: tuple[int, ...] | None) -> tf.TensorSpec:
    shape = tf.TensorShape(info.tensor_shape) if row_shape is None else tf.TensorShape([None, *row_shape])
    return tf.TensorSpec(shape, tf.as_dtype(info.dtype))
