"""gRPC frontend: TensorFlow Serving's services for prediction and for model versions."""

# ruff: noqa: N802 - method names are the protocol's

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import grpc
import numpy as np
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import HealthServicer
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
    status_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from serving.server.admission import Caller
from serving.server.errors import RequestError, invalid
from serving.server.messages import ParsingInterceptor
from serving.server.model import DEFAULT_SIGNATURE, ServedModel
from serving.server.model_config import model_config
from serving.server.model_manager import ModelManager, Version, VersionStatus
from serving.server.predictor import Predictor
from serving.server.security import ApiKey, KeyInterceptor
from serving.server.tensors import to_arrays, to_proto, to_spec
from serving.server.version_policy import policy_from_config

_logger = logging.getLogger(__name__)
# Threads for everything but predictions, and for rejecting predictions while the server is full.
_SPARE_THREADS = 8
# A request may take this long to arrive, and longer if it is large.
_RECEIVE_SECONDS, _BYTES_PER_SECOND = 30.0, 1e6


def make_grpc_server(
    predictor: Predictor,
    health: HealthServicer,
    max_in_flight: int,
    max_bytes: int,
    as_tensor_content: bool,
    key: ApiKey | None,
) -> grpc.Server:
    """Create a gRPC server with the three services, neither bound to a port nor started.

    Args:
        predictor: answers the predictions.
        health: health service for load balancers.
        max_in_flight: maximum number of predictions running or waiting; each has a thread.
        max_bytes: size of the largest accepted request.
        as_tensor_content: form of the answers, see `tensors.to_proto`.
        key: key that requests must send; None for no check.
    """
    # Answers are unlimited, as in TensorFlow Serving: gRPC's default of 4 MiB is less than a batch at 1024 pixels.
    options = [("grpc.max_receive_message_length", max_bytes), ("grpc.max_send_message_length", -1)]
    # A port in use must be an error; by default, gRPC would share it with the other server.
    options.append(("grpc.so_reuseport", 0))
    threads = ThreadPoolExecutor(max_in_flight + _SPARE_THREADS, "grpc")
    health_threads = ThreadPoolExecutor(max_in_flight + _SPARE_THREADS, "health")  # started as they are needed
    parsing = ParsingInterceptor(_RECEIVE_SECONDS + max_bytes / _BYTES_PER_SECOND, health_threads)
    interceptors = [*([KeyInterceptor(key)] if key else []), parsing]
    server = grpc.server(threads, options=options, interceptors=interceptors)
    service = PredictionService(predictor, max_bytes, as_tensor_content)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(predictor.models), server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    return server


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; Classify, Regress and MultiInference do not apply to a generator."""

    def __init__(self, predictor: Predictor, max_bytes: int, as_tensor_content: bool = False):
        self._predictor, self._max_bytes, self._as_tensor_content = predictor, max_bytes, as_tensor_content

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        spec = request.model_spec
        signature = spec.signature_name or DEFAULT_SIGNATURE

        def parse(model: ServedModel) -> tuple[str, dict[str, np.ndarray]]:
            _check_filter(request.output_filter, model.signature_def(signature).outputs)
            specs = {name: to_spec(name, proto) for name, proto in request.inputs.items()}
            model.check_specs(signature, specs)
            return signature, to_arrays(request.inputs, specs, self._max_bytes)

        def write(model: ServedModel, outputs: dict[str, np.ndarray]) -> predict_pb2.PredictResponse:
            response = predict_pb2.PredictResponse()
            response.model_spec.CopyFrom(_spec(spec.name, model, signature))
            for name in request.output_filter or outputs:
                response.outputs[name].CopyFrom(to_proto(outputs[name], self._as_tensor_content))
            return response

        with _abort_on_error(context), self._predictor.metrics.prediction("grpc"):
            return self._predictor.predict(spec.name, _version(spec), parse, write, _caller(context))

    def GetModelMetadata(
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        with _abort_on_error(context):
            if list(request.metadata_field) != ["signature_def"]:
                asked = list(request.metadata_field)
                raise invalid(f"metadata_field is {asked}; it must be ['signature_def']")
            spec = request.model_spec
            model = self._predictor.models.find(spec.name, _version(spec))
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_defs)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.CopyFrom(_spec(request.model_spec.name, model, ""))
        response.metadata["signature_def"].Pack(signatures)
        return response

    def Classify(self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext) -> NoReturn:
        _unimplemented(context, "Classify")

    def Regress(self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext) -> NoReturn:
        _unimplemented(context, "Regress")

    def MultiInference(self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext) -> NoReturn:
        _unimplemented(context, "MultiInference")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Status of the versions, and changes of the version policy."""

    def __init__(self, models: ModelManager):
        self._models = models

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        with _abort_on_error(context):
            spec = request.model_spec
            return model_status(self._models.statuses(spec.name, _version(spec)))

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        with _abort_on_error(context):
            config = model_config(request.config)
            _check_same_model(self._models, config)
            policy = policy_from_config(config.model_version_policy)
            self._models.reconfigure(policy, dict(config.version_labels), _caller(context))
        # The empty status means error code OK.
        return model_management_pb2.ReloadConfigResponse(status=status_pb2.StatusProto())


def model_status(statuses: Sequence[VersionStatus]) -> get_model_status_pb2.GetModelStatusResponse:
    """Build the answer to GetModelStatus and its REST form."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in statuses:
        answer = response.model_version_status.add(version=status.version)
        answer.state = get_model_status_pb2.ModelVersionStatus.State.Value(status.state)
        # The empty status means error code OK.
        answer.status.SetInParent()
        if status.error:
            answer.status.error_code, answer.status.error_message = error_codes_pb2.UNKNOWN, status.error
    return response


@contextmanager
def _abort_on_error(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        context.abort(error.code, str(error))
    except Exception:
        # A bug of the server: its details go to the log and not to the client.
        _logger.exception("a request failed")
        context.abort(grpc.StatusCode.INTERNAL, "internal error")


def _unimplemented(context: grpc.ServicerContext, method: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not part of the embedded server")
    raise AssertionError("abort does not return")


def _caller(context: grpc.ServicerContext) -> Caller:
    remaining = context.time_remaining()
    return Caller(None if remaining is None else time.monotonic() + remaining, context.is_active)


def _check_same_model(models: ModelManager, config: model_server_config_pb2.ModelConfig) -> None:
    """Reject another model or folder: a client must not choose the files that the server reads."""
    if config.name != models.name:
        raise invalid(f"model_config_list has {config.name!r}; it must have one model, {models.name!r}")
    base = config.base_path
    if base and not _is_same_folder(base, models.base):
        raise RequestError(
            grpc.StatusCode.PERMISSION_DENIED, f"base_path={base!r}: it must be the server's --model_base_path"
        )


def _is_same_folder(path: str, folder: Path) -> bool:
    try:
        return Path(path).resolve() == folder.resolve()
    except (ValueError, OSError, RuntimeError):  # a null byte, or a cycle of links
        return False


def _version(spec: model_pb2.ModelSpec) -> Version:
    return spec.version.value if spec.HasField("version") else spec.version_label or None


def _spec(name: str, model: ServedModel, signature: str) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = model.version
    return spec


def _check_filter(asked: Sequence[str], outputs: Mapping[str, Any]) -> None:
    unknown = sorted(set(asked) - set(outputs))
    if unknown:
        known = ", ".join(sorted(outputs))
        raise invalid(f"output_filter has {', '.join(unknown)}; the outputs are {known}")
