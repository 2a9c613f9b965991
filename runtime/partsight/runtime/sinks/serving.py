"""What servers have in common: a thread with an event loop, where they listen, and what they tell the log."""

import asyncio
import concurrent.futures
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from partsight.runtime.core import SinkError

ResultT = TypeVar("ResultT")

CALL_S = 10.0
"""Seconds that a call into the loop may take; servers of a process answer in milliseconds."""

_SELDOM_S = 60.0

_log = logging.getLogger("partsight.sinks")


def joined(scheme: str, host: str, port: int) -> str:
    """Return the address of a server, for messages."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def resolve(where: str, host: str, port: int) -> list[str]:
    """Return the addresses to listen at.

    Args:
        where: the server's address, for messages.
        host: a name or an address of this machine.
        port: of the server.

    Raises:
        SinkError: nothing is called so.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SinkError(f"{where}: {host} is no address of this machine ({error})") from error
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


def is_loopback(addresses: list[str]) -> bool:
    """Return whether nobody but this machine can connect there."""
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in addresses)


def peers(allow: str) -> str:
    """Return in words who may connect, given the addresses and networks that may; empty for all."""
    return f"whoever has an address in {allow}" if allow else "whoever can reach this machine (allow= bounds that)"


def tell_exposed(where: str, what: str, whom: str) -> None:
    """Warn of a server that others than this machine can reach.

    Args:
        where: its address.
        what: a peer may do there.
        whom: the peers, in words.
    """
    extra = {"event": "server_exposed", "sink": where}
    _log.warning("%s is open to the network: %s can %s", where, whom, what, extra=extra)


class SeldomLog(logging.Filter):
    """Lets each warning of a library through once a minute: whoever can make it warn shall not fill the disk."""

    def __init__(self, prefix: str) -> None:
        """Attach it to the loggers that a library has by now, until `close`."""
        super().__init__()
        self._passed: dict[tuple[str, int], float] = {}  # when a line of code was heard last
        names = [name for name in logging.root.manager.loggerDict if name == prefix or name.startswith(f"{prefix}.")]
        self._loggers = [logging.getLogger(name) for name in names]
        for logger in self._loggers:
            logger.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether it is let through."""
        now, line = time.monotonic(), (record.name, record.lineno)
        if record.levelno < logging.WARNING:
            return True
        if now - self._passed.get(line, -_SELDOM_S) < _SELDOM_S:
            return False
        self._passed[line] = now
        return True

    def close(self) -> None:
        """Take it off."""
        for logger in self._loggers:
            logger.removeFilter(self)


class LoopThread:
    """Runs coroutines for other threads."""

    def __init__(self, name: str) -> None:
        """Start the loop; `name` is that of the thread, and stands in messages."""
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"partsight-{name}", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, ResultT], timeout_s: float = CALL_S) -> ResultT:
        """Run a coroutine in the loop and return what it returns.

        Raises:
            SinkError: the loop ended, or the coroutine took longer than `timeout_s`. What it raises itself is raised.
        """
        if not self._thread.is_alive():
            work.close()
            raise SinkError(f"{self._name}: its server has ended; open the sink again")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError as error:
            if future.cancel():
                raise SinkError(
                    f"{self._name}: its server did not answer for {timeout_s:g} s; open it again"
                ) from error
            raise

    def close(self) -> None:
        """End the loop and what runs in it. May be called twice."""
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
