"""Requests that do not arrive, or cannot be parsed."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.server.security import HEALTH


class ParsingInterceptor(grpc.ServerInterceptor):
    """An interceptor that receives and parses the requests of a service, and rejects those that are not messages.

    gRPC itself (1.85) never frees a call whose request fails to deserialize. Each leaks 16 kB, so a client that sends
    them would exhaust the server's memory. It also waits for a request without end, in a thread of the server, so
    clients that send none would occupy all threads.

    Args:
        seconds: time for a request to arrive; the call is canceled after it.
        health_threads: threads for health checks, which need no key; None for those of the server.
    """

    def __init__(self, seconds: float, health_threads: ThreadPoolExecutor | None = None):
        self._seconds, self._health_threads = seconds, health_threads

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Return the handler of a call, which receives the request as a stream of one message of bytes."""
        handler = continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.request_deserializer is None:
            return handler
        method = handler.unary_stream if handler.response_streaming else handler.unary_unary
        deserialize = handler.request_deserializer

        @functools.wraps(method)  # with the attributes that gRPC reads
        def parse(messages: Iterator[bytes], context: grpc.ServicerContext, *others: Any) -> Any:
            data = self._receive(messages, context)
            try:
                request = deserialize(data)
            except DecodeError as error:
                context.abort(grpc.StatusCode.INTERNAL, f"the request cannot be parsed: {error}")
            return method(request, context, *others)

        if handler_call_details.method.startswith(HEALTH):
            parse.experimental_thread_pool = self._health_threads  # type: ignore[attr-defined]
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(parse, response_serializer=handler.response_serializer)

    def _receive(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        timer = threading.Timer(self._seconds, context.cancel)
        timer.daemon = True
        timer.start()
        try:
            for message in messages:
                return message
        finally:
            timer.cancel()
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the call has no request; send one message")
        raise AssertionError("abort does not return")
