"""Warm-up of a version before it is announced."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.server.errors import RequestError
from serving.server.model import ServedModel, warm_up


def record(version, *requests):
    folder = version / "assets.extra"
    folder.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as writer:
        for signature, inputs in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def test_recorded_requests_are_replayed(tmp_path):
    record(tmp_path, ("map", {"z": np.float32([[1, 2]])}), ("mix", {"mask": np.float32([3])}))
    asked = []
    model = SimpleNamespace(run=lambda signature, inputs: asked.append((signature, inputs)))
    warm_up(model, tmp_path)
    assert [signature for signature, _ in asked] == ["map", "mix"]
    np.testing.assert_array_equal(asked[0][1]["z"], [[1, 2]])


def test_recorded_requests_above_the_limit_are_left_out(model_base_path, tmp_path, caplog):
    """A limit of the server's below the export's warm-up sizes: smaller requests are answered all the same."""
    version = tmp_path / "1"
    shutil.copytree(model_base_path / "1", version)
    requests = [
        ("map", {"z": np.zeros((rows, 6), np.float32), "psi": np.float32(1), "label": np.zeros((rows, 2), np.float32)})
        for rows in (1, 2, 3, 4)
    ]
    record(version, *requests)
    model, answered = ServedModel(version, max_batch=2), []
    run = model.run
    model.run = lambda signature, inputs: answered.append(len(run(signature, inputs)["ws"]))
    warm_up(model, version)
    assert answered == [1, 2]
    (warning,) = caplog.records
    words = "2 recorded requests of up to 4 images are left out of the warm-up; this server takes at most 2"
    assert words in warning.getMessage()
    answered.clear()
    record(version, *requests[2:])
    model.run = lambda signature, inputs: (run(signature, inputs), answered.append(signature))
    warm_up(model, version)
    assert sorted(answered) == sorted(model.signature_defs)  # made up, where none of the recorded ones fits


def test_every_signature_is_warmed_up_where_nothing_is_recorded(model_base_path, tmp_path, caplog):
    version = tmp_path / "1"
    shutil.copytree(model_base_path / "1", version)
    (version / "assets.extra" / "tf_serving_warmup_requests").unlink(missing_ok=True)
    model = ServedModel(version)
    answered = []
    run = model.run
    model.run = lambda signature, inputs: answered.append((signature, run(signature, inputs)))
    warm_up(model, version)
    assert sorted(signature for signature, _ in answered) == sorted(model.signature_defs)
    assert all(len(value) == 1 for _, outputs in answered for value in outputs.values())
    assert not caplog.records


def test_a_model_that_cannot_answer_its_own_file_is_refused(model_base_path, tmp_path):
    version = tmp_path / "1"
    shutil.copytree(model_base_path / "1", version)
    record(version, ("map", {"z": np.float32([[1, 2]])}))
    with pytest.raises(RequestError, match="'label' is missing"):
        warm_up(ServedModel(version), version)
