"""The gRPC protocol, with TensorFlow Serving's own stubs and no code of this project."""

import io
import socket
import threading
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server.admission import Admission
from serving.server.errors import TooLargeError
from serving.server.grpc_service import PredictionService
from serving.server.metrics import Metrics
from serving.server.predictor import Predictor
from serving.server.security import ApiKey
from serving.server.tensors import to_arrays, to_spec

Z = np.random.default_rng(3).normal(size=(2, 6)).astype(np.float32)
LABEL = np.float32([[1, 0], [0, 1]])
PSI = np.float32(0.7)


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(server.address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def ask(stub, inputs, signature="", name="fake", version=None, outputs=()):
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return stub.Predict(request, timeout=20)


def images(response):
    return tf.make_ndarray(response.outputs["images"])


def test_generate_by_default_on_the_newest_version(stub, fake_generator):
    response = ask(stub, {"z": Z, "psi": PSI, "label": LABEL})
    assert response.model_spec.name == "fake"
    assert response.model_spec.version.value == 2
    assert response.model_spec.signature_name == "serving_default"
    got = images(response)
    assert got.dtype == np.uint8
    np.testing.assert_allclose(got.astype(int), fake_generator.images(Z, LABEL, PSI), atol=1)


def test_psi_per_image(stub, fake_generator):
    psi = np.float32([0.2, 0.9])
    got = images(ask(stub, {"z": Z, "psi": psi, "label": LABEL}, "generate"))
    np.testing.assert_allclose(got.astype(int), fake_generator.images(Z, LABEL, psi), atol=1)


def test_generate_png(stub, fake_generator):
    seeds = np.array([7, 2**32 - 1], np.int64)
    response = ask(stub, {"seed": seeds, "psi": PSI, "label": LABEL}, "generate_png")
    files = tf.make_ndarray(response.outputs["png_bytes"])
    z = np.stack([np.random.RandomState(seed).randn(6) for seed in seeds])
    for file, expected in zip(files, fake_generator.images(z, LABEL, PSI), strict=True):
        decoded = np.asarray(Image.open(io.BytesIO(file)), int)
        np.testing.assert_allclose(decoded, expected, atol=1)


def test_map_then_synthesize_and_mix(stub, fake_generator):
    ws = tf.make_ndarray(ask(stub, {"z": Z, "psi": PSI, "label": LABEL}, "map").outputs["ws"])
    matrix = np.tile(np.eye(3, dtype=np.float32), (2, 1, 1))
    matrix[:, 0, 2] = 0.25
    got = images(ask(stub, {"ws": ws, "transform": matrix}, "synthesize"))
    expected = fake_generator.images(Z, LABEL, PSI, matrix)
    np.testing.assert_allclose(got.astype(int), expected, atol=1)
    real = images(ask(stub, {"ws": ws, "transform": matrix}, "synthesize_float"))
    np.testing.assert_allclose(real, fake_generator.synthesis(ws, transform=matrix), atol=1e-5)
    # Layer 0 of each from the other one, for the second image only.
    mask = np.float32([[0, 0, 0], [1, 0, 0]])
    got = images(ask(stub, {"ws_a": ws, "ws_b": ws[::-1].copy(), "mask": mask}, "mix"))
    mixed = np.stack([ws[0], np.concatenate([ws[0, :1], ws[1, 1:]])])
    matrix[:, 0, 2] = 0
    expected = (fake_generator.synthesis(mixed, transform=matrix).numpy() + 1) * 127.5
    np.testing.assert_allclose(got, expected, atol=1)
    one_mask = images(ask(stub, {"ws_a": ws, "ws_b": ws[::-1].copy(), "mask": mask[1]}, "mix"))
    np.testing.assert_array_equal(one_mask[1], got[1])


def test_output_filter_of_a_model_with_several_outputs():
    definition = SignatureDef(outputs={"a": TensorInfo(), "b": TensorInfo()})
    model = SimpleNamespace(
        version=1,
        signature_def=lambda name: definition,
        check_specs=lambda name, specs: None,
        prepare=lambda name, inputs: lambda: {"a": np.ones(2), "b": np.zeros(3)},
    )
    models = SimpleNamespace(find=lambda name, version: model)
    admission = Admission(max_in_flight=1, max_running=1)
    metrics = Metrics(lambda: admission.in_flight, lambda: 1)
    service = PredictionService(Predictor(models, admission, metrics), max_bytes=100)
    context = SimpleNamespace(time_remaining=lambda: None, is_active=lambda: True)
    response = service.Predict(predict_pb2.PredictRequest(output_filter=["b"]), context)
    assert list(response.outputs) == ["b"]
    assert set(service.Predict(predict_pb2.PredictRequest(), context).outputs) == {"a", "b"}


WS = np.zeros((2, 3, 4), np.float32)
GOOD = {"z": Z, "psi": PSI, "label": LABEL}
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"name": "other"}, NOT_FOUND, ["other", "'fake'"]),
        ({"version": 1}, NOT_FOUND, ["fake, 1", "2"]),
        ({"signature": "draw"}, NOT_FOUND, ["'draw'", "generate"]),
        ({"outputs": ["pixels"]}, INVALID, ["pixels", "images"]),
        ({"inputs": {"z": Z, "psi": PSI}}, INVALID, ["'label' is missing", "[N, 2]"]),
        ({"inputs": GOOD | {"zz": Z}}, INVALID, ["'zz' is unknown"]),
        ({"inputs": GOOD | {"z": Z.astype(float)}}, INVALID, ["'z'", "float64", "float32"]),
        ({"inputs": GOOD | {"z": Z[:, :5]}}, INVALID, ["'z'", "[2, 5]", "[N, 6]"]),
        ({"inputs": GOOD | {"z": Z[0]}}, INVALID, ["'z'", "[6]", "[N, 6]"]),
        ({"inputs": GOOD | {"z": Z[:1]}}, INVALID, ["'z' has 1", "'label' has 2"]),
        ({"inputs": GOOD | {"z": Z[:0], "label": LABEL[:0]}}, INVALID, ["0 rows"]),
        ({"inputs": {k: np.repeat(v, 33, 0) if v.ndim else v for k, v in GOOD.items()}}, INVALID, ["66 rows", "64"]),
        ({"inputs": GOOD | {"z": np.where(Z > 1, np.nan, Z)}}, INVALID, ["'z' has NaN"]),
        ({"inputs": GOOD | {"psi": np.float32(np.inf)}}, INVALID, ["'psi' has NaN or inf"]),
        ({"inputs": GOOD | {"psi": np.float32([0, -2.5])}}, INVALID, ["'psi' is -2.5", "-2 to 2"]),
        ({"inputs": GOOD | {"psi": np.ones(3, np.float32)}}, INVALID, ["psi must be a scalar", "[N] with N=2"]),
        ({"inputs": GOOD | {"label": np.float32([[1, 0], [0, np.nan]])}}, INVALID, ["'label' has NaN"]),
        (
            {"signature": "generate_png", "inputs": {"seed": np.int64([3, -1]), "psi": PSI, "label": LABEL}},
            INVALID,
            ["'seed' has -1"],
        ),
        (
            {
                "signature": "synthesize_png",
                "inputs": {
                    "ws": WS,
                    "transform": np.tile(np.eye(3, dtype=np.float32), (2, 1, 1)),
                    "scale": np.int32(0),
                },
            },
            INVALID,
            ["'scale' is 0; it must be from 1 to 65536"],
        ),
        (
            {
                "signature": "mix",
                "inputs": {"ws_a": WS, "ws_b": WS, "mask": np.ones(2, np.float32)},
            },
            INVALID,
            ["mask must be [3] or [N, 3]", "[2]"],
        ),
    ],
)
def test_bad_requests_are_refused_and_the_server_goes_on(stub, change, code, words):
    with pytest.raises(grpc.RpcError) as caught:
        ask(stub, **({"inputs": GOOD} | change))
    assert caught.value.code() == code
    for word in words:
        assert word in caught.value.details()
    assert images(ask(stub, GOOD)).shape == (2, 8, 8, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"tensor_content": b"123"},
        {"dtype": 77},
    ],
)
def test_unreadable_tensor_is_refused(stub, change):
    caught = refusal(stub, {"z": {"dtype": types_pb2.DT_FLOAT, **change}})
    assert caught.code() == INVALID
    assert "'z' is not a readable TensorProto" in caught.details()


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": 121},  # which NumPy lacks
        *[{"dtype": types_pb2.DT_HALF, "half_val": [value]} for value in (-1, 2**16)],
        {"dtype": types_pb2.DT_UINT8, "int_val": [-1]},
    ],
)
def test_tensor_of_another_type_is_not_read(stub, change):
    caught = refusal(stub, {"z": change})
    assert caught.code() == INVALID
    assert "'z' has dtype " in caught.details()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"z": (10**6, 10**6)}, INVALID, "'z' has shape [1000000, 1000000]; it must be [N, 6]"),
        ({"z": (10**6, 6)}, INVALID, "'z' has 1000000 rows; send at most 64"),
        ({"z": (-5, 6)}, INVALID, "'z' has the shape [-5, 6]; every size must be known"),
        ({"other": (10**6, 10**6)}, INVALID, "input 'other' is unknown"),
        ({"psi": (10**6, 10**6)}, grpc.StatusCode.RESOURCE_EXHAUSTED, "'psi' has the shape [1000000, 1000000]"),
    ],
)
def test_claimed_sizes_are_not_believed(stub, changes, code, words):
    """Fifty bytes that would become four terabytes: one value for a huge shape."""
    protos = {
        name: {"dtype": types_pb2.DT_FLOAT, "float_val": [1], "tensor_shape": tf.TensorShape(None).as_proto()}
        for name in changes
    }
    for name, sizes in changes.items():
        dims = [tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in sizes]
        protos[name]["tensor_shape"] = tensor_shape_pb2.TensorShapeProto(dim=dims)
    caught = refusal(stub, protos)
    assert (caught.code(), words in caught.details()) == (code, True), caught.details()


