import contextlib
import http.client
import logging
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsight.runtime import CameraTimeoutError, Recognizer
from partsight.runtime.core.errors import MetricsError, PartsightError
from partsight.runtime.line import Line
from partsight.runtime.line.metrics import server as metrics_server
from partsight.runtime.line.metrics.registry import Metrics
from partsight.runtime.line.metrics.server import MAX_CONNECTIONS, MetricsServer
from partsight.runtime.sinks import parse_listen_address
from tests.runtime.line.scripted import ScriptedCamera
from tests.tiny import ONE_THREAD, solid
from tests.waiting import HANG_S, wait_until

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def line(tiny_package: Path) -> Iterator[Line]:
    """A line that runs. Shared: make another one to stop it."""
    camera = ScriptedCamera([solid("red")] * 5, ends=False)
    with Line(Recognizer(tiny_package, engine=ONE_THREAD), {"c": lambda: camera}) as line:
        wait_until(lambda: line.states()["c"] == "open")
        yield line


@pytest.fixture
def server(line: Line) -> Iterator[MetricsServer]:
    with MetricsServer(Metrics(line), HOST, 0) as server:
        yield server


def ask(
    server: MetricsServer, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, str, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=HANG_S)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer
    finally:
        connection.close()


def connect(server: MetricsServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=HANG_S)


def threads_since(before: set[threading.Thread]) -> int:
    """Return the number of threads, such as those of connections, that were started and have not ended."""
    return len(set(threading.enumerate()) - before)


def rest_of(connection: socket.socket) -> bytes:
    """Return what comes until the server hangs up."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionError:
        pass
    return received


def test_metrics_are_served(server: MetricsServer, line: Line) -> None:
    assert server.url == f"http://{HOST}:{server.port}/metrics"
    status, text, answer = ask(server, "/metrics?x=1")
    assert status == 200
    assert 'partsight_frames_total{camera="c",outcome="recognised"}' in text
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Server"] == "partsight"
    status, text, answer = ask(
        server, "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0;q=0.9"}
    )
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


def test_head_has_no_body(server: MetricsServer) -> None:
    status, text, answer = ask(server, "/metrics", "HEAD")
    assert (status, text) == (200, "")
    assert int(answer.headers["Content-Length"]) > 1000


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods(server: MetricsServer, method: str) -> None:
    assert ask(server, "/metrics", method)[0] == 405


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../../etc/passwd", "/healthz/x"])
def test_other_paths(server: MetricsServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_healthz(tiny_package: Path) -> None:
    stalls = threading.Event()
    steps = [solid("red"), lambda: stalls.wait(HANG_S), CameraTimeoutError("nothing came")]
    line = Line(Recognizer(tiny_package, engine=ONE_THREAD), {"c": lambda: ScriptedCamera(steps, ends=False)})
    with MetricsServer(Metrics(line), HOST, 0) as server:
        assert ask(server, "/healthz")[:2] == (503, "the line is not running\ncamera c is opening\n")
        with line:
            wait_until(lambda: line.states()["c"] == "open")
            assert ask(server, "/healthz")[:2] == (200, "ok\n")
            stalls.set()
            wait_until(lambda: line.states()["c"] == "stalled")
            assert ask(server, "/healthz")[:2] == (503, "camera c is stalled\n")
            line.stop()
            assert line.wait(HANG_S)
            assert ask(server, "/healthz")[:2] == (503, "the line is not running\n")


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain;version=abc",
        "application/openmetrics-text;version=9.x",
        "\xff;;,=,",
        "text/plain;version=" + "9" * 5000,
    ],
)
def test_headers_that_make_no_sense(server: MetricsServer, accept: str) -> None:
    status, text, answer = ask(server, "/metrics", headers={"Accept": accept})
    assert status == 200
    assert "partsight_frames_total" in text
    assert "9" not in answer.headers["Content-Type"].replace("0.0.4", "")


def test_no_header_of_the_readers_own_is_answered(server: MetricsServer) -> None:
    with connect(server) as connection:
        head = b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=2.0\r\n X-Evil: 1\r\n\r\n"
        connection.sendall(head)
        assert b"Evil" not in rest_of(connection)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\n" + b"X: a\r\n" * 2000 + b"\r\n", 431),
        (b"GET /metrics HTTP/1.1\r\n" + b"X: a\r\n" * 110 + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /metrics HTTP/9.9\r\n\r\n", 505),
        (b"GET\r\n\r\n", 400),
        (b"TEAPOT /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics\r\n\r\n", 200),
    ],
)
def test_requests_that_are_none(
    server: MetricsServer, request_line: bytes, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with connect(server) as connection:
        with contextlib.suppress(ConnectionError):  # it may hang up on us midway
            connection.sendall(request_line)
        answer = rest_of(connection)
    # What it did not read when it hung up may push its answer out of our hands: TCP works so.
    assert answer.startswith(b"HTTP/1.0 %d " % status) or (answer == b"" and status == 431)
    assert ask(server, "/healthz")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_silent_and_slow_clients_are_hung_up_on(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not give more time."""

    def is_hung_up_on() -> bool:
        try:
            slow.sendall(b"G")
        except ConnectionError:
            return True
        return False

    with monkeypatch.context() as patch:
        patch.setattr(metrics_server, "READ_S", 0.3)
        with connect(server) as silent, connect(server) as slow:
            wait_until(is_hung_up_on)
            assert rest_of(silent) == rest_of(slow) == b""
    assert ask(server, "/healthz")[0] == 200


