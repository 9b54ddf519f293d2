"""HTTP as clients and browsers send it: chunks, gzip, other methods, CORS, slow senders; byte by byte."""

import errno
import gzip
import json
import re
import resource
import socket
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server import explorer, rest
from serving.server.address import listen
from serving.server.errors import invalid
from serving.server.metrics import Metrics
from serving.server.rest import RestServer

BODY = json.dumps({"inputs": {"z": [[0] * 6], "psi": [1], "label": [[0, 1]]}}).encode()
PREDICT = "POST /v1/models/fake:predict"


def exchange(server, request, *headers, body=b""):
    """Send one request; return the status line's number, the headers and the body of the answer."""
    host, _, port = server.rest.removeprefix("http://").rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join([f"{request} HTTP/1.1", *headers, "", ""]).encode() + body)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    head, _, content = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), content


def length(body):
    return f"Content-Length: {len(body)}"


def chunked(body, size):
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x;extension\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"


CHUNKED, GZIP = "Transfer-Encoding: chunked", "Content-Encoding: gzip"
TWO = gzip.compress(BODY[:9]) + gzip.compress(BODY[9:])


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([CHUNKED], chunked(BODY, 7)),
        ([length(gzip.compress(BODY)), GZIP], gzip.compress(BODY)),
        ([CHUNKED, GZIP], chunked(TWO, 30)),
        ([length(BODY), "content-encoding: identity"], BODY),
    ],
)
def test_forms_of_a_body(server, headers, body):
    status, answered, content = exchange(server, PREDICT, *headers, body=body)
    assert status == 200, content
    assert answered["Content-Type"] == "application/json"
    assert exchange(server, PREDICT, length(BODY), body=BODY)[2] == content


MANY_MEMBERS = gzip.compress(b"") * 101 + gzip.compress(BODY)
MANY_TRAILERS = b"0\r\n" + b"a: b\r\n" * 101


@pytest.mark.parametrize(
    ("headers", "body", "status", "words"),
    [
        ([CHUNKED], b"zz\r\n", 400, "b'zz' is not a chunk size"),
        ([CHUNKED], b"-5\r\n", 400, "is not a chunk size"),
        ([CHUNKED], b"1" * 70_000, 400, "is not a chunk size"),
        ([CHUNKED], b"2\r\n{}}\r\n", 400, "more bytes than its size"),
        ([CHUNKED], MANY_TRAILERS, 400, "trailers"),
        (
            [CHUNKED],
            b"4100000\r\n" + bytes(65 << 20) + b"\r\n0\r\n\r\n",
            413,
            "the body is larger; at most 67108864 bytes",
        ),
        ([CHUNKED, "Content-Length: 5"], b"0\r\n\r\n", 400, "give one Content-Length"),
        (["Content-Length: 2", "Content-Length: 3"], b"{}", 400, "give one Content-Length"),
        (["Transfer-Encoding: gzip, chunked"], b"", 400, "Transfer-Encoding: chunked"),
        ([length(BODY), GZIP], BODY, 400, "Content-Encoding: gzip: "),
        (["Content-Length: 20", GZIP], gzip.compress(BODY)[:20], 400, "ends early"),
        ([length(MANY_MEMBERS), GZIP], MANY_MEMBERS, 400, "more than 100 parts"),
        (["Content-Length: 2", "Content-Encoding: br"], b"{}", 400, "br is not supported"),
    ],
    ids=range(13),
)
def test_malformed_bodies(server, headers, body, status, words):
    got, _, content = exchange(server, PREDICT, *headers, body=body)
    assert (got, words in json.loads(content)["error"]) == (status, True), content


def test_a_gzip_bomb_is_refused(server):
    """A request of 64 KB that would become 65 MB."""
    body = gzip.compress(bytes(65 << 20))
    assert len(body) < 1 << 17
    status, _, content = exchange(server, PREDICT, length(body), GZIP, body=body)
    assert (status, "decompressed body is larger" in json.loads(content)["error"]) == (413, True)


@pytest.mark.parametrize("value", [b"{}", b"1", b"null"])
def test_a_bomb_of_small_values_is_refused(server, value):
    """While the ten million of them are parsed, no other thread runs."""
    body = gzip.compress(b'{"inputs": [' + (value + b",") * 10_000_000 + b"0]}")
    assert len(body) < 1 << 17
    status, _, content = exchange(server, PREDICT, length(body), GZIP, body=body)
    assert (
        status,
        " lists, objects and commas; send at most 64 rows in one request" in json.loads(content)["error"],
    ) == (400, True)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_malformed_requests(server, method):
    """As in TensorFlow Serving: its handler knows GET and POST, its HTTP server passes these on to it."""
    status, headers, content = exchange(server, f"{method} /v1/models/fake")
    assert (status, headers["Content-Type"]) == (400, "application/json")
    expected = json.dumps({"error": f"Malformed request: {method} /v1/models/fake"}).encode()
    assert int(headers["Content-Length"]) == len(expected)
    assert content == (b"" if method == "HEAD" else expected)
    assert "Access-Control-Allow-Origin" not in headers


def test_requests_that_are_not_http_are_refused_in_json(server):
    assert exchange(server, "BREW /v1/models/fake")[0] == 501
    status, headers, content = exchange(server, "GET /v1/models/fake nonsense")
    assert (status, headers["Content-Type"], "error" in json.loads(content)) == (400, "application/json", True)


def test_a_query_is_ignored(server):
    assert exchange(server, "GET /v1/models/fake?key=1")[0] == 200


def test_labels_in_the_url(configured):
    metadata = {
        label: exchange(configured, f"GET /v1/models/fake/labels/{label}/metadata") for label in ("stable", "canary")
    }
    versions = {label: json.loads(answer[2])["model_spec"]["version"] for label, answer in metadata.items()}
    assert versions == {"stable": "1", "canary": "2"}
    status = json.loads(exchange(configured, "GET /v1/models/fake/labels/stable")[2])
    assert [each["version"] for each in status["model_version_status"]] == ["1"]
    assert exchange(configured, "POST /v1/models/fake/labels/stable:predict", length(BODY), body=BODY)[0] == 200
    got, _, content = exchange(configured, "POST /v1/models/fake/labels/beta:predict", length(BODY), body=BODY)
    assert got == 400
    assert "Unrecognized servable version label: beta; the labels of 'fake' are: canary, stable" in content.decode()


def test_names_that_need_percent_encoding(model_base_path, start_server, tmp_path):
    file = tmp_path / "models.config"
    file.write_text(
        f"""model_config_list {{ config {{ name: "50% my faces é" base_path: "{model_base_path}"
        version_labels {{ key: "a/b c" value: 2 }} }} }}""",
        encoding="utf-8",
    )
    server = start_server(None, f"--model_config_file={file}")
    path = "/v1/models/50%25%20my%20faces%20%C3%A9"
    assert server.ready.endswith(f"{path}\n")
    assert exchange(server, f"GET {path}")[0] == 200
    assert exchange(server, f"POST {path}:predict", length(BODY), body=BODY)[0] == 200
    metadata = exchange(server, f"GET {path}/labels/a%2Fb%20c/metadata")[2]
    assert json.loads(metadata)["model_spec"] == {"name": "50% my faces é", "signature_name": "", "version": "2"}
    got, _, content = exchange(server, "GET /v1/models/50%25")
    assert (got, "Latest(50%)" in json.loads(content)["error"]) == (404, True)


def test_cors_for_web_pages(configured):
    asked = exchange(
        configured, "OPTIONS /v1/models/fake:predict", "Origin: http://a", "Access-Control-Request-Method: POST"
    )
    refused = exchange(configured, "POST /v1/models/other:predict", length(BODY), body=BODY)
    for (status, headers, _), expected in ((asked, 200), (refused, 404)):
        assert (status, headers["Access-Control-Allow-Origin"]) == (expected, "*")
        assert {"GET", "POST"} <= set(headers["Access-Control-Allow-Methods"].split(", "))
        assert headers["Access-Control-Allow-Headers"] == "Content-Type, x-api-key"


class Answer:
    """A predictor that is never asked."""

    def __init__(self):
        self.metrics = Metrics(lambda: 0, lambda: 0)


@pytest.fixture
def slow(monkeypatch):
    """A server that waits 0.5 s for a request and has four connections, and its address."""
    monkeypatch.setattr(rest, "_MAX_CONNECTIONS", 4)
    server = RestServer(listen("127.0.0.1", 0, "rest_api_port"), Answer(), max_bytes=1000, seconds=0.5)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("start", "answer"),
    [(b"POST /v1/mod", b""), (b"POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n", b" 504 "), (b"", b"")],
    ids=["headers", "body", "nothing"],
)
def test_slow_senders_are_cut_off(slow, start, answer):
    """A byte every 0.1 s forever: the limit is for all of a request, not for each byte."""
    with socket.create_connection(slow.socket.getsockname(), timeout=0.1) as connection:
        connection.sendall(start)
        began, received = time.monotonic(), None
        while received is None:
            assert time.monotonic() - began < 5
            try:
                if start:
                    connection.sendall(b"x")
                received = connection.recv(100)
            except TimeoutError:
                pass
            except ConnectionError:
                received = b""
    assert time.monotonic() - began > 0.4
    assert answer in received


