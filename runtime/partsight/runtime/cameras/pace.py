"""The pace of files: so many frames a second, as the line's camera sent them."""

import threading
import time


class Pace:
    """Waits between the frames of a file camera."""

    def __init__(self, fps: float | None) -> None:
        """Take the rate.

        Args:
            fps: frames a second; None for as fast as they are read.
        """
        self._period_s = None if fps is None else 1 / fps
        self._due_s: float | None = None
        self._ended = threading.Event()

    def wait(self) -> None:
        """Wait until the next frame is due, or `end` is called.

        A camera whose frames were taken too late does not hurry afterwards: the line sees no frame sooner than its
        own camera would send it.
        """
        if self._period_s is None:
            return
        now = time.monotonic()
        self._due_s = now if self._due_s is None else max(now, self._due_s + self._period_s)
        self._ended.wait(self._due_s - now)

    def end(self) -> None:
        """Let nobody wait any longer."""
        self._ended.set()
