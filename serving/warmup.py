"""The requests a server answers to itself before it announces a version, so that no user waits for first times.

TensorFlow Serving reads them from assets.extra/tf_serving_warmup_requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.canary import Request

FILE_NAME = "tf_serving_warmup_requests"
_MAX_RECORDS = 1000  # TensorFlow Serving refuses a model with more


def check_batch_sizes(sizes: Sequence[int], max_batch: int | None, num_signatures: int) -> None:
    """Raises ValueError for sizes that a server would not answer."""
    given = f"warmup_batch_sizes={','.join(map(str, sizes))}"
    if not sizes or min(sizes) < 1:
        raise ValueError(f"{given}: give at least one size, each of at least one image")
    if max_batch is not None and max(sizes) > max_batch:
        raise ValueError(f"{given}: none may exceed max_batch={max_batch}")
    if len(sizes) * num_signatures > _MAX_RECORDS:
        raise ValueError(f"{given}: {_MAX_RECORDS // num_signatures} sizes at most, for {num_signatures} signatures")


def write(file: Path, requests: Iterable[Request]) -> None:
    """Writes the requests as TFRecords of PredictionLog."""
    with tf.io.TFRecordWriter(str(file)) as writer:
        for request in requests:
            writer.write(_log(request).SerializeToString())


def _log(request: Request) -> prediction_log_pb2.PredictionLog:
    call = predict_pb2.PredictRequest()
    call.model_spec.signature_name = request.signature
    for name, value in request.inputs.items():
        call.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=call))
