"""Waiting for an event, never for a clock."""

import time
from collections.abc import Callable

HANG_S = 240.0
"""Limit of every wait in a test. Only a hang reaches it, however busy the machine is."""


def wait_until(is_so: Callable[[], object], limit_s: float = HANG_S) -> None:
    """Poll a condition until it is true."""
    ends_at = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < ends_at, f"{is_so} stayed false for {limit_s:g} s"
        time.sleep(0.002)
