"""The server: uvicorn in a thread of its own, within limits that no browser can stretch."""

import asyncio
import logging
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import uvicorn

from partsight.runtime.core import PageError
from partsight.runtime.page.settings import PageSettings
from partsight.runtime.page.web.connections import LimitedSocket, PromptProtocol
from partsight.runtime.sinks import SeldomLog, is_loopback, log_exposed

if TYPE_CHECKING:
    from starlette.applications import Starlette

UNSENT_MS = 10_000
"""Milliseconds for which a browser may take nothing of what the page sends to it."""


_log = logging.getLogger("partsight.page")


class Server:
    """Answers until it is closed."""

    def __init__(self, app: "Starlette", settings: PageSettings) -> None:
        """Take the port.

        Raises:
            PageError: it cannot listen there, or it would send passwords unencrypted over a network.
        """
        self._socket = _listen(settings)
        self.host, self.port = self._socket.getsockname()[:2]
        try:
            config = uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                h11_max_incomplete_event_size=16 * 1024,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=2,
                http=PromptProtocol,
                ws="none",
                lifespan="off",
                proxy_headers=False,
                ssl_certfile=settings.cert or None,
                ssl_keyfile=settings.key or None,
            )
            config.load()
        except (OSError, ssl.SSLError) as error:
            self._socket.close()
            raise PageError(f"page: certificate and key cannot be used ({error}); expected two PEM files") from error
        self._scheme = "https" if settings.cert else "http"
        self._server = uvicorn.Server(config)
        self._log_limit = SeldomLog("uvicorn")  # each malformed request would be a line
        self._thread = threading.Thread(target=self._run, name="partsight-page", daemon=True)

    @property
    def url(self) -> str:
        """Address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._scheme}://{host}:{self.port}/"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering. May be called twice."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()
        self._log_limit.close()

    def _run(self) -> None:
        try:
            # On Windows, the usual loop would not ask the socket to accept, and so know no limit.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._server.serve(sockets=[self._socket]))
        except Exception as error:  # noqa: BLE001 (a thread has no caller, and the line goes on)
            _log.error(
                "the page at %s has ended: %s; the line goes on", self.url, error, extra={"event": "page_failed"}
            )


def _listen(settings: PageSettings) -> socket.socket:
    host, port = settings.host, settings.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        is_private = is_loopback([str(address[0])])
        if not (is_private or settings.cert or settings.insecure):
            raise PageError(
                f"page: {host} is open to the network, and without HTTPS everybody there can read passwords; give "
                "cert=FILE&key=FILE, or insecure=true on a network that you trust"
            )
        listening = LimitedSocket(family, (str(address[0]), int(address[1])))
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: a browser that takes nothing loses its connection
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_MS)
    except (OSError, UnicodeError) as error:
        raise PageError(
            f"page cannot be served at {host}:{port}: {error}; another program may use the port, or the address is "
            "not this machine's: give another [HOST]:PORT"
        ) from error
    if not is_private:
        log_exposed(f"page {host}:{port}", "see the page's login, and with an account what it shows", "every host")
    return listening
