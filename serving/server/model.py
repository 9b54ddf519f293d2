"""One loaded SavedModel version: its signatures, checked inputs in, arrays out."""

from collections.abc import Mapping
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from serving.server.errors import RequestError, invalid, not_found

DEFAULT_SIGNATURE = "serving_default"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ServedModel:
    """A SavedModel in memory.

    Args:
      path: version folder, named by its number.

    Raises:
      OSError: no SavedModel, or an unreadable one.
    """

    def __init__(self, path: Path):
        self.version = int(path.name)
        self.signature_defs = _read_signature_defs(path)
        self._loaded = tf.saved_model.load(str(path))

    def signature_def(self, name: str) -> meta_graph_pb2.SignatureDef:
        """The signature `name`; an empty name means serving_default, as in TensorFlow Serving."""
        try:
            return self.signature_defs[name or DEFAULT_SIGNATURE]
        except KeyError:
            known = ", ".join(sorted(self.signature_defs))
            message = f"Serving signature key {name!r} not found; this model has {known}"
            raise not_found(message) from None

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one request.

        Args:
          signature: signature name, or empty for serving_default.
          inputs: input name -> array; all of the signature's inputs and no others.

        Raises:
          RequestError: unknown signature, wrong inputs, or what TensorFlow refuses while running.
        """
        definition = self.signature_def(signature)
        _check_inputs(definition, inputs)
        function = self._loaded.signatures[signature or DEFAULT_SIGNATURE]
        try:
            outputs = function(**{name: tf.constant(value) for name, value in inputs.items()})
        except tf.errors.OpError as error:
            raise RequestError(_CODES[error.error_code], _reason(error.message)) from error
        return {name: np.asarray(value.numpy()) for name, value in outputs.items()}


def _read_signature_defs(path: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    saved_model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    for graph in saved_model.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            # Names with two underscores are SavedModel's own bookkeeping.
            return {k: v for k, v in graph.signature_def.items() if not k.startswith("__")}
    raise OSError(f"{path} has no graph tagged 'serve'; export it again")


def _reason(message: str) -> str:
    """What went wrong, out of TensorFlow's report of where it did: the last line not indented."""
    lines = [line for line in message.splitlines() if line and not line.startswith("\t")]
    return lines[-1]


def _check_inputs(definition: meta_graph_pb2.SignatureDef, inputs: Mapping[str, np.ndarray]) -> None:
    missing = sorted(set(definition.inputs) - set(inputs))
    unknown = sorted(set(inputs) - set(definition.inputs))
    if missing or unknown:
        parts = [f"input {name!r} is missing" for name in missing]
        parts += [f"input {name!r} is unknown" for name in unknown]
        raise invalid(f"{'; '.join(parts)}; this signature takes {_describe(definition)}")
    batch: tuple[str, int] | None = None
    for name in sorted(inputs):
        shape = tf.TensorShape(definition.inputs[name].tensor_shape)
        _check_one(name, inputs[name], tf.as_dtype(definition.inputs[name].dtype), shape)
        if not shape.rank or shape[0] is not None:
            continue
        size = inputs[name].shape[0]
        if batch and batch[1] != size:
            raise invalid(f"{name!r} has {size} rows and {batch[0]!r} has {batch[1]}; send as many of each")
        batch = (name, size)


def _check_one(name: str, value: np.ndarray, dtype: tf.DType, shape: tf.TensorShape) -> None:
    if tf.as_dtype(value.dtype) != dtype:
        got = tf.as_dtype(value.dtype).name
        raise invalid(f"{name!r} has dtype {got}; it must be {dtype.name}")
    if not shape.is_compatible_with(value.shape):
        raise invalid(f"{name!r} has shape {list(value.shape)}; it must be {_shape_text(shape)}")


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
