"""A camera whose `read` waits in its driver."""

import threading
import time
from abc import ABC, abstractmethod
from typing import Self

from partsight.runtime.cameras.camera import Frame
from partsight.runtime.core import CameraLostError, CameraTimeoutError, ProcessBound

SLICE_S = 0.2
"""Longest single wait in a driver: nothing can end it, so `close` may wait that long for a `read`."""


class FrameIds:
    """Turns a device's frame ids into a sequence that rises from 0, with a gap for each lost frame."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._sequence = 0

    def number(self, frame_id: int) -> int:
        """Return the sequence of a frame.

        GigE Vision counts from 1 to 65535 and starts again at 1 (0 is reserved), unless its ids have 64 bits. An id
        that repeats or goes back a little counts as the next one: no number comes twice.
        """
        if self._last is not None:
            step = frame_id - self._last
            if step < -0x8000 and self._last <= 0xFFFF:
                step += 0xFFFF
            self._sequence += max(1, step)
        self._last = frame_id
        return self._sequence


class PolledCamera(ProcessBound, ABC, unusable=CameraLostError):
    """Keeps the rules of a camera; each subclass knows one library.

    A lock separates `read` from the release of the device, so that nothing closes a driver that is in use.
    """

    def __init__(self, source: str, timeout_s: float) -> None:
        """Take the address for errors, and the longest wait of `read`, in seconds; the device is open."""
        self.source = source
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._released = False

    @abstractmethod
    def _wait(self, seconds: float) -> Frame | None:
        """Wait for a frame; None if no frame came. Raises the errors of `read`."""

    @abstractmethod
    def _release(self) -> None:
        """Release the device, even if it is gone. Called once."""

    @abstractmethod
    def _begin(self) -> None:
        """Start an exposure if the camera has a software trigger. Raises the errors of `read`."""

    def read(self) -> Frame:
        """Return the next frame.

        Raises:
            CameraTimeoutError: no frame came in time.
            PartialFrameError: the frame is incomplete.
            CameraLostError: the device is gone, or the camera was closed.
        """
        with self._lock:
            deadline = time.monotonic() + self._timeout_s
            self._check_open()
            self._begin()
            while (left := deadline - time.monotonic()) > 0:
                frame = self._wait(min(left, SLICE_S))
                self._check_open()
                if frame is not None:
                    return frame
        raise CameraTimeoutError(
            f"{self.source}: no frame came within {self._timeout_s:g} s; is it triggered, and does it still send?"
        )

    def close(self) -> None:
        """Release the device after a `read` that runs; a second call does nothing. Safe from any thread."""
        self._closing.set()
        with self._lock:
            if not self._released:
                self._released = True
                self._release()

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise CameraLostError(f"{self.source}: was closed; open it again")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
