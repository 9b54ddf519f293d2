"""The server: gRPC and REST frontends of one model, from startup to graceful shutdown."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import HealthServicer

from serving.server import address
from serving.server.admission import Admission
from serving.server.batching import BatchingParameters
from serving.server.grpc_service import make_grpc_server
from serving.server.metrics import Metrics
from serving.server.model import ServedModel, warm_up
from serving.server.model_manager import ModelManager, Watcher
from serving.server.predictor import Predictor
from serving.server.rest import RestServer
from serving.server.security import ApiKey, Certificate
from serving.server.version_policy import VersionPolicy
from sg3tf.utils.startup_notices import filtered_stderr

_DRAIN_SECONDS = 30
# Slots without batching; more would only share the CPU, and each needs its own memory.
_NUM_SLOTS = 2


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """Options from the command line; docs/server.md explains each flag."""

    name: str
    base: Path
    policy: VersionPolicy
    labels: Mapping[str, int]
    poll_seconds: float
    host: str
    port: int
    rest_port: int
    rest_seconds: float
    rest_cors: bool
    batching: BatchingParameters | None
    max_in_flight: int
    max_batch: int
    max_bytes: int
    as_tensor_content: bool
    key: ApiKey | None
    certificate: Certificate | None


class Server:
    """A started server.

    The ports are bound before the model is loaded; connections wait until it is.

    Raises:
        OSError: there is no model to serve, or an address is unavailable.
    """

    def __init__(self, options: ServerOptions):
        self.models = ModelManager(
            options.name, options.base, options.policy, lambda folder: _load(folder, options), options.labels
        )
        num_slots = options.batching.num_slots if options.batching else _NUM_SLOTS
        self._admission = Admission(options.max_in_flight, num_slots)
        metrics = Metrics(lambda: self._admission.in_flight, lambda: self.models.find(options.name, None).version)
        predictor = Predictor(self.models, self._admission, metrics)
        self._health = HealthServicer()
        self._grpc = make_grpc_server(
            predictor, self._health, options.max_in_flight, options.max_bytes, options.as_tensor_content, options.key
        )
        tls = options.certificate.context if options.certificate else None
        self.grpc_port = self._bind_grpc(options)
        try:
            listener = address.listen(options.host, options.rest_port, "rest_api_port")
            self._rest = RestServer(
                listener, predictor, options.max_bytes, options.rest_seconds, options.key, tls, options.rest_cors
            )
        except BaseException:
            self._release_grpc()
            raise
        self.rest_port = self._rest.server_port
        try:
            with filtered_stderr():
                self.models.load()
        except BaseException:
            self._release_grpc()
            self._rest.server_close()
            raise
        self._grpc.start()
        self._rest_thread = threading.Thread(target=self._rest.serve_forever, args=[0.1], name="rest")
        self._rest_thread.start()
        self._watcher = Watcher(self.models, options.poll_seconds) if options.poll_seconds else None
        self._set_health(health_pb2.HealthCheckResponse.SERVING)

    def drain(self) -> bool:
        """Stop accepting requests and wait for those in flight; return False if some remain unanswered."""
        end = time.monotonic() + _DRAIN_SECONDS
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        if self._watcher:
            self._watcher.stop()
        # Both frontends stop accepting first, then finish their requests.
        drained = self._grpc.stop(_DRAIN_SECONDS)
        self._rest.shutdown()
        self._rest_thread.join()
        # Closing waits for connections. A running prediction cannot be stopped, so the wait has a limit.
        closing = threading.Thread(target=self._rest.server_close, name="rest-close", daemon=True)
        closing.start()
        drained.wait()
        closing.join(max(end - time.monotonic(), 0))
        return not closing.is_alive() and not self._admission.in_flight

    def _bind_grpc(self, options: ServerOptions) -> int:
        # Tried first with a plain socket, whose error states the reason; gRPC's does not.
        address.listen(options.host, options.port, "port").close()
        target = address.join(options.host, options.port)
        try:
            if options.certificate:
                return self._grpc.add_secure_port(target, options.certificate.grpc_credentials)
            return self._grpc.add_insecure_port(target)
        except RuntimeError as error:
            raise OSError(f"--host={options.host} --port={options.port}: {error}") from error

    def _release_grpc(self) -> None:
        self._grpc.start()  # only a started gRPC server closes its port
        self._grpc.stop(None).wait()

    def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
            self._health.set(service, status)


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def exit_undrained() -> NoReturn:
    """End the process, with status 1, after `Server.drain` has returned False."""
    print("stopped before all requests were answered", file=sys.stderr, flush=True)
    os._exit(1)  # a normal exit would wait for their threads


def _load(folder: Path, options: ServerOptions) -> ServedModel:
    model = ServedModel(folder, options.batching, options.max_batch)
    warm_up(model, folder)
    return model
