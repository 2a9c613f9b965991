"""The feed: one camera's thread, which opens it, reads it, and opens it again when it is gone."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from partsight.runtime.cameras.camera import Camera, Frame
from partsight.runtime.errors import (
    CameraLostError,
    CameraTimeoutError,
    DependencyError,
    PartialFrameError,
    PartsightError,
)
from partsight.runtime.line.counters import Tally
from partsight.runtime.line.inbox import Inbox

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
"""Between attempts to open a camera: doubled each time, up to the longest."""

MOST_TIMEOUTS = 3
"""In a row; then the camera is opened again, since some never recover on their own."""

_log = logging.getLogger("partsight.line")


@dataclass(frozen=True)
class Failure:
    """A frame that the camera asked for and that could not be read."""

    camera: str
    sequence: int
    error: str


class Feed:
    """Reads one camera in a thread of its own until it ends or `stop` is called."""

    def __init__(
        self,
        name: str,
        open_camera: Callable[[], Camera],
        inbox: Inbox,
        tally: Tally,
        on_failure: Callable[[Failure], None],
    ) -> None:
        """Take what the thread will need; `start` starts it.

        Args:
            name: of the camera on this line.
            open_camera: opens it; called again whenever it is gone.
            inbox: where frames go.
            tally: of the line.
            on_failure: told of each frame that could not be read.
        """
        self.name = name
        self._open_camera, self._inbox, self._tally, self._on_failure = open_camera, inbox, tally, on_failure
        self._stopping = threading.Event()
        self._camera: Camera | None = None
        self._lock = threading.Lock()
        self._offset = 0  # added to the camera's own sequence, which starts again whenever it is opened
        self._next = 0
        self.state = "opening"
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"partsight-camera-{name}", daemon=True)

    def start(self) -> None:
        """Open the camera and read it from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End reading, also of a camera that waits for a frame; returns at once."""
        self._stopping.set()
        with self._lock:
            camera = self._camera
        if camera is not None:
            camera.close()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._supervise()
            self.state = "ended"
        except BaseException as error:  # noqa: BLE001 (a thread has no caller: the line asks for it)
            self.error, self.state = error, "failed"
            _log.error("camera %s: its thread ended: %s", self.name, error)
        finally:
            self._inbox.end(self.name)

    def _supervise(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                camera = self._open()
            except DependencyError:
                raise  # no waiting will mend it
            except PartsightError as error:
                self._say("waiting", f"cannot be opened ({error}); next attempt in {pause:.1f} s")
                self._stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            try:
                with camera:
                    self._say("open", "is open")
                    if self._read_all(camera):
                        return
                    pause = FIRST_PAUSE_S
            finally:
                with self._lock:
                    self._camera = None
            if not self._stopping.is_set():
                self._tally.add(self.name, "reopened")
                self._offset = self._next

    def _open(self) -> Camera:
        camera = self._open_camera()
        with self._lock:
            self._camera = camera
        if self._stopping.is_set():  # `stop` came meanwhile and found nothing to close
            camera.close()
        return camera

    def _read_all(self, camera: Camera) -> bool:
        """Read until the camera ends (True), or is gone and must be opened again (False)."""
        timeouts = 0
        while not self._stopping.is_set():
            try:
                frame = camera.read()
            except CameraTimeoutError as error:
                timeouts += 1
                self._tally.add(self.name, "stalled")
                self._say("stalled", f"sends nothing ({error})")
                if timeouts == MOST_TIMEOUTS:
                    return False
                continue
            except CameraLostError as error:
                if not self._stopping.is_set():
                    self._say("lost", f"is gone ({error})")
                return False
            except PartialFrameError:
                self._count_lost("partial")
                continue
            except PartsightError as error:
                sequence = self._count_lost("failed")
                self._on_failure(Failure(self.name, sequence, str(error)))
                continue
            if frame is None:
                return True
            timeouts = 0
            if self.state != "open":
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

    def _count_lost(self, what: str) -> int:
        """Count a frame that has a number of its own and did not come."""
        self._tally.add(self.name, what)
        self._next += 1
        return self._next - 1

    def _say(self, state: str, message: str) -> None:
        level = logging.INFO if state == "open" else logging.WARNING
        if state != self.state or state == "waiting":
            _log.log(level, "camera %s %s", self.name, message)
        self.state = state