def test_a_client_that_does_not_read_is_hung_up_on(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "WRITE_S", 0.2)
    asked: list[str] = []
    page = b"x" * 50_000_000, "text/plain"
    monkeypatch.setattr(Metrics, "render", lambda *_, **__: (asked.append("page"), page)[1])
    before = set(threading.enumerate())
    with connect(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        wait_until(lambda: bool(asked) and threads_since(before) == 0)
        assert len(rest_of(connection)) < 50_000_000


def test_a_hundred_connections_do_not_shut_anyone_out(server: MetricsServer) -> None:
    """For each one more, the server hangs up on the oldest."""
    before = set(threading.enumerate())
    silent = [connect(server) for _ in range(100)]
    assert [rest_of(connection) for connection in silent[:-MAX_CONNECTIONS]] == [b""] * (100 - MAX_CONNECTIONS)
    for _ in range(5):
        assert ask(server, "/metrics")[0] == 200
        wait_until(lambda: threads_since(before) <= MAX_CONNECTIONS)
    for connection in silent:
        connection.close()
    wait_until(lambda: threads_since(before) == 0)
    assert ask(server, "/metrics")[0] == 200


def test_metrics_that_cannot_be_made(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down(*_: object, **__: object) -> tuple[bytes, str]:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Metrics, "render", break_down)
    status, text, _ = ask(server, "/metrics")
    assert status == 500
    assert "a mistake" not in text
    (record,) = caplog.records
    assert record.event == "metrics_failed"  # type: ignore[attr-defined]
    assert "a mistake of ours" in record.getMessage()
    assert ask(server, "/healthz")[0] == 200


def test_closing_does_not_wait_for_anyone(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics_server, "READ_S", 3600.0)
    with caplog.at_level(logging.INFO):
        server = MetricsServer(Metrics(line), HOST, 0)
        server.start()
        before = set(threading.enumerate())
        with connect(server) as silent, connect(server) as partial:
            partial.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
            wait_until(lambda: threads_since(before) == 2)
            server.close()
            assert rest_of(silent) == rest_of(partial) == b""
        server.close()
    wait_until(lambda: threads_since(before) == 0)
    assert [thread.name for thread in threading.enumerate() if "metrics" in thread.name] == []
    with pytest.raises(ConnectionError):
        connect(server)
    assert caplog.text == ""


def test_one_that_was_never_started_lets_go_of_its_port(line: Line) -> None:
    server = MetricsServer(Metrics(line), HOST, 0)
    server.close()
    with MetricsServer(Metrics(line), HOST, server.port) as again:
        assert ask(again, "/healthz")[0] == 200


@pytest.mark.parametrize(("host", "events"), [("127.0.0.1", []), ("0.0.0.0", ["server_exposed"])])
def test_a_server_that_others_can_reach_is_logged(
    line: Line, caplog: pytest.LogCaptureFixture, host: str, events: list[str]
) -> None:
    MetricsServer(Metrics(line), host, 0).close()
    assert [record.event for record in caplog.records] == events  # type: ignore[attr-defined]


def test_a_port_that_is_taken(server: MetricsServer, line: Line) -> None:
    with pytest.raises(MetricsError, match=f"127.0.0.1:{server.port}"):
        MetricsServer(Metrics(line), HOST, server.port)
    assert ask(server, "/metrics")[0] == 200
    assert issubclass(MetricsError, PartsightError)


@pytest.mark.parametrize(("host", "port"), [("203.0.113.7", 9100), ("no such host.invalid", 9100)])
def test_places_that_cannot_be_listened_at(line: Line, host: str, port: int) -> None:
    with pytest.raises(MetricsError, match=f"{host}:{port}"):
        MetricsServer(Metrics(line), host, port)


@pytest.mark.parametrize("port", [-1, 70_000])
def test_ports_that_are_none(line: Line, port: int) -> None:
    with pytest.raises(ValueError, match=str(port)):
        MetricsServer(Metrics(line), HOST, port)


def test_ipv6(line: Line) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    try:
        server = MetricsServer(Metrics(line), "::1", 0)
    except MetricsError:
        pytest.skip("this machine has no ::1")
    with server:
        assert server.url == f"http://[::1]:{server.port}/metrics"
        assert ask(server, "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
        ("line3.factory:0", ("line3.factory", 0)),
        ("[::1]:9100", ("::1", 9100)),
        ("[::]:65535", ("::", 65535)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "9100", ":", "::1:9100", ":65536", ":-1", ":9 100", "http://h:9100", "h:٣", "[:9100", "a b:1"]
)
def test_texts_that_are_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        parse_listen_address(text)


def test_the_old_place_of_a_function() -> None:
    with pytest.warns(DeprecationWarning, match=r"sinks\.parse_listen_address"):
        from partsight.runtime.line.metrics.server import parse_listen_address as old
    assert old is parse_listen_address
