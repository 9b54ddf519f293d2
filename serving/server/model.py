"""One loaded SavedModel version: its signatures, checked inputs in, arrays out."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.server.batching import BatchingParameters, Function, batched, is_batchable, to_rows
from serving.server.errors import RequestError, invalid, not_found
from serving.server.inputs import check_inputs, check_row_shape, check_values, read_metadata, row_shapes

DEFAULT_SIGNATURE = "serving_default"
# The kernel's queues outlive the model, and their names must not come back.
_queue_numbers = itertools.count()
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ServedModel:
    """A SavedModel in memory.

    Args:
      path: version folder, named by its number.
      batching: puts requests together; None runs each by itself.
      max_batch: the most rows of a request; 0 is no limit.

    Raises:
      OSError: no SavedModel, an unreadable one, or one that takes smaller batches than `batching` makes.
    """

    def __init__(self, path: Path, batching: BatchingParameters | None = None, max_batch: int = 0):
        self.version = int(path.name)
        self.signature_defs = _read_signature_defs(path)
        exported = read_metadata(path)
        self._is_generator = exported is not None
        own_limit, together = (exported or {}).get("max_batch") or 0, batching.max_batch_size if batching else 0
        if 0 < own_limit < together:
            raise OSError(
                f"{path} takes {own_limit} images at most: give no larger max_batch_size than that to batching"
            )
        self._max_rows = min([limit for limit in (max_batch, together, own_limit) if limit], default=0)
        self._loaded = tf.saved_model.load(str(path))
        self._batched: dict[str, Function] = {}
        for name, definition in self.signature_defs.items():
            if batching and is_batchable(definition):
                queue = f"{name}_{next(_queue_numbers)}"
                function = self._loaded.signatures[name]
                self._batched[name] = batched(function, definition, self.row_shapes(definition), queue, batching)

    def signature_def(self, name: str) -> meta_graph_pb2.SignatureDef:
        """The signature `name`; an empty name means serving_default, as in TensorFlow Serving."""
        try:
            return self.signature_defs[name or DEFAULT_SIGNATURE]
        except KeyError:
            known = ", ".join(sorted(self.signature_defs))
            message = f"Serving signature key {name!r} not found; this model has {known}"
            raise not_found(message) from None

    def row_shapes(self, definition: meta_graph_pb2.SignatureDef) -> dict[str, tuple[int, ...]]:
        """Shape per image of the inputs that may be for all images or for each, where they are known."""
        return row_shapes(definition) if self._is_generator else {}

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one request.

        Args:
          signature: signature name, or empty for serving_default.
          inputs: input name -> array; all of the signature's inputs and no others.

        Raises:
          RequestError: unknown signature, wrong inputs, or what TensorFlow refuses while running.
        """
        definition = self.signature_def(signature)
        signature = signature or DEFAULT_SIGNATURE
        rows = check_inputs(definition, inputs, self._max_rows)
        inputs = self._check_meanings(definition, inputs, rows, spread=signature in self._batched)
        function = self._batched.get(signature) or self._loaded.signatures[signature]
        try:
            outputs = function(**{name: tf.constant(value) for name, value in inputs.items()})
        except tf.errors.OpError as error:
            raise RequestError(_CODES[error.error_code], _reason(error.message)) from error
        return {name: np.asarray(value.numpy()) for name, value in outputs.items()}

    def _check_meanings(
        self,
        definition: meta_graph_pb2.SignatureDef,
        inputs: Mapping[str, np.ndarray],
        rows: int | None,
        spread: bool,
    ) -> dict[str, np.ndarray]:
        """Refuses what the graph would: in a batch its refusal would be everyone's."""
        result = dict(inputs)
        if self._is_generator and rows is not None:
            for name, shape in self.row_shapes(definition).items():
                check_row_shape(name, inputs[name], shape, rows)
                if spread:
                    result[name] = to_rows(inputs[name], shape, rows)
            check_values(inputs)
        if spread:
            for name, value in result.items():
                if value.shape[:1] != (rows,):
                    raise invalid(
                        f"{name!r} has shape {list(value.shape)}; batching needs {rows} rows of it, as of all"
                    )
        return result


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


# ---------------------------------------------------------------------------------------------------------------------
# A version answers some requests of its own before it is announced: the first user waits for no compilation.
# ---------------------------------------------------------------------------------------------------------------------

_logger = logging.getLogger(__name__)


def warm_up(model: ServedModel, version_folder: Path) -> None:
    """Replays assets.extra/tf_serving_warmup_requests, or makes up one request of one row per signature.

    Raises:
      RequestError: the model cannot answer a request of its own file.
      tf.errors.DataLossError: the file is damaged.
    """
    file = version_folder / "assets.extra" / "tf_serving_warmup_requests"
    if file.is_file():
        for signature, inputs in _recorded(file):
            model.run(signature, inputs)
        return
    for signature, definition in model.signature_defs.items():
        try:
            model.run(signature, _made_up(model, definition))
        except RequestError as error:
            # Invented values prove nothing against the model: its first request will only be slower.
            _logger.warning("no warm-up of %s: %s", signature, error)


def _recorded(file: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") == "predict_log":
            request = log.predict_log.request
            yield request.model_spec.signature_name, {k: tf.make_ndarray(v) for k, v in request.inputs.items()}


def _made_up(model: ServedModel, definition: meta_graph_pb2.SignatureDef) -> dict[str, np.ndarray]:
    """Zeros; every free size is one."""
    row_shapes = model.row_shapes(definition)
    inputs = {}
    for name, info in definition.inputs.items():
        shape = tf.TensorShape(info.tensor_shape)
        sizes = list(row_shapes.get(name, ())) if shape.rank is None else [size or 1 for size in shape]
        inputs[name] = np.zeros(sizes, tf.as_dtype(info.dtype).as_numpy_dtype)
    return inputs
