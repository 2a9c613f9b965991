"""The rate at which files are delivered, in place of a camera's."""

import threading
import time


class FilePace:
    """Waits between the frames of a file camera."""

    def __init__(self, fps: float | None) -> None:
        """Set the rate.

        Args:
            fps: Frames a second; None for as fast as the line reads them.
        """
        self._period_s = None if fps is None else 1 / fps
        self._due_s: float | None = None
        self._ended = threading.Event()

    def wait(self) -> None:
        """Wait until the next frame is due, or `end` is called.

        After a late call the next frames do not come faster: the line sees no frame sooner than a camera would send
        it.
        """
        if self._period_s is None:
            return
        now = time.monotonic()
        self._due_s = now if self._due_s is None else max(now, self._due_s + self._period_s)
        self._ended.wait(self._due_s - now)

    def end(self) -> None:
        """End every wait, now and later."""
        self._ended.set()
