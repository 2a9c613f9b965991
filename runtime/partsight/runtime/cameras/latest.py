"""A camera whose own thread reads it into a slot for the latest frame."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Self

from partsight.runtime.cameras.camera import Frame
from partsight.runtime.core import (
    CameraLostError,
    CameraTimeoutError,
    PartialFrameError,
    PartsightError,
    Pixels,
    ProcessBound,
)

MAX_CLOSE_S = 1.0
"""Longest wait of `close`. If the driver hangs, the thread releases the device when the driver returns."""

_log = logging.getLogger("partsight.cameras")


class LatestCamera(ProcessBound, unusable=CameraLostError):
    """Delivers the latest frame of a source that sends whether or not anyone reads.

    A backend with buffers (FFmpeg, V4L2) delivers ever older frames if its reader is slower than its source
    (opencv/opencv#13145), so the thread reads as fast as the source sends. A gap in `sequence` stands for frames that
    a newer one replaced before anyone took them.
    """

    def __init__(
        self,
        source: str,
        receive: Callable[[], Pixels],
        release: Callable[[], None],
        timeout_s: float,
        interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        """Start reading.

        Args:
            source: Address for errors.
            receive: Function that waits for the next picture, which nobody else holds; only the thread calls it. After
                CameraTimeoutError and PartialFrameError the thread goes on. Any other error ends it, and `read` raises
                that error; if the source stopped sending before, `read` raises CameraTimeoutError first.
            release: Function that releases the device; the thread calls it once.
            timeout_s: Longest wait of `read`, and greatest age of a frame that it returns, in seconds.
            interrupt: Function that ends a waiting `receive`; `close` calls it, from any thread.
        """
        self.source = source
        self._receive, self._release, self._interrupt, self._timeout_s = receive, release, interrupt, timeout_s
        self._changed = threading.Condition()
        self._latest: Frame | PartialFrameError | None = None
        self._arrived = 0.0  # time of the latest, by the monotonic clock
        self._received = 0
        self._stall = ""  # message of the timeout of `receive` since the latest
        self._stall_reported = False  # a `read` has raised that timeout
        self._closing = False
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"partsight-{source}", daemon=True)
        self._thread.start()

    def read(self) -> Frame:
        """Return the latest frame that no call has returned yet, or wait for one.

        Raises:
            CameraTimeoutError: no frame came in time.
            PartialFrameError: the latest frame is incomplete, and no whole frame waits.
            CameraLostError: the device is gone, or the camera was closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._is_fresh() or self._ended, self._timeout_s)
            if self._closing:
                raise CameraLostError(f"{self.source}: was closed; open it again")
            if self._is_fresh():
                frame, self._latest = self._latest, None
                if isinstance(frame, PartialFrameError):
                    raise frame
                assert frame is not None
                return frame
            if self._ended and (self._stall_reported or not self._stall):
                raise self._loss()
            self._stall_reported, stall = True, self._stall
        usual = f"{self.source}: no frame came within {self._timeout_s:g} s; check that the camera is on and sends"
        raise CameraTimeoutError(stall or usual)

    def close(self) -> None:
        """Release the device, and wait at most `MAX_CLOSE_S` for it. May be called twice and from any thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._interrupt()
        self._thread.join(MAX_CLOSE_S)
        if self._thread.is_alive():
            extra = {"event": "driver_hangs"}
            _log.warning("%s: closed, but its driver has not returned yet", self.source, extra=extra)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_fresh(self) -> bool:
        """Return whether there is a frame, and not one from a stream that stopped long ago."""
        return self._latest is not None and time.monotonic() - self._arrived <= self._timeout_s

    def _loss(self) -> PartsightError:
        if isinstance(self._error, PartsightError):
            return type(self._error)(str(self._error))  # a new one: each raise would lengthen its traceback
        loss = CameraLostError(f"{self.source}: its reader ended: {type(self._error).__name__}: {self._error}")
        loss.__cause__ = self._error
        return loss

    def _run(self) -> None:
        try:
            try:
                self._receive_all()
            finally:
                self._release()
        except BaseException as error:  # noqa: BLE001 (a thread has no caller: `read` raises it)
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _receive_all(self) -> None:
        while not self._closing:
            try:
                image = self._receive()
            except CameraTimeoutError as error:
                with self._changed:
                    self._stall = str(error)
                continue  # `read` keeps its own time
            except PartialFrameError as error:
                self._put(error)
                continue
            self._put(Frame(image, self.source, self._received, time.time()))

    def _put(self, latest: Frame | PartialFrameError) -> None:
        """Replace the frame in the slot; an incomplete frame does not replace a whole one that waits."""
        with self._changed:
            self._stall, self._stall_reported = "", False
            self._received += 1
            if isinstance(latest, Frame) or not (isinstance(self._latest, Frame) and self._is_fresh()):
                self._latest, self._arrived = latest, time.monotonic()
            self._changed.notify_all()
