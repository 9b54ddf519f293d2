"""TensorFlow Serving's REST paths, v1, in front of a catalog of models."""

import json
import logging
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf import json_format, message
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server import rest_json
from serving.server.catalog import Catalog
from serving.server.errors import RequestError, invalid
from serving.server.grpc_service import model_status
from serving.server.model import ServedModel

_PATH = re.compile(r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+))?(?P<action>/metadata|:\w+|)")
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
}
_IDLE_SECONDS = 60
_logger = logging.getLogger(__name__)


class RestServer(ThreadingHTTPServer):
    """An HTTP server bound to `host` and `port`, not yet started; port 0 takes a free one."""

    # Closing waits for the requests in flight.
    daemon_threads = False

    def __init__(self, host: str, port: int, catalog: Catalog):
        self.catalog = catalog
        super().__init__((host, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: RestServer
    # Without a limit, a silent connection would hold up the shutdown.
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        status = HTTPStatus.OK
        try:
            answer = respond(self.server.catalog, self.command, self.path, self._body())
        except RequestError as error:
            status = _HTTP.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
            answer = {"error": str(error)}
        except Exception:
            # A fault of ours must reach the log and not cost the client its connection.
            _logger.exception("%s %s", self.command, self.path)
            status, answer = HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "internal error"}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            raise invalid(f"Content-Length is {length!r}; it must be a number of bytes")
        return self.rfile.read(int(length))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing about single requests, as TensorFlow Serving does."""


def respond(catalog: Catalog, method: str, path: str, body: bytes) -> dict[str, Any]:
    """The JSON answer to one request.

    Raises:
      RequestError: whatever is wrong with it.
    """
    match = _PATH.fullmatch(path)
    if not match:
        raise invalid(f"Malformed request: {method} {path}")
    name, action = match["name"], match["action"]
    version = int(match["version"]) if match["version"] else None
    if method == "GET" and action == "":
        return _message(model_status(catalog.versions(name, version)))
    if method == "GET" and action == "/metadata":
        return _metadata(name, catalog.find(name, version))
    if method == "POST" and action == ":predict":
        return _predict(catalog.find(name, version), body)
    if method == "POST" and action in (":classify", ":regress"):
        message = f"{action[1:]} is not part of the embedded server"
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, message)
    raise invalid(f"Malformed request: {method} {path}")


def _predict(model: ServedModel, body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise invalid('JSON Value: the request must be an object with "instances" or "inputs"')
    signature = request.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(f'"signature_name" is {signature!r}; it must be text')
    inputs = rest_json.read_inputs(request, model.signature_def(signature))
    return rest_json.write_outputs(request, model.run(signature, inputs))


def _metadata(name: str, model: ServedModel) -> dict[str, Any]:
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_defs)
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": _message(signatures)},
    }


def _message(value: message.Message) -> dict[str, Any]:
    return json_format.MessageToDict(value, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
