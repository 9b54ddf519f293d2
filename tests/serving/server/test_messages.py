"""Requests that cannot be parsed leave nothing behind, and those that do not arrive occupy no thread."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from serving.server.messages import ParsingInterceptor

REQUESTS = 200
THREADS, SECONDS = 4, 2.0


@pytest.fixture(scope="module")
def channel():
    """To a server with a method that returns its request, and with the health service."""
    handler = grpc.unary_unary_rpc_method_handler(
        lambda request, _: request, StringValue.FromString, StringValue.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(THREADS), interceptors=[ParsingInterceptor(seconds=SECONDS)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", {"Return": handler}),))
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None).wait()


def test_malformed_message_is_refused_and_forgotten(channel):
    """Before, gRPC's own refusal left 22 objects of Python, and 16 kB, of every request."""
    call = channel.unary_unary("/a.Service/Return")
    message = StringValue(value="x" * 50).SerializeToString()

    def send(count):
        for _ in range(count):
            with pytest.raises(grpc.RpcError) as refusal:
                call(message[:-5], timeout=20)
            assert refusal.value.code() == grpc.StatusCode.INTERNAL
        del refusal
        gc.collect()
        return len(gc.get_objects())

    before = send(20)
    assert send(REQUESTS) - before < 5 * REQUESTS
    assert call(message, timeout=20) == message


def test_calls_without_a_message_end(channel):
    """Before, each held a thread for as long as the client wanted."""
    call, end = channel.stream_unary("/a.Service/Return"), threading.Event()

    def nothing():
        end.wait(120)
        yield from ()

    silent = [call.future(nothing(), timeout=60) for _ in range(THREADS)]
    message = StringValue(value="x").SerializeToString()
    assert channel.unary_unary("/a.Service/Return")(message, timeout=40) == message
    assert [one.exception(timeout=40).code() for one in silent] == THREADS * [grpc.StatusCode.CANCELLED]
    end.set()
    with pytest.raises(grpc.RpcError, match="has no request") as empty:
        call(iter(()), timeout=20)
    assert empty.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_methods_that_stream_and_those_that_do_not_exist(channel):
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status == health_pb2.HealthCheckResponse.SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=20)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    with pytest.raises(grpc.RpcError, match="cannot be parsed"):
        list(channel.unary_stream("/grpc.health.v1.Health/Watch")(b"\x0a\x09x", timeout=20))
    with pytest.raises(grpc.RpcError) as unknown:
        channel.unary_unary("/a.Service/Other")(b"", timeout=20)
    assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED
