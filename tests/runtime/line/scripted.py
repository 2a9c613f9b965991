"""A camera that does what a test says, and sinks that remember."""

import threading
from collections.abc import Callable, Iterable
from typing import Self

import numpy as np

from partsight.runtime import SinkError
from partsight.runtime.cameras.camera import Frame
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.errors import CameraLostError
from partsight.runtime.sinks.record import FrameEvent, Record
from tests.tiny import COLOURS_BGR, solid
from tests.waiting import HANG_S

COLOURS = list(COLOURS_BGR)

Step = Pixels | Exception | Callable[[], None] | None


class ScriptedCamera:
    """Delivers pictures, raises errors, and calls functions in between, in the order given; then ends or waits."""

    def __init__(self, steps: Iterable[Step] = (), *, ends: bool = True) -> None:
        self.script(steps)
        self._ends = ends
        self._sequence = 0
        self._closed = threading.Event()

    def script(self, steps: Iterable[Step]) -> None:
        """Replace the steps."""
        self._steps = iter(steps)

    def read(self) -> Frame | None:
        for step in self._steps:
            if self._closed.is_set():
                raise CameraLostError("closed")
            if callable(step):
                step()
                continue
            if step is None:  # a frame that was lost on the way
                self._sequence += 1
                continue
            if isinstance(step, Exception):
                if type(step).__name__ not in ("CameraLostError", "CameraTimeoutError"):
                    self._sequence += 1
                raise step
            self._sequence += 1
            return Frame(step, "scripted", self._sequence - 1, 0.0)
        if not self._ends:
            self._closed.wait(HANG_S)
            raise CameraLostError("closed")
        return None

    def close(self) -> None:
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ListSink:
    """Keeps events in memory; refuses the next `refuses` results."""

    def __init__(self, refuses: int = 0) -> None:
        self.events: list[FrameEvent] = []
        self.refuses = refuses
        self.attempts = 0
        self.is_closed = False

    @property
    def records(self) -> list[Record]:
        return [event.record for event in self.events]

    def write(self, event: FrameEvent) -> None:
        self.attempts += 1
        if self.refuses:
            self.refuses -= 1
            raise SinkError("the disk is full")
        self.events.append(event)

    def close(self) -> None:
        self.is_closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pictures(count: int, seed: int = 0) -> list[Pixels]:
    """Frames of colours that the tiny package knows, and of some that it does not."""
    rng = np.random.default_rng(seed)
    names = [*COLOURS, (0, 0, 0), (128, 128, 128)]
    return [solid(names[index]) for index in rng.integers(0, len(names), count)]
