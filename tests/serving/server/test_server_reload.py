"""A batching server whose versions change while it answers: no request is lost."""

import json
import shutil
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

PARAMETERS = """
max_batch_size { value: 4 }
batch_timeout_micros { value: 2000 }
num_batch_threads { value: 2 }
max_enqueued_batches { value: 50 }
allowed_batch_sizes: 1
allowed_batch_sizes: 4
"""


@pytest.fixture(scope="module")
def base(model_base_path, tmp_path_factory):
    base = tmp_path_factory.mktemp("reload") / "models"
    shutil.copytree(model_base_path / "1", base / "1")
    return base


@pytest.fixture(scope="module")
def batching_server(base, start_server):
    parameters = base.parent / "parameters.txt"
    parameters.write_text(PARAMETERS)
    flags = ["--enable_batching", f"--batching_parameters_file={parameters}", "--file_system_poll_wait_seconds=0.2"]
    return start_server(base, *flags)


@pytest.fixture(scope="module")
def channel(batching_server):
    with grpc.insecure_channel(batching_server.address) as channel:
        yield channel


def request(seed):
    rng = np.random.default_rng(seed)
    rows = seed % 4 + 1
    z, label = rng.normal(size=(rows, 6)), np.eye(2)[rng.integers(2, size=rows)]
    return {"z": np.float32(z), "psi": np.float32(0.5), "label": np.float32(label)}


def ask(channel, inputs, label=""):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "fake"
    if label:
        message.model_spec.version_label = label
    for name, value in inputs.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(message, timeout=20)
    return answer.model_spec.version.value, tf.make_ndarray(answer.outputs["images"])


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_a_new_folder_is_served_and_no_request_is_lost(batching_server, base, channel, fake_generator):
    versions, stop = [], threading.Event()

    def keep_asking(worker):
        seed = worker
        while not stop.is_set():
            inputs = request(seed)
            version, images = ask(channel, inputs)
            expected = fake_generator.images(inputs["z"], inputs["label"], 0.5)
            np.testing.assert_allclose(images.astype(int), expected, atol=1)
            versions.append(version)
            seed += 7

    with ThreadPoolExecutor(6) as pool:
        workers = [pool.submit(keep_asking, worker) for worker in range(6)]
        try:
            wait_for(lambda: len(versions) > 20)
            shutil.copytree(base / "1", base / ".unfinished")
            (base / ".unfinished").rename(base / "2")
            wait_for(lambda: versions[-1] == 2)
            many = len(versions) + 20
            wait_for(lambda: len(versions) > many)
        finally:
            stop.set()
        for worker in workers:
            worker.result()
    assert set(versions) == {1, 2}
    for line in ("fake version 2: LOADING", "fake version 2: AVAILABLE", "fake version 1: END"):
        assert batching_server.log_has(f"serving.server: {line}\n")


def test_a_version_that_fails_to_load_is_logged_once_by_name(batching_server, base, channel):
    wait_for(lambda: ask(channel, request(0))[0] == 2)
    (base / "3").mkdir()
    (base / "3" / "saved_model.pb").write_bytes(b"nothing")
    assert batching_server.log_has(f"serving.server: fake version 3: {base / '3'} cannot be loaded: ")
    time.sleep(0.5)  # two further checks of the folder
    assert batching_server.log.read_text().count("cannot be loaded") == 1
    assert ask(channel, request(0))[0] == 2
    shutil.rmtree(base / "3")


def test_reload_changes_the_policy_and_nothing_else(batching_server, base, channel, tmp_path):
    wait_for(lambda: ask(channel, request(0))[0] == 2)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    reload = model_management_pb2.ReloadConfigRequest()

    def refused_with():
        with pytest.raises(grpc.RpcError) as caught:
            models.HandleReloadConfigRequest(reload, timeout=20)
        return caught.value.code()

    assert refused_with() == grpc.StatusCode.INVALID_ARGUMENT
    config = reload.config.model_config_list.config.add(name="other", base_path=str(base))
    assert refused_with() == grpc.StatusCode.INVALID_ARGUMENT
    for config.name, config.base_path in (("fake", str(tmp_path)), ("fake", "\0")):
        assert refused_with() == grpc.StatusCode.PERMISSION_DENIED
    config.base_path = str(base)
    config.model_version_policy.all.SetInParent()
    assert models.HandleReloadConfigRequest(reload, timeout=20).status.error_code == 0
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "fake"
    states = models.GetModelStatus(status, timeout=20).model_version_status
    assert [(state.version, state.state) for state in states if state.version < 3] == [(1, 30), (2, 30)]
    body = json.dumps({"instances": [{"z": [0] * 6, "psi": 1, "label": [0, 1]}]}).encode()
    with urllib.request.urlopen(
        f"{batching_server.rest}/v1/models/fake/versions/1:predict", body, timeout=20
    ) as answer:
        assert np.shape(json.load(answer)["predictions"]) == (1, 8, 8, 3)
    config.version_labels["stable"] = 7
    assert refused_with() == grpc.StatusCode.FAILED_PRECONDITION
    config.version_labels["stable"] = 1
    assert models.HandleReloadConfigRequest(reload, timeout=20).status.error_code == 0
    assert ask(channel, request(0), "stable")[0] == 1
    (base / "9").mkdir()
    (base / "9" / "saved_model.pb").write_bytes(b"nothing")
    with pytest.raises(grpc.RpcError) as caught:
        models.HandleReloadConfigRequest(reload, timeout=20)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details().startswith(f"{base / '9'} cannot be loaded: ")
    shutil.rmtree(base / "9")
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, request(0), "canary")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "Unrecognized servable version label: canary" in caught.value.details()


def test_more_than_a_batch_is_refused(channel):
    inputs = {"z": np.zeros((5, 6), np.float32), "psi": np.float32(1), "label": np.zeros((5, 2), np.float32)}
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, inputs)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "has 5 rows; send at most 4" in caught.value.details()
