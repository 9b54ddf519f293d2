"""The one exception by which a request is refused, whatever protocol it came by."""

import grpc


class RequestError(Exception):
    """A request that cannot be answered.

    Args:
      code: gRPC's vocabulary; the REST front translates it to HTTP.
      message: names the argument, its value and the remedy.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


class TooLargeError(RequestError):
    """A request of more bytes than this server takes: RESOURCE_EXHAUSTED, as gRPC itself says, or HTTP 413."""

    def __init__(self, message: str):
        super().__init__(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def invalid(message: str) -> RequestError:
    """The client sent what cannot be understood."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> RequestError:
    """The client asked for a model, version or signature that is not here."""
    return RequestError(grpc.StatusCode.NOT_FOUND, message)
