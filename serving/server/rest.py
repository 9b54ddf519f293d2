"""REST frontend: an HTTP server with TensorFlow Serving's paths, version 1."""

# ruff: noqa: N815 - method names are the base class's

from __future__ import annotations

import errno
import io
import ipaddress
import json
import logging
import re
import resource
import select
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import grpc
import numpy as np
from google.protobuf import json_format, message
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.server import explorer, metrics
from serving.server.address import is_local
from serving.server.admission import Caller
from serving.server.errors import RequestError, TooLargeError, invalid
from serving.server.grpc_service import model_status
from serving.server.model import ServedModel
from serving.server.model_manager import Version
from serving.server.predictor import Predictor
from serving.server.rest_json import ROW, read_inputs, read_request, write_outputs
from serving.server.security import ApiKey
from sg3tf.remote import API_KEY_HEADER
from sg3tf.utils.error_text import shown

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d{1,19})|/labels/(?P<label>[^/:]+))?(?P<action>/metadata|:\w+|)"
)
_CLIENT_CLOSED_REQUEST = 499  # as in TensorFlow Serving; the client is gone
_HTTP: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.CANCELLED: _CLIENT_CLOSED_REQUEST,
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
_CHUNK = 1 << 20
_MAX_LINE = 1 << 16
_MAX_TRAILERS = 100
_MAX_MEMBERS = 100
_SEND_SECONDS = 30
_MAX_CONNECTIONS = 1024
# The limit of open files that the server asks for; macOS allows 10240.
_OPEN_FILES = 8192
_NO_FILES = (errno.EMFILE, errno.ENFILE)
_NO_FILES_SECONDS = 0.1
# Bytes to read of a rejected body: a client that is cut off while sending may not see the answer.
_MAX_DISCARDED = 256 << 20
_LINGER_SECONDS = 2  # time for a slow client to finish sending and to read the answer
# Total size of received bodies, both as sent and decompressed, in units of the largest request.
_MAX_RECEIVED = 8
_logger = logging.getLogger(__name__)


class RestServer(ThreadingHTTPServer):
    """An HTTP server on a listening socket, not yet started.

    Args:
        listener: the socket; closed by `server_close`.
        predictor: answers the predictions.
        max_bytes: size of the largest accepted request.
        seconds: time limit for a request to arrive and to get a slot.
        key: key that requests must send; None for no check.
        tls: TLS context; None for plain HTTP.
        cors: allow web pages of any origin.
    """

    # server_close waits for the requests in flight.
    daemon_threads = False
    # Connections that have not sent the first line of a request; browsers open some in advance.
    silent: set[socket.socket]

    def __init__(
        self,
        listener: socket.socket,
        predictor: Predictor,
        max_bytes: int,
        seconds: float,
        key: ApiKey | None = None,
        tls: ssl.SSLContext | None = None,
        cors: bool = False,
    ):
        self.predictor, self.max_bytes, self.seconds, self.key, self.cors = predictor, max_bytes, seconds, key, cors
        self.assets = explorer.read_assets()
        self.received = ByteBudget(_MAX_RECEIVED * max_bytes)
        self._connections, self.silent = threading.BoundedSemaphore(_max_connections()), set()
        address = listener.getsockname()[:2]
        # A page whose host name leads to this machine (DNS rebinding) has neither the key nor a certificate.
        self.refuses_foreign_pages = ipaddress.ip_address(address[0]).is_loopback and not (cors or key or tls)
        super().__init__(address, _Handler, bind_and_activate=False)
        self.socket.close()  # created by the base class
        # The handshake runs in the connection's own thread, so a silent client does not block others.
        self.socket = tls.wrap_socket(listener, server_side=True, do_handshake_on_connect=False) if tls else listener
        self.server_port: int = address[1]

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _NO_FILES:
                time.sleep(_NO_FILES_SECONDS)  # the connection keeps waiting, so the next attempt is at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or close the connection at once if there are too many."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self.silent.add(request)
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread can be started
            self.silent.discard(request)
            self._connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.silent.discard(request)
            self._connections.release()

    def server_close(self) -> None:
        """Wait for the requests in flight; connections that have sent none are closed."""
        for connection in list(self.silent):
            with suppress(OSError):  # it may be closed already
                socket.socket.shutdown(connection, socket.SHUT_RD)  # below TLS
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log at debug level that a client has closed the connection or does not use TLS."""
        _logger.debug("connection from %s", client_address, exc_info=True)


def _max_connections() -> int:
    """Raise this process's limit of open files, and return how many connections leave half of it to others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    if soft < wanted:
        with suppress(OSError, ValueError):  # the system may allow less than the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return min(_MAX_CONNECTIONS, soft // 2)


