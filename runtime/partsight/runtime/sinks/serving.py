"""Common parts of the servers: a thread with an event loop, the addresses to listen at, and the log."""

import asyncio
import concurrent.futures
import ipaddress
import logging
import re
import socket
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from partsight.runtime.core import SinkError

ResultT = TypeVar("ResultT")

CALL_S = 10.0
"""Seconds that a call into the loop may take; a server in the same process answers in milliseconds."""

_SELDOM_S = 60.0

_LISTEN = re.compile(r"(?P<host>\[[^][]+\]|[^][:/@\s]*):(?P<port>[0-9]{1,5})")

_log = logging.getLogger("partsight.sinks")


def parse_listen_address(text: str) -> tuple[str, int]:
    """Return the host and the port of `host:port`; of `:port`, this machine alone.

    Args:
        text: Address such as `:9100`, `0.0.0.0:9100` for all IPv4 addresses of this machine, or `[::1]:9100`.

    Raises:
        ValueError: the text is no such address.
    """
    found = _LISTEN.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(f"received {text!r}; expected HOST:PORT, such as :9100, 0.0.0.0:9100 or [::1]:9100")
    return found["host"].strip("[]") or "127.0.0.1", int(found["port"])


def joined(scheme: str, host: str, port: int) -> str:
    """Return the address of a server, for messages."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def resolve(where: str, host: str, port: int) -> list[str]:
    """Return the addresses to listen at.

    Args:
        where: Address of the server, for messages.
        host: Name or address of this machine.
        port: Port of the server.

    Raises:
        SinkError: the host has no address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SinkError(f"{where}: {host} is no address of this machine ({error}); name one that it has") from error
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


def is_loopback(addresses: list[str]) -> bool:
    """Return whether only this machine can connect to all of the addresses."""
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)


def describe_peers(allow: str) -> str:
    """Return in words which hosts may connect.

    Args:
        allow: Addresses and networks that may connect, separated by commas; empty if every host may.
    """
    return f"each host with an address in {allow}" if allow else "every host that can reach this machine (see allow=)"


def log_exposed(where: str, can: str, who: str) -> None:
    """Warn of a server that other machines can reach.

    Args:
        where: Address of the server.
        can: Actions that a peer is able to take there, such as "read the results".
        who: The peers, in words.
    """
    extra = {"event": "server_exposed", "sink": where}
    _log.warning("%s is open to the network: %s can %s", where, who, can, extra=extra)


class SeldomLog(logging.Filter):
    """Passes each warning of a library once a minute, so that no peer can fill the disk with warnings."""

    def __init__(self, prefix: str) -> None:
        """Attach the filter to all loggers that a library has now, until `close`."""
        super().__init__()
        self._passed: dict[tuple[str, int], float] = {}  # time of the last record of a line of code
        names = [name for name in logging.root.manager.loggerDict if name == prefix or name.startswith(f"{prefix}.")]
        self._loggers = [logging.getLogger(name) for name in names]
        for logger in self._loggers:
            logger.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record passes."""
        now, line = time.monotonic(), (record.name, record.lineno)
        if record.levelno < logging.WARNING:
            return True
        if now - self._passed.get(line, -_SELDOM_S) < _SELDOM_S:
            return False
        self._passed[line] = now
        return True

    def close(self) -> None:
        """Detach the filter."""
        for logger in self._loggers:
            logger.removeFilter(self)


class LoopThread:
    """Runs coroutines for other threads."""

    def __init__(self, name: str) -> None:
        """Start the loop; `name` is the name of the thread, also in messages."""
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"partsight-{name}", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, ResultT], timeout_s: float = CALL_S) -> ResultT:
        """Run a coroutine in the loop and return what it returns.

        Raises:
            SinkError: the loop has ended, or the coroutine takes longer than `timeout_s`. The coroutine's own
                exceptions pass.
        """
        try:
            self.check()
        except SinkError:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError as error:
            if future.cancel():
                raise SinkError(
                    f"{self._name}: its server did not answer for {timeout_s:g} s; open the sink again"
                ) from error
            raise

    def check(self) -> None:
        """Check that the loop runs.

        Raises:
            SinkError: it has ended.
        """
        if not self._thread.is_alive():
            raise SinkError(f"{self._name}: its server has ended; open the sink again")

    def close(self) -> None:
        """End the loop and its tasks. May be called twice."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self.run(_cancel_others())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CALL_S)
        if not self._thread.is_alive():
            self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