def test_a_client_that_is_late_and_still_sending_sees_the_answer(slow):
    """Closed at once, its connection would be reset while it sends, and it would never read."""
    with socket.create_connection(slow.socket.getsockname(), timeout=5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 0.8:  # 0.3 s after the server's answer
            connection.sendall(b"x")
            time.sleep(0.02)
        assert b" 504 " in connection.recv(100)


def test_more_connections_than_fit_are_closed_at_once_and_served_later(slow):
    address = slow.socket.getsockname()
    held = [socket.create_connection(address, timeout=5) for _ in range(4)]
    time.sleep(0.1)  # until all four are accepted
    began = time.monotonic()
    with socket.create_connection(address, timeout=5) as fifth:
        assert fifth.recv(10) == b""
    assert time.monotonic() - began < 0.4  # before the others' time is over
    for connection in held:
        connection.close()
    time.sleep(0.1)
    with socket.create_connection(address, timeout=5) as sixth:
        sixth.sendall(b"GET /v2 HTTP/1.1\r\n\r\n")
        assert b" 400 " in sixth.recv(100)


def test_a_thread_that_cannot_start_holds_no_connection(slow, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    address = slow.socket.getsockname()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(4):  # as many as fit
            with socket.create_connection(address, timeout=5) as connection:
                assert connection.recv(10) == b""
    with socket.create_connection(address, timeout=5) as later:
        later.sendall(b"GET /v2 HTTP/1.1\r\n\r\n")
        assert b" 400 " in later.recv(100)


def test_bodies_that_are_received_at_once_have_a_limit(slow, monkeypatch):
    slow.received = rest.ByteBudget(100)
    with socket.create_connection(slow.socket.getsockname(), timeout=5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 200\r\n\r\n" + bytes(200))
        assert b" 429 " in connection.recv(100)
    assert slow.received.take(100)  # all given back


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ("Content-Length: 1001", 413, "RESOURCE_EXHAUSTED"),
        ("Content-Length: 1001\r\nExpect: 100-continue", 413, "RESOURCE_EXHAUSTED"),
        ("Content-Length: 9", 504, "DEADLINE_EXCEEDED"),
    ],
)
def test_refusals_before_a_slot_are_counted(slow, headers, status, code):
    with socket.create_connection(slow.socket.getsockname(), timeout=5) as connection:
        connection.sendall(f"{PREDICT} HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR) if status == 413 else None
        assert f" {status} ".encode() in connection.recv(100)
    text = slow.predictor.metrics.text().decode()
    assert f'sg3tf_serving_requests_total{{api="rest",code="{code}"}} 1.0' in text
    seconds = float(re.search(r'request_seconds_sum{api="rest"} (\S+)', text)[1])
    assert (seconds > 0.2) == (status == 504)  # which includes the wait for the body


@pytest.mark.parametrize(
    ("soft", "hard", "connections"),
    [(256, 300, 150), (1024, resource.RLIM_INFINITY, 1024), (1024, 1500, 750), (resource.RLIM_INFINITY,) * 2 + (1024,)],
)
def test_connections_leave_half_of_the_open_files(monkeypatch, soft, hard, connections):
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.append(new))
    assert rest._max_connections() == connections
    assert limits[-1][0] <= hard or hard == resource.RLIM_INFINITY


def test_the_loop_does_not_spin_without_open_files(slow, monkeypatch):
    def refuse(_):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(socketserver.TCPServer, "get_request", refuse)
        start = time.monotonic()
        with pytest.raises(OSError, match="Too many open files"):
            slow.get_request()
    assert time.monotonic() - start >= 0.1


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("evil.example:8501", "http://evil.example:8501", 403),
        ("evil.example:8501", "null", 403),
        ("localhost.evil.example", "http://localhost.evil.example", 403),
        ("[evil", "http://evil.example", 403),
        ("127.0.0.1:8501", "http://127.0.0.1:8501", 400),
        ("[::1]:8501", "http://[::1]:8501", 400),
        ("LOCALHOST:8501", "http://localhost:8501", 400),
        ("sg3.localhost", "http://sg3.localhost", 400),
        ("images.example", "https://images.example", 400),  # behind a proxy
        ("images.example", None, 400),  # not a web page
    ],
)
def test_pages_whose_host_leads_here_are_refused(slow, host, origin, status):
    """DNS rebinding: a page of another site, whose name now has this machine's address, would see every answer."""
    headers = [f"Host: {host}", *([f"Origin: {origin}"] if origin else [])]
    address = SimpleNamespace(rest="http://{}:{}".format(*slow.socket.getsockname()))
    got, _, content = exchange(address, "POST /v2", *headers)
    assert (got, b"may not use this server under the name" in content) == (status, status == 403)


