"""TensorFlow Serving's gRPC services in front of a catalog of models."""

# ruff: noqa: N802 - the methods have the names of the protocol

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
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
)

from serving.server.catalog import Catalog
from serving.server.errors import RequestError, invalid
from serving.server.model import DEFAULT_SIGNATURE, ServedModel

_THREADS = 16


def make_grpc_server(catalog: Catalog) -> grpc.Server:
    """A gRPC server with both services, not yet bound to a port nor started."""
    # Messages are unlimited, as in TensorFlow Serving: gRPC's 4 MiB is less than a 1024 px batch.
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    # A port already in use must be an error and not be shared with another server.
    options.append(("grpc.so_reuseport", 0))
    server = grpc.server(ThreadPoolExecutor(_THREADS, "grpc"), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(catalog), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(catalog), server)
    return server


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; a generator has nothing to classify or regress."""

    def __init__(self, catalog: Catalog):
        self._catalog = catalog

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        with _refusals(context):
            model = _find(self._catalog, request.model_spec)
            inputs = {name: _to_array(name, proto) for name, proto in request.inputs.items()}
            signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
            _check_filter(request.output_filter, model.signature_def(signature).outputs)
            outputs = model.run(signature, inputs)
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(_spec(request.model_spec.name, model, signature))
        for name in request.output_filter or outputs:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response

    def GetModelMetadata(
        self,
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        context: grpc.ServicerContext,
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        with _refusals(context):
            if list(request.metadata_field) != ["signature_def"]:
                asked = list(request.metadata_field)
                raise invalid(f"metadata_field is {asked}; it must be ['signature_def']")
            model = _find(self._catalog, request.model_spec)
        signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_defs)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.CopyFrom(_spec(request.model_spec.name, model, ""))
        response.metadata["signature_def"].Pack(signatures)
        return response

    def Classify(self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext) -> NoReturn:
        _not_here(context, "Classify")

    def Regress(self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext) -> NoReturn:
        _not_here(context, "Regress")

    def MultiInference(self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext) -> NoReturn:
        _not_here(context, "MultiInference")


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """The state of the versions."""

    def __init__(self, catalog: Catalog):
        self._catalog = catalog

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        with _refusals(context):
            spec = request.model_spec
            return model_status(self._catalog.versions(spec.name, _version(spec)))

    def HandleReloadConfigRequest(
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> NoReturn:
        _not_here(context, "HandleReloadConfigRequest")


def model_status(models: list[ServedModel]) -> get_model_status_pb2.GetModelStatusResponse:
    """What GetModelStatus and its REST form answer about loaded versions."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for model in models:
        state = response.model_version_status.add(version=model.version)
        state.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        # Present though empty: error code OK.
        state.status.SetInParent()
    return response


@contextmanager
def _refusals(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        context.abort(error.code, str(error))


def _not_here(context: grpc.ServicerContext, method: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not part of the embedded server")
    raise AssertionError("abort does not return")


def _find(catalog: Catalog, spec: model_pb2.ModelSpec) -> ServedModel:
    return catalog.find(spec.name, _version(spec))


def _version(spec: model_pb2.ModelSpec) -> int | None:
    if spec.version_label:
        raise invalid(f"version_label={spec.version_label!r}: give the version's number instead")
    return spec.version.value if spec.HasField("version") else None


def _spec(name: str, model: ServedModel, signature: str) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = model.version
    return spec


def _to_array(name: str, proto: tensor_pb2.TensorProto) -> np.ndarray:
    try:
        return tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise invalid(f"{name!r} is not a readable TensorProto: {error}") from error


def _check_filter(asked: Sequence[str], outputs: Mapping[str, Any]) -> None:
    unknown = sorted(set(asked) - set(outputs))
    if unknown:
        known = ", ".join(sorted(outputs))
        raise invalid(f"output_filter has {', '.join(unknown)}; the outputs are {known}")