class ByteBudget:
    """Bytes that several threads may hold together.

    Examples:
        >>> budget = ByteBudget(10)
        >>> budget.take(8), budget.take(8)
        (True, False)
    """

    def __init__(self, size: int):
        self._left, self._counting = size, threading.Lock()

    def take(self, size: int) -> bool:
        """Take `size` bytes and return True, or return False if fewer are left."""
        with self._counting:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Return bytes that were taken."""
        with self._counting:
            self._left += size


class _TimedReader(io.RawIOBase):
    """Bytes of a connection until a deadline; a time limit per read would let a client send for hours."""

    def __init__(self, connection: socket.socket, deadline: float):
        self._connection, self._deadline, self.is_late = connection, deadline, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
        try:
            return self._connection.recv_into(buffer)
        except TimeoutError as error:
            self.is_late = True
            message = "the request did not arrive in time; send it faster"
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from error
        except OSError as error:
            raise RequestError(grpc.StatusCode.CANCELLED, "the client has reset the connection") from error


class _Handler(BaseHTTPRequestHandler):
    server: RestServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self._reader = _TimedReader(self.connection, time.monotonic() + self.server.seconds)
        self.rfile = io.BufferedReader(self._reader)

    def parse_request(self) -> bool:
        self.server.silent.discard(self.connection)
        return super().parse_request()

    def do_GET(self) -> None:
        self._answer()

    # As in TensorFlow Serving, methods other than GET and POST are rejected in JSON, and OPTIONS is answered for CORS.
    do_POST = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Reject other methods, and what is not HTTP, in JSON."""
        status = HTTPStatus(code)
        self._send(status, _json({"error": message or status.phrase}))

    def handle_expect_100(self) -> bool:
        """Reject a request before its body is sent, if the key or the length is wrong."""
        try:
            self._check_key()
            self._check_length(self._length())
        except RequestError as error:
            if self._is_prediction():
                self.server.predictor.metrics.observe("rest", error.code, 0)
            self._send(_http_status(error), _error(error))
            return False
        return super().handle_expect_100()

    def _answer(self) -> None:
        self._pieces: Iterator[bytes] = iter(())
        try:
            if self.command == "OPTIONS" and self.server.cors:
                self._send(HTTPStatus.OK, b"")  # a browser's preflight request, which never has the key
                return
            length = self._length()
            self._pieces = self._read_chunks() if length is None else self._read(length)
            path, _, query = self.path.partition("?")
            if self.command == "GET" and self._send_explorer(path, query):
                return
            with self._metered():
                self._check_page()
                self._check_key()
                self._check_length(length)
                if self.command == "GET" and path == metrics.PATH:
                    self._send(HTTPStatus.OK, self.server.predictor.metrics.text(), metrics.CONTENT_TYPE)
                    return
                # Received before admission, so that slow clients do not fill the server.
                with self._receive() as body:
                    caller = Caller(time.monotonic() + self.server.seconds, self._is_connected)
                    answer = respond(self.server.predictor, self.command, path, lambda: self._decode(body), caller)
            self._send(HTTPStatus.OK, answer)
        except RequestError as error:
            self._discard_body()
            self._send(_http_status(error), _error(error))
            if self._reader.is_late:
                self._linger()
        except OSError:
            raise  # the client has disconnected
        except Exception:
            # A server bug goes to the log, and the client still gets an answer.
            _logger.exception("%s %s", self.command, self.path)
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, b'{"error": "internal error"}')

    def _send_explorer(self, path: str, query: str) -> bool:
        """Answer with a file of the explorer, without a key, which browsers cannot send; False for other paths."""
        assets = self.server.assets
        if assets and path in (explorer.PATH, explorer.PATH.rstrip("/")) and not query:
            headers = {"Location": explorer.location(self.server.predictor.models.name)}
            self._send(HTTPStatus.FOUND, b"", "text/plain", headers)
            return True
        if path not in assets:
            return False
        self._send(HTTPStatus.OK, assets[path].content, assets[path].content_type, explorer.HEADERS)
        return True

    def _is_prediction(self) -> bool:
        return self.command == "POST" and self.path.partition("?")[0].endswith(":predict")

    def _metered(self) -> AbstractContextManager[None]:
        return self.server.predictor.metrics.prediction("rest") if self._is_prediction() else nullcontext()

    def _check_page(self) -> None:
        """Refuse a web page from a host name that may be another site's.

        Browsers send the page's origin with every POST. A page at an https address came through a proxy: here is no
        certificate that a browser would accept for its name.
        """
        origin, host = self.headers.get("Origin"), self.headers.get("Host", "")
        if origin is None or origin.startswith("https:") or is_local(host) or not self.server.refuses_foreign_pages:
            return
        message = f"a page at {origin} may not use this server under the name {host!r}; open it at localhost"
        remedy = "or have the proxy use https or send 'Host: localhost'"
        raise RequestError(grpc.StatusCode.PERMISSION_DENIED, f"{message}, {remedy}")

    def _check_key(self) -> None:
        if self.server.key:
            self.server.key.check(self.headers.get(API_KEY_HEADER))

    def _check_length(self, length: int | None) -> None:
        if length is not None and length > self.server.max_bytes:
            raise self._too_large(f"Content-Length is {length}")

    def _too_large(self, what: str) -> TooLargeError:
        return TooLargeError(f"{what}; at most {self.server.max_bytes} bytes are accepted")

    def _length(self) -> int | None:
        """Return the length of the body in bytes, or None if it comes in chunks."""
        lengths, codings = (self.headers.get_all(name, []) for name in ("Content-Length", "Transfer-Encoding"))
        if not lengths and [coding.strip().lower() for coding in codings] == ["chunked"]:
            return None
        length = lengths[0] if lengths else "0"
        if codings or len(lengths) > 1 or not (length.isascii() and length.isdecimal() and len(length) < 19):
            raise invalid("give one Content-Length, a number of bytes, or else Transfer-Encoding: chunked")
        return int(length)

    def _read(self, length: int) -> Iterator[bytes]:
        while length > 0:
            piece = self.rfile.read1(min(length, _CHUNK))
            if not piece:
                raise invalid("the body ends early")
            length -= len(piece)
            yield piece

    def _read_chunks(self) -> Iterator[bytes]:
        while size := self._read_chunk_size():
            yield from self._read(size)
            if self.rfile.readline(_MAX_LINE).strip():
                raise invalid("Transfer-Encoding: a chunk has more bytes than its size")
        for _ in range(_MAX_TRAILERS):
            if not self.rfile.readline(_MAX_LINE).strip():
                return
        raise invalid(f"Transfer-Encoding: more than {_MAX_TRAILERS} trailers")

    def _read_chunk_size(self) -> int:
        line = self.rfile.readline(_MAX_LINE)
        size = line.partition(b";")[0].strip()  # after a semicolon: extensions
        if not line.endswith(b"\n") or not re.fullmatch(rb"[0-9a-fA-F]{1,16}", size):
            raise invalid(f"Transfer-Encoding: {size[:20]!r} is not a chunk size")
        return int(size, 16)

    @contextmanager
    def _receive(self) -> Iterator[bytearray]:
        """Receive the body of a POST request, for the duration of the block."""
        body = bytearray()
        self._num_taken = 0
        try:
            for piece in self._pieces if self.command == "POST" else ():
                if len(body) + len(piece) > self.server.max_bytes:
                    raise self._too_large("the body is larger")
                self._take(len(piece))
                body += piece
            yield body
        finally:
            self.server.received.give_back(self._num_taken)

    def _take(self, size: int) -> None:
        """Take bytes from the budget, until the end of `_receive`."""
        if not self.server.received.take(size):
            message = "the server has too many large requests at once; try again later"
            raise RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
        self._num_taken += size

    def _decode(self, body: bytearray) -> bytearray:
        coding = self.headers.get("Content-Encoding", "identity").strip().lower()
        if coding == "identity":
            return body
        if coding != "gzip":
            raise invalid(f"Content-Encoding: {coding} is not supported; send gzip, or none")
        return self._decompress(body)

    def _decompress(self, body: bytearray) -> bytearray:
        result = bytearray()
        rest = memoryview(body)
        for _ in range(_MAX_MEMBERS):
            member = zlib.decompressobj(wbits=31)  # 31: with gzip's header
            while not member.eof:
                try:
                    piece = member.decompress(rest[:_CHUNK], _CHUNK)
                except zlib.error as error:
                    raise invalid(f"Content-Encoding: gzip: {error}") from error
                if len(result) + len(piece) > self.server.max_bytes:
                    raise self._too_large("the decompressed body is larger")
                num_left = len(member.unconsumed_tail) + len(member.unused_data)
                rest = rest[min(_CHUNK, len(rest)) - num_left :]
                if not piece and not rest and not member.eof:
                    raise invalid("Content-Encoding: gzip: the body ends early")
                self._take(len(piece))
                result += piece
            if not rest:
                return result
        # Each one copies the rest of its chunk, so millions of empty ones would take hours.
        raise invalid(f"Content-Encoding: gzip: more than {_MAX_MEMBERS} parts; compress the body as one")

    def _is_connected(self) -> bool:
        """Return False if the client has closed the connection; its request has been read completely."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        if not poll.poll(0):
            return True
        if isinstance(self.connection, ssl.SSLSocket):
            return False  # the data is TLS's closing alert
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK))
        except OSError:  # the client has reset the connection
            return False

    def _discard_body(self) -> None:
        discarded = 0
        with suppress(RequestError):
            for piece in self._pieces:
                discarded += len(piece)
                if discarded >= _MAX_DISCARDED:
                    return

    def _linger(self) -> None:
        """Keep receiving briefly after the answer, which a client that is cut off while sending may not see."""
        self.connection.shutdown(socket.SHUT_WR)
        reader = _TimedReader(self.connection, time.monotonic() + _LINGER_SECONDS)
        with suppress(RequestError):
            while reader.read(_CHUNK):
                pass

    def _send(
        self,
        status: int,
        text: bytes,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.server.cors:
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
            self.send_header("Access-Control-Allow-Headers", f"Content-Type, {API_KEY_HEADER}")
        # One request per connection, so idle connections do not delay the shutdown.
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        for start in range(0, len(text), _CHUNK):  # the time limit is per chunk, because large answers may take long
            self.connection.settimeout(_SEND_SECONDS)
            self.wfile.write(text[start : start + _CHUNK])

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log single requests, as in TensorFlow Serving."""


