"""The camera worker: one camera's thread, which opens it, reads it, and reopens it when it is lost."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from reprlib import repr as shortened

from partsight.runtime.cameras import Camera, Frame
from partsight.runtime.core import (
    CameraLostError,
    CameraTimeoutError,
    DependencyError,
    PartialFrameError,
    PartsightError,
)
from partsight.runtime.line.counters import Tally
from partsight.runtime.line.frame_queue import FrameQueue, UnreadableFrame

FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 5.0
"""Pause between attempts to open a camera: doubled each time, up to the maximum."""

MAX_TIMEOUTS = 3
"""Timeouts in a row after which the worker reopens the camera, since some never recover on their own."""

MAX_PARTIAL = 10
"""Incomplete frames in a row after which the log says why, once until a whole frame comes."""

CLOSE_S = 5.0
"""Longest wait at the line's end for a camera that is being closed."""

_FRAME_FIELDS = tuple(field.name for field in fields(Frame))

_log = logging.getLogger("partsight.line")


class NoCameraError(TypeError):
    """A camera's function or its `read` returns an object of another kind, and will do so again."""


class CameraWorker:
    """Reads one camera in a thread of its own until it ends or `stop` is called.

    Attributes:
        name: Name of the camera on this line.
        state: State of the camera, see `Line.states`.
        error: Error that ended the thread; None while there is none.
    """

    def __init__(self, name: str, open_camera: Callable[[], Camera], frame_queue: FrameQueue, tally: Tally) -> None:
        """Prepare the thread; `start` starts it.

        Args:
            name: Name of the camera on this line.
            open_camera: Function that opens it; called again whenever the camera is lost.
            frame_queue: Queue that takes the frames.
            tally: Counts of the line.
        """
        self.name = name
        self._open_camera, self._frame_queue, self._tally = open_camera, frame_queue, tally
        self._stopping = threading.Event()
        self._camera: Camera | None = None
        self._lock = threading.Lock()
        self._offset = 0  # added to the camera's own sequence, which starts again whenever it is opened
        self._next = 0  # lowest number that the next frame may have
        self._timeouts = self._partial = 0  # in a row
        self._logged = ""
        self.state = "opening"
        self.error: BaseException | None = None
        self._closer: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name=f"partsight-camera-{name}", daemon=True)

    def start(self) -> None:
        """Open the camera and read it from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End reading, even while the camera waits for a frame; returns at once."""
        if not self._stopping.is_set():
            self._stopping.set()
            # In a thread of its own: a driver may take its time, and the other cameras must stop meanwhile.
            self._closer = threading.Thread(target=self._close, name=f"partsight-close-{self.name}", daemon=True)
            self._closer.start()

    def join(self) -> None:
        """Wait until the thread has ended and the camera is closed, but not for a driver that hangs."""
        self._thread.join()
        if self._closer is not None:
            self._closer.join(CLOSE_S)

    def _run(self) -> None:
        try:
            self._supervise()
            self.state = "ended"
        except BaseException as error:  # noqa: BLE001 (a thread has no caller: the line asks for it)
            self.error, self.state = error, "failed"
            extra = {"event": "camera_failed", "camera": self.name}
            _log.error("camera %s failed: %s", self.name, error, extra=extra)
        finally:
            self._frame_queue.end(self.name)

    def _close(self) -> None:
        with self._lock:
            camera = self._camera
        try:
            if camera is not None:
                camera.close()
        except Exception as error:  # noqa: BLE001 (a driver may raise anything: it is closed as far as possible)
            self._log_not_closed(error)

    def _supervise(self) -> None:
        """Open the camera and read it, again and again; with pauses that grow while it sends no frame."""
        pause, was_open = FIRST_PAUSE_S, False
        while not self._stopping.is_set():
            before, has_ended = self._next, False
            try:
                with self._open() as camera:
                    self._on_open(camera, again=was_open)
                    was_open = True
                    has_ended = self._read_all(camera)
            except (DependencyError, NoCameraError):
                raise  # waiting does not help
            except Exception as error:  # noqa: BLE001 (a driver may raise anything: the camera is reopened)
                if has_ended:
                    self._log_not_closed(error)
                else:
                    self._log_trouble(error)
            finally:
                with self._lock:
                    self._camera = None
            if has_ended:
                return
            pause = FIRST_PAUSE_S if self._next > before else pause
            self._stopping.wait(pause)
            pause = min(2 * pause, MAX_PAUSE_S)

    def _open(self) -> Camera:
        camera = self._open_camera()
        if not hasattr(camera, "read"):
            raise NoCameraError(
                f"the function of camera {self.name} returned {shortened(camera)}; expected a camera: "
                "open_camera(ADDRESS)"
            )
        with self._lock:
            self._camera = camera
        if self._stopping.is_set():  # `stop` came meanwhile and found no camera to close
            camera.close()
        return camera

    def _on_open(self, camera: Camera, *, again: bool) -> None:
        if again:
            self._tally.add(self.name, "reopened")
        self._offset, self._timeouts, self._partial = self._next, 0, 0
        self._frame_queue.opened(self.name, ends=bool(getattr(camera, "ends", False)))
        self._set_state("open", "is open")

    def _read_all(self, camera: Camera) -> bool:
        """Read until the camera ends (True) or must be reopened (False, or CameraLostError)."""
        while not self._stopping.is_set():
            try:
                frame = camera.read()
            except CameraTimeoutError as error:
                self._on_timeout(error)
                if self._timeouts == MAX_TIMEOUTS:
                    return False
            except CameraLostError:
                raise
            except PartialFrameError as error:
                self._on_partial(error)
            except PartsightError as error:
                self._on_unreadable(getattr(camera, "source", self.name), error)
            else:
                if frame is None:
                    return True
                self._on_frame(frame)
        return False

    def _on_timeout(self, error: CameraTimeoutError) -> None:
        self._timeouts += 1
        self._tally.add(self.name, "stalled")
        self._set_state("stalled", f"sends nothing ({error})")

    def _on_partial(self, error: PartialFrameError) -> None:
        self._timeouts, self._partial = 0, self._partial + 1
        self._tally.add(self.name, "partial")
        self._next += 1
        if self._partial == MAX_PARTIAL:
            self._set_state("stalled", f"sends no whole frame ({error})")

    def _on_unreadable(self, source: str, error: PartsightError) -> None:
        self._timeouts = 0
        self._frame_queue.offer_unreadable(UnreadableFrame(self.name, source, self._next, str(error), time.time()))
        self._next += 1

    def _on_frame(self, frame: Frame) -> None:
        if not all(hasattr(frame, name) for name in _FRAME_FIELDS):
            raise NoCameraError(
                f"`read` of camera {self.name} returned {type(frame).__name__}; expected "
                f"Frame({', '.join(_FRAME_FIELDS)}), or None after the last"
            )
        self._timeouts = self._partial = 0
        self._set_state("open", "sends again")
        sequence = self._number(frame.sequence)
        if sequence != frame.sequence:  # the camera was reopened and counts from 0 again
            frame = Frame(frame.image, frame.source, sequence, frame.timestamp)
        self._frame_queue.offer(self.name, frame)

    def _number(self, sequence: int) -> int:
        """Return the number on this line of a frame that has a number of its camera, and count lost frames.

        No number comes twice, whichever numbers the camera gives.
        """
        number = max(sequence + self._offset, self._next)
        self._offset = number - sequence
        if number > self._next:  # frames were lost between the camera and the line
            self._tally.add(self.name, "skipped", number - self._next)
        self._next = number + 1
        return number

    def _log_trouble(self, error: Exception) -> None:
        if isinstance(error, CameraLostError):
            self._set_state("lost", f"is lost ({error}); partsight reopens it")
        elif isinstance(error, PartsightError):
            self._set_state("waiting", f"cannot be opened ({error}); partsight tries again")
        else:
            text = f"failed unexpectedly ({type(error).__name__}: {error}); partsight reopens it"
            self._set_state("lost", text)

    def _log_not_closed(self, error: Exception) -> None:
        extra = {"event": "camera_close_failed", "camera": self.name}
        _log.warning("camera %s: its driver raised an error on close: %s", self.name, error, extra=extra)

    def _set_state(self, state: str, message: str) -> None:
        """Log a camera's state when it changes: the log must not repeat every five seconds that a camera is away."""
        if state != self.state or (state != "open" and message != self._logged):
            if not self._stopping.is_set():
                level = logging.INFO if state == "open" else logging.WARNING
                extra = {"event": f"camera_{state}", "camera": self.name}
                _log.log(level, "camera %s %s", self.name, message, extra=extra)
            self._logged = message
        self.state = state
