"""Cameras that show a colour of their own in each frame, until a test ends them."""

import threading

from partsight.runtime.cameras.camera import Frame
from tests.runtime.line.scripted import COLOURS, ScriptedCamera
from tests.tiny import solid


class Belt(ScriptedCamera):
    """Shows another colour in each frame, in an order of its own, until the test ends it."""

    def __init__(self, first: int, is_over: threading.Event) -> None:
        super().__init__()
        self._first, self._is_over, self.shown = first, is_over, 0

    def read(self) -> Frame | None:
        """Return the next frame."""
        if self._is_over.is_set():
            return None
        number, self.shown = self.shown, self.shown + 1
        return Frame(solid(self.colour(number)), "belt", number, 0.0)

    def colour(self, number: int) -> str:
        """Return the colour of a frame."""
        return COLOURS[(self._first + number * 5) % len(COLOURS)]
