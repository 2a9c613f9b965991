"""The metrics server: `/metrics` and `/healthz` over HTTP, for readers of which some are hostile."""

import http.server
import io
import logging
import math
import re
import socket
import threading
import time
from typing import Any, Self

from partsight.runtime.core import MetricsError, ProcessBound
from partsight.runtime.line.metrics.bounded_server import BoundedServer
from partsight.runtime.line.metrics.registry import OPENMETRICS, Metrics
from partsight.runtime.sinks import is_loopback, tell_exposed

READ_S, WRITE_S = 5.0, 5.0
"""How long a whole request, and a whole answer, may take."""

MAX_HEAD_BYTES = 16 * 1024
"""Of a request's first line and headers together."""

_FRESH_S = 0.2  # for which a page is given again: however many ask, making pages takes a percent of a core
_CLOSE_S = 1.0
_POLL_S = 0.1

_LISTEN = re.compile(r"(?P<host>\[[^][]+\]|[^][:/@\s]*):(?P<port>[0-9]{1,5})")

_log = logging.getLogger("partsight.line")


def parse_listen_address(text: str) -> tuple[str, int]:
    """Return the host and the port of `host:port`; of `:port`, this machine alone.

    Args:
        text: such as `:9100`, `0.0.0.0:9100` for all of this machine's IPv4 addresses, or `[::1]:9100`.

    Raises:
        ValueError: it is no such text.
    """
    found = _LISTEN.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(f"received {text!r}; expected HOST:PORT, such as :9100, 0.0.0.0:9100 or [::1]:9100")
    return found["host"].strip("[]") or "127.0.0.1", int(found["port"])


class MetricsServer(ProcessBound):
    """Serves metrics until it is closed. Use it as a context manager.

    Example:
        >>> with MetricsServer(Metrics(line), "127.0.0.1", 9100):
        ...     line.wait()
    """

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """Take the port; `start` begins to answer.

        Args:
            metrics: to serve.
            host: name or address to listen at.
            port: 0 for any that is free.

        Raises:
            MetricsError: it cannot be listened at.
            ValueError: the port is not 0 to 65535.
        """
        if not 0 <= port <= 65535:  # the library would take it for another
            raise ValueError(f"port is {port}; expected 0 to 65535")
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            self._server = _Server(metrics, family, address)
        except (OSError, UnicodeError) as error:
            raise MetricsError(
                f"metrics cannot be served at {_joined(host, port)}: {error}; another program may use the port, or the "
                "address is not this machine's: give another HOST:PORT"
            ) from error
        self._is_closed = False
        self.host, self.port = str(self._server.server_address[0]), int(self._server.server_address[1])
        if not is_loopback([self.host]):
            what = "read counters, package ids, names of cameras and addresses of sinks"
            tell_exposed(self.url, what, "whoever can reach this machine")
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="partsight-metrics", daemon=True
        )

    @property
    def url(self) -> str:
        """Where the metrics are."""
        return f"http://{_joined(self.host, self.port)}/metrics"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Answer no more and hang up on those who are connected. May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.hang_up(_CLOSE_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(BoundedServer):
    """Makes pages, for many readers at a time."""

    def __init__(self, metrics: Metrics, family: int, address: Any) -> None:
        self.metrics = metrics
        self._pages: dict[bool, tuple[float, bytes, str]] = {}  # when each was made
        self._page_lock = threading.Lock()
        super().__init__(family, address, _Handler)

    def page(self, *, openmetrics: bool) -> tuple[bytes, str]:
        """Return the metrics as text, and its content type."""
        with self._page_lock:
            made, text, content_type = self._pages.get(openmetrics, (-math.inf, b"", ""))
            if time.monotonic() - made > _FRESH_S:
                text, content_type = self.metrics.render(openmetrics=openmetrics)
                self._pages[openmetrics] = time.monotonic(), text, content_type
            return text, content_type


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request, then hangs up."""

    server: _Server
    default_request_version = "HTTP/1.0"
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d: %(message)s\n"

    def handle(self) -> None:
        """Read the whole head first, within a time and a size that no line of it can stretch."""
        head = _read_head(self.connection)
        if not head:
            return
        self.connection.settimeout(WRITE_S)  # of the answer as a whole, see `socket.sendall`
        if len(head) > MAX_HEAD_BYTES:
            self.requestline, self.command, self.request_version = "", "", self.default_request_version
            self.send_error(431, f"expected a request of at most {MAX_HEAD_BYTES} bytes")
            return
        self.rfile.close()
        self.rfile = io.BytesIO(head)
        self.handle_one_request()

    def do_GET(self) -> None:
        """Answer with metrics, or with the line's health."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._send_metrics()
        elif path == "/healthz":
            troubles = self.server.metrics.troubles()
            text = "".join(f"{trouble}\n" for trouble in troubles or ["ok"]).encode()
            self._send(503 if troubles else 200, self.error_content_type, text)
        else:
            self.send_error(404, "expected /metrics or /healthz")

    do_HEAD = do_GET  # noqa: N815 (of the library)

    def _send_metrics(self) -> None:
        try:
            text, content_type = self.server.page(openmetrics=OPENMETRICS in self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001 (whatever it is, the reader is told, and the line goes on)
            _log.error("metrics cannot be made: %s", error, extra={"event": "metrics_failed"})
            self.send_error(500, "the metrics cannot be made; the log of the line says why")
            return
        self._send(200, content_type, text)

    def _send(self, code: int, content_type: str, text: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _refuse(self) -> None:
        self.send_error(405, "expected GET or HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse  # noqa: N815

    def version_string(self) -> str:
        """Return what the header says of the server: not which Python it runs on."""
        return "partsight"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (of the library)
        """Leave stderr to the line's own log."""
        _log.debug("metrics: " + format, *args)


def _read_head(connection: socket.socket) -> bytes:
    """Return what comes up to the first empty line, or more than is allowed; nothing of a client that is too slow."""
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


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
