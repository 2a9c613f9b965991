"""The clock that benchmarks measure by, which tests can replace, and how they tell where they are."""

import time
from collections.abc import Callable
from typing import Protocol

Tick = Callable[[str], None]
"""Is told what is being measured, after each step."""


class Clock(Protocol):
    """What measures time, in seconds, and waits."""

    def now(self) -> float:
        """Return the seconds since any moment."""

    def sleep(self, seconds: float) -> None:
        """Wait; not at all for a negative time."""


class SystemClock:
    """The machine's own."""

    def now(self) -> float:
        """Return the seconds since any moment."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """Wait; not at all for a negative time."""
        time.sleep(max(0.0, seconds))
