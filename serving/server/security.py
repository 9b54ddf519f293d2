"""Authentication by an API key, and TLS; both are optional."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from serving.server.errors import RequestError
from sg3tf.remote import API_KEY_HEADER, read_api_key

HEALTH = "/grpc.health.v1.Health/"


class ApiKey:
    """The key that every request must send in its `x-api-key` header or metadata.

    Args:
        path: file with the key, one line of printable ASCII.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not one line of printable ASCII.
    """

    def __init__(self, path: Path):
        try:
            self._key = read_api_key(path)
        except ValueError as error:
            raise ValueError(f"--{error}") from error

    def check(self, given: str | bytes | None) -> None:
        """Raise RequestError, UNAUTHENTICATED, if `given` is missing or another key."""
        value = given.encode(errors="replace") if isinstance(given, str) else given or b""
        # Constant time, so that timing does not reveal how much of a guess is right.
        if not hmac.compare_digest(value, self._key.encode()):
            raise RequestError(
                grpc.StatusCode.UNAUTHENTICATED, f"{API_KEY_HEADER} is missing or wrong; send the server's key"
            )


class KeyInterceptor(grpc.ServerInterceptor):
    """Checks the key of every call except health checks, because probes have no key."""

    def __init__(self, key: ApiKey):
        self._key = key

    def intercept_service(self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails) -> Any:
        if not details.method.startswith(HEALTH):
            try:
                self._key.check(dict(details.invocation_metadata).get(API_KEY_HEADER))
            except RequestError as error:
                return _abort(error)
        return continuation(details)


def _abort(error: RequestError) -> grpc.RpcMethodHandler:
    # A handler of a stream runs at once; one of a single request waits for it, in a thread that predictions need.
    return grpc.stream_unary_rpc_method_handler(lambda _, context: context.abort(error.code, str(error)))


class Certificate:
    """The server's TLS certificate, for gRPC and REST.

    Args:
        cert_file: certificate chain in PEM form.
        key_file: private key in PEM form, without a password.

    Raises:
        OSError: a file cannot be read.
        ValueError: the files are not a certificate and its key.
    """

    def __init__(self, cert_file: Path, key_file: Path):
        # Checked here, because gRPC would not report an error before the first connection.
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self.context.load_cert_chain(cert_file, key_file)
        except ssl.SSLError as error:
            files = f"--ssl_cert_file={cert_file} --ssl_key_file={key_file}"
            raise ValueError(f"{files} are not a certificate and its key in PEM form ({error})") from error
        self.grpc_credentials = grpc.ssl_server_credentials([(key_file.read_bytes(), cert_file.read_bytes())])
