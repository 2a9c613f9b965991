"""The metrics server: `/metrics` and `/healthz` over HTTP, within limits that no client can stretch."""

import contextlib
import io
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from partsight.runtime.core import MetricsError, ProcessBound, warn_renamed
from partsight.runtime.line.metrics.registry import OPENMETRICS, Metrics
from partsight.runtime.sinks import is_loopback, log_exposed
from partsight.runtime.sinks import parse_listen_address as _parse_listen_address

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

MAX_CONNECTIONS = 16
"""Connections at a time; for one more, the server hangs up on the oldest."""

READ_S, WRITE_S = 5.0, 5.0
"""Longest time for a whole request, and for a whole answer."""

MAX_HEAD_BYTES = 16 * 1024
"""Largest request: its first line and headers together."""

_TEXT = "text/plain; charset=utf-8"
_POLL_S = 0.1
_NO_FILES_S = 0.1

_log = logging.getLogger("partsight.line")


class MetricsServer(ProcessBound):
    """Serves metrics until it is closed. Use it as a context manager.

    Example:
        >>> with MetricsServer(Metrics(line), "127.0.0.1", 9100):
        ...     line.wait()
    """

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """Take the port; `start` begins to answer.

        Args:
            metrics: Metrics to serve.
            host: Name or address to listen at.
            port: Port to listen at; 0 for any free one.

        Raises:
            MetricsError: it cannot listen there.
            ValueError: the port is not 0 to 65535.
        """
        if not 0 <= port <= 65535:  # the library would take it for another
            raise ValueError(f"port is {port}; expected 0 to 65535")
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            self._server = _Server(family, address, _App(metrics))
        except (OSError, UnicodeError) as error:
            raise MetricsError(
                f"metrics cannot be served at {_joined(host, port)}: {error}; another program may use the port, or the "
                "address is not this machine's: give another HOST:PORT"
            ) from error
        self._is_closed = False
        self.host, self.port = str(self._server.server_address[0]), int(self._server.server_address[1])
        if not is_loopback([self.host]):
            can = "read counters, package ids, names of cameras and addresses of sinks"
            log_exposed(self.url, can, "every host that can reach this machine")
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="partsight-metrics", daemon=True
        )

    @property
    def url(self) -> str:
        """URL of the metrics."""
        return f"http://{_joined(self.host, self.port)}/metrics"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and hang up on all connections. May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.hang_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _App:
    """Answers a request, as WSGI has it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        status, content_type, body = self._answer(environ)
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Server", "partsight")]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: "WSGIEnvironment") -> tuple[str, str, bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", _TEXT, b"405: expected GET or HEAD\n"
        if environ["PATH_INFO"] == "/healthz":
            troubles = self._metrics.troubles()
            text = "".join(f"{trouble}\n" for trouble in troubles or ["ok"]).encode()
            return "503 Service Unavailable" if troubles else "200 OK", _TEXT, text
        if environ["PATH_INFO"] != "/metrics":
            return "404 Not Found", _TEXT, b"404: expected /metrics or /healthz\n"
        try:
            # Not prometheus-client's own WSGI app: it fails at some malformed `Accept` headers and repeats parts of it.
            text, content_type = self._metrics.render(openmetrics=OPENMETRICS in environ.get("HTTP_ACCEPT", ""))
        except Exception as error:  # noqa: BLE001 (the reader gets an answer in any case, and the line goes on)
            _log.error("the metrics cannot be made: %s", error, extra={"event": "metrics_failed"})
            return "500 Internal Server Error", _TEXT, b"500: the metrics cannot be made; the line's log says why\n"
        return "200 OK", content_type, text


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """One thread a connection, and a bounded number of them."""

    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two programs have one port

    def __init__(self, family: int, address: Any, app: "WSGIApplication") -> None:
        self.address_family = family
        self._connections: dict[socket.socket, None] = {}  # oldest first
        self._lock = threading.Lock()
        super().__init__(address, _Handler)
        self.set_app(app)

    def server_bind(self) -> None:
        """Bind without a look at DNS, which may take seconds on a line."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "partsight", int(self.server_address[1])
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_NO_FILES_S)  # no file descriptor is left, for example: the caller asks again at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the connection's thread; hang up on the oldest connection if there are too many."""
        with self._lock:
            oldest = next(iter(self._connections)) if len(self._connections) >= MAX_CONNECTIONS else None
            if oldest is not None:
                _hang_up(oldest)
                del self._connections[oldest]
            self._connections[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget and close a connection."""
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Hang up on all connections; their threads end at once."""
        with self._lock:
            for connection in self._connections:
                _hang_up(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (of the library)
        """Leave stderr to the line's own log."""
        _log.debug("a connection to the metrics ended early", exc_info=True)


class _Handler(WSGIRequestHandler):
    """Answers one request, then hangs up."""

    default_request_version = "HTTP/1.0"
    error_content_type = _TEXT
    error_message_format = "%(code)d: %(message)s\n"

    def handle(self) -> None:
        """Read the whole head first, within its limits of time and size."""
        head = _read_head(self.connection)
        if not head:
            return
        self.connection.settimeout(WRITE_S)  # for the answer as a whole, see `socket.sendall`
        if len(head) > MAX_HEAD_BYTES:
            self.requestline, self.command, self.request_version = "", "", self.default_request_version
            self.send_error(431, f"expected a request of at most {MAX_HEAD_BYTES} bytes")
            return
        self.rfile.close()
        self.rfile = io.BytesIO(head)
        super().handle()

    def get_stderr(self) -> Any:
        """Leave stderr to the line's own log."""
        return io.StringIO()

    def version_string(self) -> str:
        """Name partsight, and not the version of Python."""
        return "partsight"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (of the library)
        """Leave stderr to the line's own log."""
        _log.debug("metrics: " + format, *args)


def _read_head(connection: socket.socket) -> bytes:
    """Return all bytes up to the first empty line, or more than allowed; none from a client that is too slow."""
    ends_at, head = time.monotonic() + READ_S, b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) <= MAX_HEAD_BYTES:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            return b""
        connection.settimeout(left_s)
        try:
            received = connection.recv(4096)
        except OSError:
            return b""
        if not received:
            return b""
        head += received
    return head


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended by itself
        connection.shutdown(socket.SHUT_RDWR)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def __getattr__(name: str) -> Any:
    """Return a function at its old place, with a warning."""
    if name == "parse_listen_address":
        warn_renamed("line.metrics.server.parse_listen_address", "sinks.parse_listen_address")
        return _parse_listen_address
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
