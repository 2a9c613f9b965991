"""A camera that is read by a thread of its own, into a slot for the latest frame alone."""

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
"""How long `close` waits for the device; one that hangs in its driver is let go when the driver returns."""

_log = logging.getLogger("partsight.cameras")


class LatestCamera(ProcessBound, unusable=CameraLostError):
    """Delivers the latest frame of a source that sends whether or not anyone reads.

    A backend that buffers (FFmpeg, V4L2) grows ever older when it is read more slowly than it is fed
    (opencv/opencv#13145), so it is read as fast as it sends. Frames that were overwritten before anyone took them show
    as gaps in `sequence`.
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
            source: address to show.
            receive: waits for the next picture, which nobody else holds; called by the thread alone. CameraTimeoutError
                and PartialFrameError let the thread go on, any other error ends it and is raised by `read`: after a
                CameraTimeoutError where a source stopped sending and was then given up, whichever clock was first.
            release: lets go of the device; called once, by the thread.
            timeout_s: how long `read` waits, and how old a frame may be that waited for it.
            interrupt: ends a `receive` that waits; called by `close`, from any thread.
        """
        self.source = source
        self._receive, self._release, self._interrupt, self._timeout_s = receive, release, interrupt, timeout_s
        self._changed = threading.Condition()
        self._latest: Frame | PartialFrameError | None = None
        self._arrived = 0.0  # of the latest, by the monotonic clock
        self._received = 0
        self._stall = ""  # since the latest: what `receive` said when it waited in vain
        self._event = False  # a `read` has said so
        self._closing = False
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"partsight-{source}", daemon=True)
        self._thread.start()

    def read(self) -> Frame:
        """Return the latest frame that was not returned yet, or wait for one.

        Raises:
            CameraTimeoutError: none came in time.
            PartialFrameError: the latest came incomplete, and no whole one waits.
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
            if self._ended and (self._event or not self._stall):
                raise self._loss()
            self._event, stall = True, self._stall
        usual = f"{self.source}: no frame came within {self._timeout_s:g} s; check that the camera is on and sends"
        raise CameraTimeoutError(stall or usual)

    def close(self) -> None:
        """Let go of the device, and wait until it is let go of or hangs; may be called twice and from any thread."""
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
        """Tell a frame to return from none, or from one left by a stream that stopped long ago."""
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
                continue  # `read` has a clock of its own
            except PartialFrameError as error:
                self._put(error)
                continue
            self._put(Frame(image, self.source, self._received, time.time()))

    def _put(self, latest: Frame | PartialFrameError) -> None:
        """Let `read` have a frame in place of the one before; an incomplete one only where no whole one waits."""
        with self._changed:
            self._stall, self._event = "", False
            self._received += 1
            if isinstance(latest, Frame) or not (isinstance(self._latest, Frame) and self._is_fresh()):
                self._latest, self._arrived = latest, time.monotonic()
            self._changed.notify_all()
