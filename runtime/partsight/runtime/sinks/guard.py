"""A guard before a server: who may connect, how many at a time, and how much work each host may ask for."""

import asyncio
import contextlib
import ipaddress
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

MAX_CONNECTIONS, MAX_A_HOST = 16, 8
"""At a time. One more is refused; but a host that has none takes the place of one of several of another."""

SHARE, BURST_S = 0.1, 0.5
"""Seconds of one core's work a second that a host may ask for, all of its connections together; and at once."""

FIRST_S = 10.0
"""Until the first whole request."""

_MAX_HOSTS = 1024
_MAX_WAITING_BYTES = 2**16  # of requests
_MAX_UNSENT_BYTES = 2**20  # of answers
_HEAD_BYTES = 16
_TELL_S = 60.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_log = logging.getLogger("partsight.sinks")


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of `10.0.0.5,10.0.0.0/24`; none of an empty text.

    Raises:
        ValueError: it is no such list.
    """
    try:
        return tuple(ipaddress.ip_network(part) for part in text.split(",") if text)
    except ValueError as error:
        raise ValueError(
            f"allow: {error}; expected addresses and networks, separated by commas, such as 10.0.0.5,10.0.1.0/24"
        ) from error


@dataclass
class _Host:
    """What a host has open, and how many seconds of work it may ask for now (less than none: it has to wait)."""

    at: float
    open: int = 0
    left_s: float = BURST_S


class Guard:
    """Of one server. All but `refused` belongs to the thread of its loop."""

    def __init__(
        self,
        where: str,
        frame_size: Callable[[bytes], int],
        make: Callable[["Connection"], Any],
        allow: tuple[Network, ...],
        idle_s: float,
    ) -> None:
        """Take the rules.

        Args:
            where: the server's address, for messages.
            frame_size: given the first bytes of a request, returns how many it has, or 0 where it takes more of them
                to know; raises ValueError for what is no request.
            make: makes the server's own protocol for a connection. It is handed one request at a time, and calls
                `Connection.answered` after each.
            allow: networks that may connect; all where none is named.
            idle_s: without a whole request, a connection ends after so many seconds.
        """
        self.where, self.frame_size, self.make, self.idle_s = where, frame_size, make, idle_s
        self.refused = 0
        self._allow = allow
        self._connections: set[Connection] = set()
        self._hosts: dict[str, _Host] = {}
        self._told: dict[str, float] = {}  # when an event was told last
        self._refused_told = 0

    def connection(self) -> "Connection":
        """Return the protocol of a new connection, as for `loop.create_server`."""
        return Connection(self)

    def close(self) -> None:
        """End all connections."""
        for connection in list(self._connections):
            connection.end()
        if self.refused > self._refused_told:
            extra = {"event": "connection_refused", "sink": self.where, "refused": self.refused}
            _log.warning("%s: refused %d times in all", self.where, self.refused, extra=extra)
            self._refused_told = self.refused

    def admit(self, connection: "Connection") -> str:
        """Take a connection in; else return why not."""
        host = connection.host
        if not self._is_allowed(host):
            return "it is not in allow="
        known = self._host(host)
        if known.open >= MAX_A_HOST:
            return f"{MAX_A_HOST} of its connections are open"
        if len(self._connections) >= MAX_CONNECTIONS and not (known.open == 0 and self._make_room()):
            return f"{MAX_CONNECTIONS} connections are open"
        known.open += 1
        self._connections.add(connection)
        return ""

    def _make_room(self) -> bool:
        """End the connection that was silent longest of the host that has most, unless each has one alone."""
        most = max(host.open for host in self._hosts.values())
        if most < 2:
            return False
        crowd = [connection for connection in self._connections if self._hosts[connection.host].open == most]
        oldest = min(crowd, key=lambda connection: connection.seen)
        oldest.refuse("another host has none")
        self.forget(oldest)
        return True

    def forget(self, connection: "Connection") -> None:
        """Let go of a connection that has ended."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._host(connection.host).open -= 1

    def refuse(self, host: str, why: str) -> None:
        """Count something that was refused to a host, and say so once a minute."""
        self.refused += 1
        if self._tell("connection_refused", "%s: refuses %s: %s (%d refused so far)", host, why, self.refused):
            self._refused_told = self.refused

    def charge(self, host: str, work_s: float) -> None:
        """Take work from what a host may ask for."""
        self._host(host).left_s -= work_s

    def wait_s(self, host: str) -> float:
        """Return how long a host has to wait before its next request is worked on."""
        wait_s = max(0.0, -self._host(host).left_s / SHARE)
        if wait_s > 0:
            self._tell("connection_slowed", "%s: slows %s down, which asks for more than its share", host)
        return wait_s

    def _is_allowed(self, host: str) -> bool:
        if not self._allow:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._allow)

    def _host(self, name: str) -> _Host:
        now = time.monotonic()
        if name not in self._hosts and len(self._hosts) >= _MAX_HOSTS:
            self._hosts = {other: host for other, host in self._hosts.items() if host.open}
        host = self._hosts.setdefault(name, _Host(now))
        host.left_s = min(BURST_S, host.left_s + (now - host.at) * SHARE)
        host.at = now
        return host

    def _tell(self, event: str, text: str, host: str, *details: object) -> bool:
        now = time.monotonic()
        if now - self._told.get(event, -_TELL_S) < _TELL_S:
            return False
        self._told[event] = now
        extra = {"event": event, "sink": self.where, "address": host, "refused": self.refused}
        _log.warning(text, self.where, host, *details, extra=extra)
        return True


