"""A loaded SavedModel version, which checks inputs and returns arrays."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.server.batching import BatchingParameters, Function, batched_function, is_batchable
from serving.server.errors import RequestError, TooManyRowsError, invalid, not_found
from serving.server.inputs import (
    check_classes,
    check_inputs,
    check_marks,
    check_per_image_shape,
    check_ranges,
    check_specs,
    num_marks,
    per_image_shapes,
)
from sg3tf.utils import saved_models

DEFAULT_SIGNATURE = "serving_default"
# The JSON of a request may have this many times the lists, objects and commas of the largest batch, and this many more:
# a few rows too many have an error that names their limit.
_MARKS_FACTOR, _MORE_MARKS = 4, 2**16
# Signatures that look something up in a table; in a queue, they would wait for images.
_LOOKUPS = ("label", "class_name", "label_scale")
# The batching kernel's queues outlive the model, so their names must not be reused.
_queue_numbers = itertools.count()
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_logger = logging.getLogger(__name__)


class ServedModel:
    """A SavedModel in memory.

    Args:
        path: version folder, named by its number.
        batching: parameters of batching; None to run each request on its own.
        max_batch: maximum number of rows per request; 0 for no limit.

    Raises:
        OSError: the SavedModel is missing, is unreadable, or has a smaller limit than the batches of `batching`.
    """

    def __init__(self, path: Path, batching: BatchingParameters | None = None, max_batch: int = 0):
        self.version = int(path.name)
        saved_models.require_intact(path)
        self.signature_defs = _read_signature_defs(path)
        metadata = saved_models.read_metadata(path)
        self._is_generator = metadata is not None
        self._classes = (metadata or {}).get("classes", [])
        self._label_dim = (metadata or {}).get("config", {}).get("label_dim", 0)
        exported_limit = (metadata or {}).get("max_batch") or 0
        batching_limit = batching.max_batch_size if batching else 0
        if 0 < exported_limit < batching_limit:
            raise OSError(
                f"{path} takes at most {exported_limit} images: give batching a max_batch_size that is no larger"
            )
        limits = [limit for limit in (max_batch, batching_limit, exported_limit) if limit]
        self._max_rows = min(limits, default=0)
        # Empty for models of others.
        self.per_image_shapes = {
            name: per_image_shapes(definition) if self._is_generator else {}
            for name, definition in self.signature_defs.items()
        }
        self._max_marks = self._find_max_marks()
        self._loaded = saved_models.load(path)
        self._batched: dict[str, Function] = {}
        for name, definition in self.signature_defs.items():
            is_lookup = self._is_generator and name in _LOOKUPS
            if batching and is_batchable(definition) and not is_lookup:
                queue_name = f"{name}_{next(_queue_numbers)}"
                function = self._loaded.signatures[name]
                shapes = self.per_image_shapes[name]
                self._batched[name] = batched_function(function, definition, shapes, queue_name, batching)

    def _find_max_marks(self) -> int | None:
        text_commas = sum(name.count(",") + 1 for name in self._classes) if self._is_generator else None
        most = 0
        for name, definition in self.signature_defs.items():
            number = num_marks(definition, self.per_image_shapes[name], self._max_rows, text_commas)
            if number is None:
                return None
            most = max(most, number)
        return _MARKS_FACTOR * most + _MORE_MARKS

    def signature_def(self, name: str) -> meta_graph_pb2.SignatureDef:
        """Return the signature `name`; an empty name means serving_default, as in TensorFlow Serving."""
        try:
            return self.signature_defs[name or DEFAULT_SIGNATURE]
        except KeyError:
            known = ", ".join(sorted(self.signature_defs))
            message = f"Serving signature key {name!r} not found; this model has {known}"
            raise not_found(message) from None

    def check_specs(self, signature: str, specs: Mapping[str, tf.TensorSpec]) -> None:
        """Check names, types and shapes of inputs that have not been read yet.

        Raises:
            RequestError: the signature is unknown, or does not take them.
        """
        check_specs(self.signature_def(signature), specs, self._max_rows)

    def check_json(self, body: bytes | bytearray) -> None:
        """Check the length of a request that has not been parsed yet.

        Raises:
            RequestError: it is far longer than the largest batch.
        """
        check_marks(body, self._max_marks, self._max_rows)

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer one request.

        Args:
            signature: signature name, or empty for serving_default.
            inputs: input name -> array; all of the signature's inputs and no others.

        Raises:
            RequestError: the signature is unknown, the inputs are invalid, or TensorFlow fails.
        """
        return self.prepare(signature, inputs)()

    def prepare(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Callable[[], dict[str, np.ndarray]]:
        """Check one request, and return a function that answers it.

        Args:
            signature, inputs: as in `run`.

        Raises:
            RequestError: the signature is unknown, or the inputs are invalid. The function raises it if TensorFlow
                fails.
        """
        definition = self.signature_def(signature)
        signature = signature or DEFAULT_SIGNATURE
        rows = check_inputs(definition, inputs, self._max_rows)
        if self._is_generator and rows is not None:
            self._validate_semantics(signature, inputs, rows)
        function = self._batched.get(signature)
        if function is None:
            return partial(_call, self._loaded.signatures[signature], inputs)
        return partial(_call, function, self._broadcast_rows(signature, inputs, rows))

    def _validate_semantics(self, signature: str, inputs: Mapping[str, np.ndarray], rows: int) -> None:
        """Repeat the graph's checks, whose error would fail the other requests of a batch."""
        for name, shape in self.per_image_shapes[signature].items():
            check_per_image_shape(name, inputs[name], shape, rows)
        check_ranges(inputs)
        if "class_name" in inputs:
            check_classes(inputs["class_name"], self._classes, self._label_dim)

    def _broadcast_rows(
        self, signature: str, inputs: Mapping[str, np.ndarray], rows: int | None
    ) -> dict[str, np.ndarray]:
        """Give every input the batch axis that batching needs."""
        result = dict(inputs)
        if rows is not None:
            for name, shape in self.per_image_shapes[signature].items():
                result[name] = np.broadcast_to(inputs[name], (rows, *shape))
        for name, value in result.items():
            if value.shape[:1] != (rows,):
                raise invalid(f"{name!r} has shape {list(value.shape)}; batching needs {rows} rows of every input")
        return result


def _call(function: Function, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
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
    """Return the last unindented line of TensorFlow's message: the error without its traceback."""
    lines = [line for line in message.splitlines() if line and not line.startswith("\t")]
    return lines[-1]


# --- Warm-up: requests answered before the version is announced, so clients do not wait for compilation ---------------


def warm_up(model: ServedModel, version_folder: Path) -> None:
    """Replay the version's recorded requests, or else one synthetic request of one row per signature.

    Recorded requests with more rows than the server accepts are skipped.

    Raises:
        RequestError: the model cannot answer a recorded request.
        tf.errors.DataLossError: the file is damaged.
    """
    file = version_folder / saved_models.WARMUP_FILE
    too_large: list[TooManyRowsError] = []
    is_warm = False
    for signature, inputs in _recorded_requests(file) if file.is_file() else ():
        try:
            model.run(signature, inputs)
            is_warm = True
        except TooManyRowsError as error:
            too_large.append(error)
    if too_large:
        _logger.warning(
            "%s: %d recorded requests of up to %d images are left out of the warm-up; "
            "this server takes at most %d in one request",
            version_folder,
            len(too_large),
            max(error.rows for error in too_large),
            too_large[0].max_rows,
        )
    if is_warm:
        return
    for signature in model.signature_defs:
        try:
            model.run(signature, _synthetic_inputs(model, signature))
        except RequestError as error:
            # Synthetic inputs may be invalid for a working model; its first request will be slower.
            _logger.warning("no warm-up of %s: %s", signature, error)


def _recorded_requests(file: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") == "predict_log":
            request = log.predict_log.request
            yield request.model_spec.signature_name, {k: tf.make_ndarray(v) for k, v in request.inputs.items()}


def _synthetic_inputs(model: ServedModel, signature: str) -> dict[str, np.ndarray]:
    """Return zeros, "0" for text, or ones for integers such as a scale, with size 1 for every free dimension."""
    shapes = model.per_image_shapes[signature]
    inputs = {}
    for name, info in model.signature_defs[signature].inputs.items():
        shape = tf.TensorShape(info.tensor_shape)
        sizes = list(shapes.get(name, ())) if shape.rank is None else [size or 1 for size in shape]
        dtype = tf.as_dtype(info.dtype)
        value = b"0" if dtype == tf.string else 1 if dtype.is_integer else 0
        inputs[name] = np.full(sizes, value, dtype.as_numpy_dtype)
    return inputs
