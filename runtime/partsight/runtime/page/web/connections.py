"""Connections to the page: few at a time, and none that is silent for long. The line needs the file descriptors."""

import asyncio
import os
import socket
import weakref

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 100
"""Connections at a time; the page hangs up on one more."""

HEAD_S = 10.0
"""Seconds for the head of a request, from its first byte; for the first one of a connection, from the connection."""

_MAX_REFUSED = 64  # in a row; the streams of other browsers then have their turn


class LimitedSocket(socket.socket):
    """A listening socket that hangs up on connections beyond `MAX_CONNECTIONS`, before TLS and HTTP see them."""

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        """Listen at an address.

        Raises:
            OSError: it is in use, or not this machine's.
        """
        super().__init__(family, socket.SOCK_STREAM)
        self._accepted: list[weakref.ref[socket.socket]] = []
        try:
            if os.name == "posix":  # elsewhere it would let two programs have one port
                self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.bind(address)
            self.listen()
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, object]:
        """Return the next connection for which there is room.

        Raises:
            BlockingIOError: none waits, or many were refused in a row.
        """
        for _ in range(_MAX_REFUSED):
            connection, address = super().accept()
            self._accepted = [other for other in self._accepted if _is_open(other())]
            if len(self._accepted) < MAX_CONNECTIONS:
                self._accepted.append(weakref.ref(connection))
                return connection, address
            connection.close()
        raise BlockingIOError


class PromptProtocol(H11Protocol):
    """HTTP/1.1 that ends a connection whose request does not come: uvicorn itself waits for it without end."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take data; while they are less than a head, go on to wait."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._forget_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._forget_head()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self.transport.abort)

    def _forget_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _is_open(connection: socket.socket | None) -> bool:
    return connection is not None and connection.fileno() >= 0
