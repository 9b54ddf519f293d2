"""REST frontend: TensorFlow Serving's paths, version 1, and the JSON of its predict calls.

Row form: {"instances": [one per image]} -> {"predictions": [...]}. Column form: {"inputs": whole arrays} ->
{"outputs": ...}. Binary values are {"b64": text}; binary outputs have names that end in _bytes. A signature with one
input or one output needs no name for it.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format, message
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server import metrics
from serving.server.admission import Caller
from serving.server.errors import RequestError, TooLargeError, invalid
from serving.server.grpc_service import model_status
from serving.server.model import ServedModel
from serving.server.predictor import Predictor
from serving.server.security import HEADER, ApiKey

ROW, COLUMN = "instances", "inputs"


def read_request(body: bytes) -> dict[str, Any]:
    """Parse the JSON object in `body`.

    Raises:
        RequestError: INVALID_ARGUMENT, if it is not one.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(request, dict):
        raise invalid('JSON Value: the request must be an object with "instances" or "inputs"')
    return request


def read_inputs(body: Mapping[str, Any], signature: meta_graph_pb2.SignatureDef) -> dict[str, np.ndarray]:
    """Convert the inputs of a request to arrays of the signature's dtypes, by name.

    Raises:
        RequestError: INVALID_ARGUMENT, for another form.
    """
    if (ROW in body) == (COLUMN in body):
        raise invalid('the request must have one of "instances" (rows) and "inputs" (columns)')
    values = _columns(body[ROW], signature) if ROW in body else _named(body[COLUMN], signature)
    # Unknown names pass unconverted: the model reports them together with the missing ones.
    types = {name: tf.as_dtype(info.dtype) for name, info in signature.inputs.items()}
    return {name: _to_array(name, value, types.get(name)) for name, value in values.items()}


def write_outputs(body: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Build the answer in the row or column form of the request `body`."""
    values = {name: _to_json(name, array) for name, array in outputs.items()}
    if ROW not in body:
        return {"outputs": values if len(values) > 1 else next(iter(values.values()))}
    if len(values) == 1:
        return {"predictions": next(iter(values.values()))}
    rows = zip(*values.values(), strict=True)
    return {"predictions": [dict(zip(values, row, strict=True)) for row in rows]}


def _columns(rows: Any, signature: meta_graph_pb2.SignatureDef) -> dict[str, list[Any]]:
    if not isinstance(rows, list) or not rows:
        raise invalid('"instances" must be a list with at least one instance')
    named = [_named(row, signature) for row in rows]
    for index, row in enumerate(named):
        if row.keys() != named[0].keys():
            raise invalid(f'"instances" {index} has other inputs than the first one')
    return {name: [row[name] for row in named] for name in named[0]}


def _named(value: Any, signature: meta_graph_pb2.SignatureDef) -> dict[str, Any]:
    if isinstance(value, dict) and value.keys() != {"b64"}:
        return value
    if len(signature.inputs) != 1:
        names = ", ".join(sorted(signature.inputs))
        raise invalid(f"this signature has several inputs; name them in an object: {names}")
    return {next(iter(signature.inputs)): value}


def _to_array(name: str, value: Any, dtype: tf.DType | None) -> np.ndarray:
    if dtype == tf.string:
        return np.array(_decode_bytes(name, value), dtype=object)
    try:
        array = np.array(value)
    except ValueError as error:
        raise invalid(f"{name!r} is not a rectangular array") from error
    if dtype is None:
        return array
    kinds = "iuf" if dtype.is_floating else "b" if dtype.is_bool else "iu"
    if array.size and array.dtype.kind not in kinds:
        raise invalid(f"{name!r} must hold {dtype.name} numbers only")
    with np.errstate(over="ignore"):  # infinity is refused by check_inputs
        converted = array.astype(dtype.as_numpy_dtype)
    if not dtype.is_floating and np.any(converted != array):
        raise invalid(f"{name!r} has a value outside of {dtype.name}")
    return converted


def _decode_bytes(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_decode_bytes(name, item) for item in value]
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise invalid(f"{name!r} has a b64 value that is not base64: {error}") from error
    raise invalid(f'{name!r} must hold text, or binary as {{"b64": text}}')


def _to_json(name: str, array: np.ndarray) -> Any:
    if array.dtype.kind not in "OS":
        return array.tolist()
    encode = _b64 if name.endswith("_bytes") else bytes.decode
    try:
        flat = [encode(value) for value in array.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise invalid(f"output {name!r} is binary and not named ..._bytes: use gRPC") from error
    return np.array(flat, dtype=object).reshape(array.shape).tolist()


def _b64(value: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(value).decode()}


# --- HTTP server ------------------------------------------------------------------------------------------------------

_PATH = re.compile(r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d{1,19}))?(?P<action>/metadata|:\w+|)")
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
_IDLE_SECONDS = 30
_CHUNK = 1 << 20
# Bytes to read of a refused body: a client that is cut off while sending may not see the answer.
_MAX_DISCARDED = 256 << 20
_logger = logging.getLogger(__name__)


class RestServer(ThreadingHTTPServer):
    """An HTTP server bound to an address, not yet started.

    Args:
        address: host and port; port 0 for any free one.
        predictor: answers the predictions.
        max_bytes: the largest request.
        seconds: how long a prediction may wait for a slot.
        key: key that requests must send; None for no check.
        tls: TLS context; None for plain HTTP.

    Raises:
        OSError: the address is not available.
    """

    # server_close waits for the requests in flight.
    daemon_threads = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        predictor: Predictor,
        max_bytes: int,
        seconds: float,
        key: ApiKey | None = None,
        tls: ssl.SSLContext | None = None,
    ):
        self.predictor, self.max_bytes, self.seconds, self.key = predictor, max_bytes, seconds, key
        super().__init__(address, _Handler)
        if tls:
            # The handshake runs in the connection's own thread, so that a silent client does not block the others.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log at debug level: a client has closed the connection or does not speak TLS."""
        _logger.debug("connection from %s", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: RestServer
    protocol_version = "HTTP/1.1"
    # Without a limit, a silent connection would delay the shutdown.
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def handle_expect_100(self) -> bool:
        """Refuse a request before its body is sent, if the key or the length is wrong."""
        try:
            self._check_key()
            self._check_length()
        except RequestError as error:
            self._send(_http_status(error), _error(error))
            return False
        return super().handle_expect_100()

    def _answer(self) -> None:
        self._unread = 0
        try:
            self._check_key()
            self._check_length()
            if self.command == "GET" and self.path == metrics.PATH:
                self._send(HTTPStatus.OK, self.server.predictor.metrics.text(), metrics.CONTENT_TYPE)
                return
            caller = Caller(time.monotonic() + self.server.seconds, self._is_connected)
            answer = respond(self.server.predictor, self.command, self.path, self._body, caller)
            self._send(HTTPStatus.OK, json.dumps(answer).encode())
        except RequestError as error:
            self._discard_body()
            self._send(_http_status(error), _error(error))
        except OSError:
            raise  # the client has disconnected
        except Exception:
            # A bug of the server goes to the log, and the client still gets an answer.
            _logger.exception("%s %s", self.command, self.path)
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, b'{"error": "internal error"}')

    def _check_key(self) -> None:
        self._unread = int(self.headers.get("Content-Length", "0")) if self._has_length() else 0
        if self.server.key:
            self.server.key.check(self.headers.get(HEADER))

    def _check_length(self) -> None:
        if not self._has_length() or self.headers.get("Transfer-Encoding"):
            raise invalid("Content-Length must be a number of bytes, and Transfer-Encoding is not supported")
        if self._unread > self.server.max_bytes:
            raise TooLargeError(f"Content-Length is {self._unread}; at most {self.server.max_bytes} bytes are accepted")

    def _has_length(self) -> bool:
        length = self.headers.get("Content-Length", "0")
        return length.isascii() and length.isdecimal() and len(length) < 19

    def _body(self) -> bytes:
        length, self._unread = self._unread, 0
        return self.rfile.read(length)

    def _is_connected(self) -> bool:
        """Return False if the client, whose request has been read completely, has closed the connection."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        if not poll.poll(0):
            return True
        # Over TLS the data is the closing alert.
        return not isinstance(self.connection, ssl.SSLSocket) and bool(self.connection.recv(1, socket.MSG_PEEK))

    def _discard_body(self) -> None:
        left = min(self._unread, _MAX_DISCARDED)
        while left > 0:
            chunk = self.rfile.read(min(left, _CHUNK))
            left = left - len(chunk) if chunk else 0

    def _send(self, status: HTTPStatus, text: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        # One request per connection, so that no idle connection delays the shutdown.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing about single requests, as in TensorFlow Serving."""


def _http_status(error: RequestError) -> HTTPStatus:
    if isinstance(error, TooLargeError):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return _HTTP.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)


