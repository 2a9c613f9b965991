"""The hosts that may connect to a server, and the log of those that may not."""

import asyncio
import ipaddress
import logging
import math
import time

MAX_CONNECTIONS = 16
"""Connections that a server keeps open at a time; it refuses any further one."""

_LOG_S = 60.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_log = logging.getLogger("partsight.sinks")


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of `10.0.0.5,10.0.0.0/24`; an empty tuple for an empty text.

    Raises:
        ValueError: a part of the text is neither an address nor a network.
    """
    try:
        return tuple(ipaddress.ip_network(part) for part in text.split(",") if text)
    except ValueError as error:
        raise ValueError(
            f"allow: {error}; expected addresses and networks, separated by commas, such as 10.0.0.5,10.0.1.0/24"
        ) from error


class AllowList:
    """Decides which hosts may connect to one server. Used by one thread."""

    def __init__(self, where: str, allow: str) -> None:
        """Read the option `allow`.

        Args:
            where: Address of the server, for the log.
            allow: Addresses and networks, separated by commas; empty if every host may connect.

        Raises:
            ValueError: see `parse_networks`.
        """
        self._where, self._networks = where, parse_networks(allow)
        self._refused = 0
        self._logged_s = -math.inf

    def admits(self, host: str) -> bool:
        """Return whether a host may connect; if not, count and log it.

        Args:
            host: IP address of the host, from `host_of`.
        """
        if not self._networks or self._is_listed(host):
            return True
        self.refuse(host, "it is not in allow=")
        return False

    def refuse(self, host: str, reason: str) -> None:
        """Count a connection that the server refuses or ends, and log it once a minute."""
        self._refused += 1
        now = time.monotonic()
        if now - self._logged_s >= _LOG_S:
            self._logged_s = now
            extra = {"event": "connection_refused", "sink": self._where, "address": host, "refused": self._refused}
            _log.warning("%s refuses %s: %s (%d refused so far)", self._where, host, reason, self._refused, extra=extra)

    def _is_listed(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:  # the peer has gone already
            return False
        return any(address in network for network in self._networks)


def host_of(transport: asyncio.BaseTransport) -> str:
    """Return the IP address of a peer; `unknown` if it has gone. An IPv4 address in IPv6 form becomes IPv4."""
    peer = transport.get_extra_info("peername")
    if not peer:
        return "unknown"
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)
