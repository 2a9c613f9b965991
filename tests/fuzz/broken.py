"""Surfaces that are broken on purpose: the runner must find each defect."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from partsight.runtime.core.errors import PartsightError
from tests.fuzz.surface import Case, Surface, check, random_of

AT = 7
"""Number of the failing case, counted from 0."""


def _broken(name: str, fault: Callable[[], object], **bounds: float) -> Surface:
    @contextlib.contextmanager
    def open_broken(_folder: Path) -> Iterator[Case]:
        numbers = {random_of(name, number).random(): number for number in range(100)}

        def case(rng: random.Random) -> None:
            number = numbers[rng.random()]
            if number == AT:
                fault()
            if number % 2:
                raise PartsightError("refused")

        yield case

    return Surface(name, open_broken, 0, **bounds)  # type: ignore[arg-type]


def _swell() -> None:
    kept = bytearray(400 * 2**20)
    kept[0] = 1


def _raise_elsewhere() -> None:
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()


BROKEN = {
    surface.name: surface
    for surface in (
        _broken("well", lambda: None),
        _broken("raises", [].pop),
        _broken("raises-in-a-thread", _raise_elsewhere),
        _broken("wrong", lambda: check(False, "a label that was never taught")),
        _broken("dies", lambda: os.kill(os.getpid(), signal.SIGSEGV)),
        _broken("exits", lambda: os._exit(3)),
        _broken("hangs", lambda: time.sleep(1000), seconds=0.5),
        _broken("swells", _swell, memory_mb=200),
    )
}