def _error(error: RequestError) -> bytes:
    return json.dumps({"error": str(error)}).encode()


def respond(
    predictor: Predictor, method: str, path: str, read_body: Callable[[], bytes], caller: Caller
) -> dict[str, Any]:
    """Return the JSON answer to one request.

    Raises:
        RequestError: the request cannot be answered.
    """
    match = _PATH.fullmatch(path)
    if not match:
        raise invalid(f"Malformed request: {method} {path}")
    name, action = match["name"], match["action"]
    version = int(match["version"]) if match["version"] else None
    if method == "GET" and action == "":
        return _message(model_status(predictor.models.statuses(name, version)))
    if method == "GET" and action == "/metadata":
        return _metadata(name, predictor.models.find(name, version))
    if method == "POST" and action == ":predict":
        return _predict(predictor, name, version, read_body, caller)
    if method == "POST" and action in (":classify", ":regress"):
        message = f"{action[1:]} is not part of the embedded server"
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, message)
    raise invalid(f"Malformed request: {method} {path}")


def _predict(
    predictor: Predictor, name: str, version: int | None, read_body: Callable[[], bytes], caller: Caller
) -> dict[str, Any]:
    request: dict[str, Any] = {}

    def parse(model: ServedModel) -> tuple[str, dict[str, np.ndarray]]:
        request.update(read_request(read_body()))
        signature = request.get("signature_name", "")
        if not isinstance(signature, str):
            raise invalid(f'"signature_name" is {signature!r}; it must be text')
        return signature, read_inputs(request, model.signature_def(signature))

    _, outputs = predictor.predict("rest", name, version, parse, caller)
    return write_outputs(request, outputs)


def _metadata(name: str, model: ServedModel) -> dict[str, Any]:
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_defs)
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": _message(signatures)},
    }


def _message(value: message.Message) -> dict[str, Any]:
    return json_format.MessageToDict(value, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
