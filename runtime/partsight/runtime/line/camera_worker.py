"""The feed: one camera's thread, which opens it, reads it, and opens it again when it is gone."""

import logging
import threading
import time
from collections.abc import Callable
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
from partsight.runtime.line.frame_queue import Failure, FrameQueue

FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 5.0
"""Between attempts to open a camera: doubled each time, up to the longest."""

MAX_TIMEOUTS = 3
"""In a row; then the camera is opened again, since some never recover on their own."""

MAX_PARTIAL = 10
"""Incomplete frames in a row; then the log says why, once until a whole frame comes."""

CLOSE_S = 5.0
"""How long a camera that is being closed is waited for at the line's end."""

_log = logging.getLogger("partsight.line")


class NoCameraError(TypeError):
    """A camera's function or its `read` returns something else, and will next time."""


class CameraWorker:
    """Reads one camera in a thread of its own until it ends or `stop` is called."""

    def __init__(self, name: str, open_camera: Callable[[], Camera], inbox: FrameQueue, tally: Tally) -> None:
        """Take what the thread will need; `start` starts it.

        Args:
            name: of the camera on this line.
            open_camera: opens it; called again whenever it is gone.
            inbox: where frames go.
            tally: of the line.
        """
        self.name = name
        self._open_camera, self._inbox, self._tally = open_camera, inbox, tally
        self._stopping = threading.Event()
        self._camera: Camera | None = None
        self._lock = threading.Lock()
        self._offset = 0  # added to the camera's own sequence, which starts again whenever it is opened
        self._next = 0
        self._said = ""
        self.state = "opening"
        self.error: BaseException | None = None
        self._closer: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name=f"partsight-camera-{name}", daemon=True)

    def start(self) -> None:
        """Open the camera and read it from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End reading, also of a camera that waits for a frame; returns at once."""
        if not self._stopping.is_set():
            self._stopping.set()
            # By a thread of its own: a driver may take its time, and the other cameras are to stop meanwhile.
            self._closer = threading.Thread(target=self._close, name=f"partsight-close-{self.name}", daemon=True)
            self._closer.start()

    def join(self) -> None:
        """Wait for the thread's end, and until the camera is closed, but not for a driver that hangs."""
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
            _log.error("camera %s: its thread ended: %s", self.name, error, extra=extra)
        finally:
            self._inbox.end(self.name)

    def _close(self) -> None:
        with self._lock:
            camera = self._camera
        try:
            if camera is not None:
                camera.close()
        except Exception as error:  # noqa: BLE001 (a driver may raise anything: it has been told to stop)
            self._say_not_closed(error)

    def _say_not_closed(self, error: Exception) -> None:
        extra = {"event": "camera_close_failed", "camera": self.name}
        _log.warning("camera %s cannot be closed in order: %s", self.name, error, extra=extra)

    def _supervise(self) -> None:
        """Open the camera and read it, again and again; with pauses that grow while it sends no frame."""
        pause, was_open = FIRST_PAUSE_S, False
        while not self._stopping.is_set():
            before, has_ended = self._next, False
            try:
                with self._open() as camera:
                    if was_open:
                        self._tally.add(self.name, "reopened")
                    was_open, self._offset = True, self._next
                    self._inbox.opened(self.name, ends=bool(getattr(camera, "ends", False)))
                    self._say("open", "is open")
                    has_ended = self._read_all(camera)
            except (DependencyError, NoCameraError):
                raise  # no waiting will mend it
            except Exception as error:  # noqa: BLE001 (a driver may raise anything: the camera is opened anew)
                if has_ended:
                    self._say_not_closed(error)
                else:
                    self._say_trouble(error)
            finally:
                with self._lock:
                    self._camera = None
            if has_ended:
                return
            pause = FIRST_PAUSE_S if self._next > before else pause
            self._stopping.wait(pause)
            pause = min(2 * pause, MAX_PAUSE_S)

    def _say_trouble(self, error: Exception) -> None:
        if isinstance(error, CameraLostError):
            self._say("lost", f"is gone ({error})")
        elif isinstance(error, PartsightError):
            self._say("waiting", f"cannot be opened ({error})")
        else:
            self._say("lost", f"failed in a way that was not foreseen ({type(error).__name__}: {error})")

    def _open(self) -> Camera:
        camera = self._open_camera()
        if not hasattr(camera, "read"):
            raise NoCameraError(
                f"the function of camera {self.name} returned {shortened(camera)}; expected a camera: "
                "open_camera(ADDRESS)"
            )
        with self._lock:
            self._camera = camera
        if self._stopping.is_set():  # `stop` came meanwhile and found nothing to close
            camera.close()
        return camera

    def _read_all(self, camera: Camera) -> bool:
        """Read until the camera ends (True), or must be opened again (False, or CameraLostError)."""
        timeouts = partial = 0
        while not self._stopping.is_set():
            try:
                frame = camera.read()
            except CameraTimeoutError as error:
                timeouts += 1
                self._tally.add(self.name, "stalled")
                self._say("stalled", f"sends nothing ({error})")
                if timeouts == MAX_TIMEOUTS:
                    return False
                continue
            except CameraLostError:
                raise
            except PartialFrameError as error:
                timeouts, partial = 0, partial + 1
                self._tally.add(self.name, "partial")
                self._next += 1
                if partial == MAX_PARTIAL:
                    self._say("stalled", f"sends no whole frame ({error})")
                continue
            except PartsightError as error:
                timeouts = 0
                source = getattr(camera, "source", self.name)
                self._inbox.fail(Failure(self.name, source, self._next, str(error), time.time()))
                self._next += 1
                continue
            if frame is None:
                return True
            if not hasattr(frame, "sequence"):
                raise NoCameraError(
                    f"`read` of camera {self.name} returned {type(frame).__name__}; expected Frame(image, source, "
                    "sequence, timestamp), or None after the last"
                )
            timeouts = partial = 0
            self._say("open", "sends again")
            self._deliver(frame)
        return False

    def _deliver(self, frame: Frame) -> None:
        sequence = max(frame.sequence + self._offset, self._next)  # no number is given twice, whatever a camera says
        self._offset = sequence - frame.sequence
        if sequence > self._next:  # frames that were lost on the way from the camera
            self._tally.add(self.name, "skipped", sequence - self._next)
        self._next = sequence + 1
        self._inbox.offer(self.name, Frame(frame.image, frame.source, sequence, frame.timestamp))

    def _say(self, state: str, message: str) -> None:
        """Log what a camera does when that changes: one that is away for days is not told of every five seconds."""
        if state != self.state or (state != "open" and message != self._said):
            if not self._stopping.is_set():
                level = logging.INFO if state == "open" else logging.WARNING
                extra = {"event": f"camera_{state}", "camera": self.name}
                _log.log(level, "camera %s %s", self.name, message, extra=extra)
            self._said = message
        self.state = state
