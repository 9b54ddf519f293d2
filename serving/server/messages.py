"""Requests that cannot be parsed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError


class ParsingInterceptor(grpc.ServerInterceptor):
    """An interceptor that parses requests in the methods of a service, and rejects those that are not messages.

    gRPC itself (1.85) never frees a call whose request fails to deserialize. Each leaks 16 kB, so a client that sends
    them would exhaust the server's memory.
    """

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Return the handler of a call, which receives the request as bytes."""
        handler = continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.request_deserializer is None:
            return handler
        method = handler.unary_stream if handler.response_streaming else handler.unary_unary
        deserialize = handler.request_deserializer

        @functools.wraps(method)  # with the attributes that gRPC reads
        def parse(data: bytes, context: grpc.ServicerContext, *others: Any) -> Any:
            try:
                request = deserialize(data)
            except DecodeError as error:
                context.abort(grpc.StatusCode.INTERNAL, f"the request cannot be parsed: {error}")
            return method(request, context, *others)

        make = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(parse, response_serializer=handler.response_serializer)