class Connection(asyncio.Protocol):
    """One connection, between its transport and the server's own protocol, which hears of it with its first request."""

    def __init__(self, guard: Guard) -> None:
        """Take the guard; the transport comes later."""
        self.host = ""
        self._guard = guard
        self._transport: asyncio.Transport | None = None
        self._inner: Any = None
        self._received = bytearray()
        self._is_busy = self._is_waiting = self._is_full = False
        self.seen = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._turn: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or end it."""
        self._transport, self.host = cast(asyncio.Transport, transport), _host_of(transport)
        if why := self._guard.admit(self):
            self.refuse(why)
            return
        self._transport.set_write_buffer_limits(high=_MAX_UNSENT_BYTES)
        self.seen = asyncio.get_running_loop().time()
        self._end_if_idle()

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of everything."""
        self._transport = None
        for timer in (self._idle, self._turn):
            if timer is not None:
                timer.cancel()
        self._guard.forget(self)
        if self._inner is not None:
            self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Take bytes; read on when there is room."""
        self._received += data
        self._go_on()

    def pause_writing(self) -> None:
        """Work on nothing more for a peer that takes no answers."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_full = False
        self._go_on()

    def answered(self, work_s: float) -> None:
        """Hear that a request was answered, and how long the work took; the next may come after other connections'."""
        self._guard.charge(self.host, work_s)
        self._is_busy = False
        asyncio.get_running_loop().call_soon(self._go_on)

    def accuse(self, why: str, work_s: float) -> None:
        """Count something that is refused, say why, and let the host wait for it as if it had been work."""
        self._guard.refuse(self.host, why)
        self._guard.charge(self.host, work_s)

    def refuse(self, why: str) -> None:
        """End the connection, count it, and say why."""
        self._guard.refuse(self.host, why)
        self.end()

    def end(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def _go_on(self) -> None:
        """Hand on the next request, if it is whole and the host's turn."""
        if self._transport is None or self._transport.is_closing():
            return
        if not (self._is_busy or self._is_waiting or self._is_full):
            try:
                size = self._guard.frame_size(bytes(self._received[:_HEAD_BYTES]))
            except ValueError as error:
                self.refuse(f"it sends {error}")
                return
            if 0 < size <= len(self._received):
                self._work_or_wait(size)
        self._settle()

    def _work_or_wait(self, size: int) -> None:
        loop = asyncio.get_running_loop()
        wait_s = self._guard.wait_s(self.host)
        if wait_s > 0:
            self._is_waiting = True
            self._turn = loop.call_later(wait_s, self._wake)
            return
        frame = bytes(self._received[:size])
        del self._received[:size]
        self.seen, self._is_busy = loop.time(), True
        try:
            if self._inner is None:
                inner = self._guard.make(self)
                inner.connection_made(self._transport)
                self._inner = inner
            self._inner.data_received(frame)
        except Exception as error:  # noqa: BLE001 (what a peer sends may end its own connection, and nothing else)
            self.refuse(f"its request cannot be read ({error!r})")

    def _wake(self) -> None:
        self._is_waiting = False
        self._go_on()

    def _settle(self) -> None:
        """Read no more than can be worked on soon: what a peer sends stays with it."""
        if self._transport is None:
            return
        with contextlib.suppress(RuntimeError):  # it is closing
            if len(self._received) > _MAX_WAITING_BYTES:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _end_if_idle(self) -> None:
        loop = asyncio.get_running_loop()
        limit_s = self._guard.idle_s if self._inner is not None else min(FIRST_S, self._guard.idle_s)
        left_s = self.seen + limit_s - loop.time()
        if left_s <= 0:
            self.end()
        else:
            self._idle = loop.call_later(left_s, self._end_if_idle)


def _host_of(transport: asyncio.BaseTransport) -> str:
    """Return the address of the other end as text; of an IPv4 address written as IPv6, the former."""
    peer = transport.get_extra_info("peername")
    name = str(peer[0]).partition("%")[0] if peer else "nobody"
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    return str(getattr(address, "ipv4_mapped", None) or address)