@pytest.mark.parametrize(
    ("host", "options", "refuses"),
    [("127.0.0.1", {}, True), ("0.0.0.0", {}, False), ("127.0.0.1", {"cors": True}, False)],
)
def test_pages_of_any_host_where_others_may_ask(host, options, refuses):
    server = RestServer(listen(host, 0, "rest_api_port"), Answer(), 1000, 1, **options)
    assert server.refuses_foreign_pages == refuses
    server.server_close()


@pytest.mark.parametrize("start", [b"", b"GET /v1"], ids=["nothing", "half a line"])
def test_shutdown_does_not_wait_for_silent_connections(start):
    """A browser opens connections in advance, and a request may take a minute to arrive."""
    server = RestServer(listen("127.0.0.1", 0, "rest_api_port"), Answer(), max_bytes=1000, seconds=60)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    with socket.create_connection(server.socket.getsockname(), timeout=20) as connection:
        connection.sendall(start)
        while not server.silent:
            time.sleep(0.01)
        server.shutdown()
        thread.join()
        closing = threading.Thread(target=server.server_close)
        closing.start()
        closing.join(20)
        assert not closing.is_alive()
        assert not server.silent


class Held:
    """A predictor whose requests are read and then held, as if they waited for a slot."""

    def __init__(self):
        self.read, self.end = threading.Semaphore(0), threading.Event()
        self.metrics = Metrics(lambda: 0, lambda: 0)

    def predict(self, name, version, parse, write, caller):
        parse(SimpleNamespace(check_json=lambda body: None, signature_def=lambda name: meta_graph_pb2.SignatureDef()))
        self.read.release()
        assert self.end.wait(20)
        raise invalid("the end of the test")


def test_decompressed_bodies_that_wait_have_a_limit():
    """Each request is small as it is received, and 9 MB when it waits: three of them must not be there at once."""
    held = Held()
    server = RestServer(listen("127.0.0.1", 0, "rest_api_port"), held, max_bytes=10 << 20, seconds=60)
    server.received = rest.ByteBudget(20 << 20)
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    body = gzip.compress(json.dumps({"inputs": {}, "x": "x" * (9 << 20)}).encode())
    address = SimpleNamespace(rest="http://{}:{}".format(*server.socket.getsockname()))

    def ask():
        return exchange(address, PREDICT, length(body), GZIP, body=body)

    try:
        with ThreadPoolExecutor() as pool:
            inside = [pool.submit(ask) for _ in range(2)]
            for _ in inside:
                assert held.read.acquire(timeout=20)
            last = pool.submit(ask)
            threading.Timer(5, held.end.set).start()
            status, _, content = last.result()
            held.end.set()
            assert (status, "has too many large requests" in content.decode()) == (429, True)
            assert [answer.result()[0] for answer in inside] == [400, 400]
    finally:
        held.end.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert server.received.take(20 << 20)  # all given back


# --- The explorer's page -------------------------------------------------------------------------------------------


def test_the_explorer_is_offered_with_its_policy(server):
    for path in ("/explorer", "/explorer/"):
        status, headers, content = exchange(server, f"GET {path}")
        assert (status, headers["Location"], content) == (302, "/explorer/?model=fake", b"")
    for name, kind in explorer.CONTENT_TYPES.items():
        for path in (name, f"{name}?x=1"):
            status, headers, content = exchange(server, f"GET /explorer/{path}")
            assert (status, headers["Content-Type"]) == (200, kind)
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "connect-src 'self'" in headers["Content-Security-Policy"]
            assert b"unsafe" not in headers["Content-Security-Policy"].encode()
            assert content == (explorer._FOLDER / name).read_bytes()
    status, _, content = exchange(server, "GET /explorer/?model=other")
    assert (status, content) == (200, (explorer._FOLDER / "index.html").read_bytes())


@pytest.mark.parametrize(
    "path",
    [
        "../package.json",
        "..%2fpackage.json",
        "%2e%2e/package.json",
        "..\\package.json",
        "./index.html",
        "/etc/passwd",
        "dist/index.html",
        "index.html/",
        "INDEX.HTML",
        "index.html%00",
    ],
)
def test_the_explorer_is_a_list_of_files(server, path):
    status, _, content = exchange(server, f"GET /explorer/{path}")
    assert (status, json.loads(content)["error"]) == (400, f"Malformed request: GET /explorer/{path}")


def test_the_explorer_answers_get_alone(server):
    for method in ("POST", "PUT", "DELETE"):
        assert exchange(server, f"{method} /explorer/index.html")[0] == 400
