"""The clock of a benchmark, which tests can replace."""

import time
from collections.abc import Callable
from typing import Protocol

Tick = Callable[[str], None]
"""Called after each step, with the name of the measurement."""


class Clock(Protocol):
    """A clock in seconds that can also wait."""

    def now(self) -> float:
        """Return seconds since any fixed moment."""

    def sleep(self, seconds: float) -> None:
        """Wait; return at once for a negative time."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Return seconds since any fixed moment."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """Wait; return at once for a negative time."""
        time.sleep(max(0.0, seconds))
