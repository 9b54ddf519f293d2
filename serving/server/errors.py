"""Errors of requests, independent of the protocol."""

import grpc


class RequestError(Exception):
    """A request that cannot be answered.

    Args:
        code: gRPC's status code; the REST frontend translates it to HTTP.
        message: names the argument, its value and the remedy.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


class TooLargeError(RequestError):
    """A request above the size limit: RESOURCE_EXHAUSTED, as in gRPC itself, or HTTP 413."""

    def __init__(self, message: str):
        super().__init__(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


class TooManyRowsError(RequestError):
    """More rows of an input than the model accepts in one request."""

    def __init__(self, name: str, rows: int, max_rows: int):
        message = f"{name!r} has {rows} rows; send at most {max_rows} in one request"
        super().__init__(grpc.StatusCode.INVALID_ARGUMENT, message)
        self.rows, self.max_rows = rows, max_rows


def invalid(message: str) -> RequestError:
    """Return the error for a malformed request."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> RequestError:
    """Return the error for an unknown model, version or signature."""
    return RequestError(grpc.StatusCode.NOT_FOUND, message)
