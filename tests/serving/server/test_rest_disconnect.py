"""REST requests of clients that disconnect while they wait, with and without TLS."""

import contextlib
import socket
import ssl
import struct
import threading

import grpc
import pytest

from serving.server.address import listen
from serving.server.errors import RequestError
from serving.server.metrics import Metrics
from serving.server.rest import RestServer

REQUEST = b"POST /v1/models/fake:predict HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"


class Queue:
    """A predictor whose requests wait until nobody waits for them."""

    def __init__(self):
        self.waiting, self.ended, self.end = threading.Event(), threading.Event(), threading.Event()
        self.code = None
        self.metrics = Metrics(lambda: 0, lambda: 0)

    def predict(self, name, version, parse, write, caller):
        with contextlib.suppress(AttributeError):
            parse(None)  # reads the body, before it asks the model
        try:
            while not self.end.wait(0.01):
                self.waiting.set()
                caller.check()
        except RequestError as error:
            self.code = error.code
            raise
        finally:
            self.ended.set()
        raise RequestError(grpc.StatusCode.NOT_FOUND, "the end of the test")


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def connection(request, certificate):
    """A client's connection, and the predictor behind the server."""
    tls = None
    if request.param:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate / "cert.pem", certificate / "server.key")
    queue = Queue()
    server = RestServer(listen("127.0.0.1", 0, "rest_api_port"), queue, 1000, 60.0, tls=tls)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    client = socket.create_connection(server.socket.getsockname(), timeout=20)
    if request.param:
        client = ssl.create_default_context(cafile=certificate / "cert.pem").wrap_socket(
            client, server_hostname="127.0.0.1"
        )
    yield client, queue
    queue.end.set()
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_disconnect_cancels_the_request(connection):
    client, queue = connection
    client.sendall(REQUEST)
    assert queue.waiting.wait(20)
    client.close()
    assert queue.ended.wait(20)
    assert queue.code == grpc.StatusCode.CANCELLED


def test_connection_reset_cancels_the_request(connection):
    """A client that is killed with unread data, for example: the server's read is an error, not an end."""
    client, queue = connection
    client.sendall(REQUEST)
    assert queue.waiting.wait(20)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert queue.ended.wait(20)
    assert queue.code == grpc.StatusCode.CANCELLED


def test_connected_client_gets_its_answer(connection):
    client, queue = connection
    client.sendall(REQUEST)
    assert queue.waiting.wait(20)
    assert not queue.ended.wait(0.3)
    queue.end.set()
    assert b" 404 " in client.recv(100)
