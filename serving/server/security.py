"""Who may ask, and that nobody listens in: an API key and TLS, both optional."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from serving.server.errors import RequestError

HEADER = "x-api-key"
_HEALTH = "/grpc.health.v1.Health/"


class ApiKey:
    """The key that every request must have in its `x-api-key` header or metadata.

    Args:
      path: file with the key, one line of printable ASCII.

    Raises:
      OSError: the file cannot be read.
      ValueError: it has no key.
    """

    def __init__(self, path: Path):
        self._key = path.read_text(encoding="utf-8", errors="replace").strip()
        if not self._key or not self._key.isascii() or not self._key.isprintable():
            raise ValueError(f"--api_key_file={path} must hold one line of printable ASCII: the key")

    def check(self, given: str | bytes | None) -> None:
        """Raises RequestError, UNAUTHENTICATED, where `given` is another key or none."""
        value = given.encode(errors="replace") if isinstance(given, str) else given or b""
        # In constant time: how long the comparison takes must not tell how much of a guess is right.
        if not hmac.compare_digest(value, self._key.encode()):
            raise RequestError(grpc.StatusCode.UNAUTHENTICATED, f"{HEADER} is missing or wrong; send the server's key")


class KeyInterceptor(grpc.ServerInterceptor):
    """Asks every call for the key, but for health checks: those who probe have none, and learn nothing."""

    def __init__(self, key: ApiKey):
        self._key = key

    def intercept_service(self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails) -> Any:
        if not details.method.startswith(_HEALTH):
            try:
                self._key.check(dict(details.invocation_metadata).get(HEADER))
            except RequestError as error:
                return _refusal(error)
        return continuation(details)


def _refusal(error: RequestError) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(lambda _, context: context.abort(error.code, str(error)))


class Certificate:
    """The server's TLS certificate, for both protocols.

    Args:
      cert_file: the certificate and those that vouch for it, PEM.
      key_file: its private key, PEM without a password.

    Raises:
      OSError: a file cannot be read.
      ValueError: a file of something else.
    """

    def __init__(self, cert_file: Path, key_file: Path):
        # gRPC would only complain at the first connection.
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self.context.load_cert_chain(cert_file, key_file)
        except ssl.SSLError as error:
            files = f"--ssl_cert_file={cert_file} --ssl_key_file={key_file}"
            raise ValueError(f"{files} are not a certificate and its key in PEM form ({error})") from error
        self.grpc_credentials = grpc.ssl_server_credentials([(key_file.read_bytes(), cert_file.read_bytes())])
