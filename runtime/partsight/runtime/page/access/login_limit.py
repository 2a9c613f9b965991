"""The limit of logons: whoever guesses passwords must wait longer and longer, but nobody is locked out for ever."""

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from partsight.runtime.core import folded

FREE_OF_NAME, FREE_OF_ADDRESS = 5, 20
"""Failures of a name and of an address before the first wait. Several people may share an address: a terminal."""

FIRST_WAIT_S, MAX_WAIT_S = 5.0, 300.0
"""The first wait; each further failure doubles it, up to the longest."""

FORGET_S = 900.0
"""Seconds without a try after which the failures of a name or an address are forgotten."""

MAX_AT_ONCE = 4
"""Passwords that are checked or wait for it; they must not hold up the other screens."""

MAX_KEYS = 10_000
"""Names and addresses that are remembered; for one more, the one that was tried longest ago is forgotten."""

_NEWS_S = 60.0


@dataclass(frozen=True)
class Wait:
    """A try that comes too early; nobody looked at its password.

    Attributes:
        seconds: Whole seconds until the next try.
        is_news: Whether to audit it: once a minute for each name and address, so that nobody can fill the disk.
    """

    seconds: int
    is_news: bool


@dataclass
class _Failures:
    count: int = 0
    last: float = 0.0
    until: float = 0.0
    audited: float = -math.inf


class LoginLimit:
    """Counts failures of each name, over all addresses, and of each address, over all names. Thread-safe.

    An address from which a name has logged on before has a count of its own for that name. So a person can log in at
    the usual place while somebody guesses the password elsewhere. A right password ends the waits of its name.

    A restart of the line forgets all counts.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without failures.

        Args:
            clock: Clock, in seconds.
        """
        self._clock = clock
        self._failures: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._running = 0
        self._lock = threading.Lock()

    def begin(self, name: str, address: str) -> Wait | None:
        """Return how long a try must wait; None if its password may be checked now. Then call `end`, come what may.

        The try counts as a failure until `end` says otherwise, so tries at the same time win nothing.

        Args:
            name: Name that was typed.
            address: IP address of the client.
        """
        keys, now = self._keys(name, address), self._clock()
        with self._lock:
            if self._running >= MAX_AT_ONCE:
                return Wait(1, is_news=False)
            found = [failures for key in keys if (failures := self._failures.get(key)) and failures.until > now]
            if found:
                return _wait(max(found, key=lambda failures: failures.until), now)
            for key, free in zip(keys, (FREE_OF_NAME, FREE_OF_ADDRESS), strict=True):
                _count(self._remembered(key, now), free, now)
            self._running += 1
        return None

    def end(self, name: str, address: str, *, is_right: bool) -> None:
        """Say how a try ended that `begin` let pass."""
        of_name, of_address = self._keys(name, address)
        with self._lock:
            self._running -= 1
            if not is_right:
                return
            self._failures.pop(of_name, None)
            if failures := self._failures.get(of_address):  # earlier failures stay: they may be at other names
                failures.count, failures.until = failures.count - 1, 0.0
            self._known[_pair(name, address)] = None
            while len(self._known) > MAX_KEYS:
                self._known.popitem(last=False)

    def _keys(self, name: str, address: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        pair = _pair(name, address)
        return (("name", *pair) if pair in self._known else ("name", pair[0])), ("address", pair[1])

    def _remembered(self, key: tuple[str, ...], now: float) -> _Failures:
        failures = self._failures.pop(key, None)
        if failures is None or now - failures.last > FORGET_S:
            failures = _Failures()
        self._failures[key] = failures  # the last one, so it is forgotten last
        while len(self._failures) > MAX_KEYS:
            self._failures.popitem(last=False)
        return failures


def _count(failures: _Failures, free: int, now: float) -> None:
    failures.count, failures.last = failures.count + 1, now
    if failures.count >= free:
        failures.until = now + min(FIRST_WAIT_S * 2.0 ** min(failures.count - free, 10), MAX_WAIT_S)


def _wait(failures: _Failures, now: float) -> Wait:
    is_news = now - failures.audited >= _NEWS_S
    if is_news:
        failures.audited = now
    return Wait(math.ceil(failures.until - now), is_news)


def _pair(name: str, address: str) -> tuple[str, str]:
    return folded(name[:200]), _network(address)


def _network(address: str) -> str:
    """Return the address; of IPv6 the network of 64 bits, all addresses of which one machine can take."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