def _http_status(error: RequestError) -> int:
    if isinstance(error, TooLargeError):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return _HTTP.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _error(error: RequestError) -> bytes:
    return _json({"error": str(error)})


def respond(predictor: Predictor, method: str, path: str, read_body: Callable[[], bytearray], caller: Caller) -> bytes:
    """Return the JSON answer to one request.

    Raises:
        RequestError: the request cannot be answered.
    """
    match = _PATH.fullmatch(path)
    if not match:
        raise invalid(f"Malformed request: {method} {path}")
    name, action = unquote(match["name"]), match["action"]
    label = match["label"] and unquote(match["label"])
    version = int(match["version"]) if match["version"] else label
    if method == "GET" and action == "":
        return _json(_message(model_status(predictor.models.statuses(name, version))))
    if method == "GET" and action == "/metadata":
        return _json(_metadata(name, predictor.models.find(name, version)))
    if method == "POST" and action == ":predict":
        return _predict(predictor, name, version, read_body, caller)
    if method == "POST" and action in (":classify", ":regress"):
        message = f"{action[1:]} is not part of the embedded server"
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, message)
    raise invalid(f"Malformed request: {method} {path}")


def _predict(
    predictor: Predictor, name: str, version: Version, read_body: Callable[[], bytearray], caller: Caller
) -> bytes:
    by_row = False

    def parse(model: ServedModel) -> tuple[str, dict[str, np.ndarray]]:
        nonlocal by_row
        body = read_body()
        model.check_json(body)
        request = read_request(body)
        by_row = ROW in request
        signature = request.get("signature_name", "")
        if not isinstance(signature, str):
            raise invalid(f'"signature_name" is {shown(signature)}; it must be text')
        return signature, read_inputs(request, model.signature_def(signature))

    return predictor.predict(name, version, parse, lambda _, outputs: write_outputs(outputs, by_row), caller)


def _metadata(name: str, model: ServedModel) -> dict[str, Any]:
    signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_defs)
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": _message(signatures)},
    }


def _message(value: message.Message) -> dict[str, Any]:
    return json_format.MessageToDict(value, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