def refusal(stub, changes):
    """Return the error of a good request whose TensorProtos have changed."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "fake"
    for name, value in GOOD.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    for name, change in changes.items():
        shape = request.inputs[name].tensor_shape if name in GOOD else None
        request.inputs[name].CopyFrom(tensor_pb2.TensorProto(**{"tensor_shape": shape, **change}))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request, timeout=20)
    return caught.value


def test_all_inputs_share_the_limit_of_a_request():
    """A text counts as a reference to it."""
    protos = {name: tf.make_tensor_proto(np.zeros(100, np.float32)) for name in "ab"}
    specs = {name: to_spec(name, proto) for name, proto in protos.items()}
    assert set(to_arrays(protos, specs, max_bytes=800)) == {"a", "b"}
    with pytest.raises(TooLargeError, match=r"'b' has the shape \[100\], and the inputs 800 bytes; at most 799"):
        to_arrays(protos, specs, max_bytes=799)
    text = tf.make_tensor_proto(np.array([b"x"] * 100))
    with pytest.raises(TooLargeError, match="the inputs 800 bytes"):
        to_arrays({"text": text}, {"text": to_spec("text", text)}, max_bytes=799)


def test_calls_without_a_message_do_not_stop_others(model_base_path, serve_here, tmp_path):
    """More than the server has threads, of predictions without the key and of health checks, which need none."""
    (tmp_path / "api.key").write_text("opensesame\n")
    address = serve_here(model_base_path, key=ApiKey(tmp_path / "api.key"), max_in_flight=1)
    end = threading.Event()

    def nothing():
        end.wait(120)
        yield from ()

    with grpc.insecure_channel(address) as channel:
        predict = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        check = channel.stream_unary("/grpc.health.v1.Health/Check")
        silent = [call.future(nothing(), timeout=60) for call in (check, predict) for _ in range(12)]
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "fake"
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        assert models.GetModelStatus(request, timeout=20, metadata=[("x-api-key", "opensesame")]).model_version_status
        for call in silent[12:]:
            assert call.exception(timeout=20).code() == grpc.StatusCode.UNAUTHENTICATED
        for call in silent:
            call.cancel()
        end.set()


def test_garbage_and_100_mb_are_refused_and_the_server_goes_on(server, stub):
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            predict(b"\xff" * 100, timeout=20)
        assert caught.value.code() == grpc.StatusCode.INTERNAL  # what gRPC has for a message it cannot parse
        with pytest.raises(grpc.RpcError) as caught:
            predict(bytes(100 << 20), timeout=20)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(b"\x00garbage\r\n\r\n")
    assert images(ask(stub, GOOD)).shape == (2, 8, 8, 3)


def test_health(server):
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "tensorflow.serving.PredictionService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="other"), timeout=20)
        assert caught.value.code() == NOT_FOUND


def test_metadata(stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "fake"
    response = stub.GetModelMetadata(request, timeout=20)
    assert response.model_spec.version.value == 2
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {
        "serving_default",
        "generate",
        "generate_png",
        "map",
        "synthesize",
        "synthesize_float",
        "synthesize_png",
        "mix",
        "label",
        "class_name",
        "generate_class",
        "generate_png_class",
        "map_class",
    }
    generate = signatures.signature_def["generate"]
    assert tf.TensorShape(generate.inputs["z"].tensor_shape).as_list() == [None, 6]
    assert generate.inputs["psi"].tensor_shape.unknown_rank
    assert generate.method_name == "tensorflow/serving/predict"
    request.metadata_field[:] = ["weights"]
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetModelMetadata(request, timeout=20)
    assert caught.value.code() == INVALID


def test_model_status(server):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "fake"
    with grpc.insecure_channel(server.address) as channel:
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        (status,) = models.GetModelStatus(request, timeout=20).model_version_status
        assert (status.version, status.state) == (2, status.AVAILABLE)
        request.model_spec.version.value = 9
        with pytest.raises(grpc.RpcError) as caught:
            models.GetModelStatus(request, timeout=20)
        assert caught.value.code() == NOT_FOUND


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("Classify", classification_pb2.ClassificationRequest),
        ("Regress", regression_pb2.RegressionRequest),
        ("MultiInference", inference_pb2.MultiInferenceRequest),
    ],
)
def test_other_methods_are_unimplemented(stub, method, request_type):
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, method)(request_type(), timeout=20)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert method in caught.value.details()
