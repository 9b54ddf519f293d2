"""A version answers some requests of its own before it is announced: the first user waits for no compilation."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.server.errors import RequestError
from serving.server.model import ServedModel

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
