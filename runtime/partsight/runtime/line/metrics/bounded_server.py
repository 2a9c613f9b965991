"""A server with a bounded number of connections, none of which keeps others out."""

import contextlib
import logging
import os
import socket
import socketserver
import threading
import time
from typing import Any

MAX_CONNECTIONS = 16
"""At a time."""

_GIVE_WAY_S = 0.2
_NO_FILES_S = 0.1

_log = logging.getLogger("partsight.line")


class BoundedServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One thread a connection, and a bounded number of them: for one more, the oldest has to give way."""

    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two programs have one port

    def __init__(self, family: int, address: Any, handler: type[socketserver.BaseRequestHandler]) -> None:
        """Listen.

        Args:
            family: of the address, such as `socket.AF_INET`.
            address: as `socket.getaddrinfo` returns it.
            handler: answers one connection.

        Raises:
            OSError: it cannot be listened at.
        """
        self.address_family = family
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._connected: dict[socket.socket, None] = {}  # oldest first
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_NO_FILES_S)  # such as of no file descriptor left: the caller asks again at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start its thread, or hang up where there are too many that do not give way."""
        if not self._slots.acquire(blocking=False):
            self._hang_up_oldest()
            if not self._slots.acquire(timeout=_GIVE_WAY_S):
                self.shutdown_request(request)
                return
        with self._lock:
            self._connected[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._forget(request)  # no thread could be started
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer it, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (of the library)
        """Leave stderr to the line's own log."""
        _log.debug("a connection ended early", exc_info=True)

    def hang_up(self, timeout_s: float) -> None:
        """End all connections and wait for their threads; for the server's end."""
        ends_at = time.monotonic() + timeout_s
        with self._lock:
            connected = list(self._connected)
        for connection in connected:
            _hang_up(connection)
        for _ in range(MAX_CONNECTIONS):
            if not self._slots.acquire(timeout=max(0.0, ends_at - time.monotonic())):
                break

    def _hang_up_oldest(self) -> None:
        with self._lock:
            oldest = next(iter(self._connected), None)
        if oldest is not None:
            _hang_up(oldest)

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            self._connected.pop(request, None)
        self._slots.release()


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended by itself
        connection.shutdown(socket.SHUT_RDWR)
