"""The health monitor: whether the line still sees frames as its package was calibrated for."""

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from partsight.runtime.core import PartsightError, ProcessBound, warn_renamed
from partsight.runtime.line.health.drift import Drift, Measure, Medians, Recent, Sample
from partsight.runtime.line.health.expected_range import ExpectedRanges, expected_ranges
from partsight.runtime.line.health.watchdog import RecognitionWatchdog
from partsight.runtime.line.line import Line
from partsight.runtime.recognition import Recognizer
from partsight.runtime.sinks import FrameEvent

EVERY_S = 0.5
"""Shortest time between two measured frames of a camera."""

SHARE_WINDOW = 200
"""Answers in the share of unknown ones."""

MAX_WAITING = 4
"""Frames that may wait to be measured; more are left out."""

_PAUSE_S = 0.02  # between the batches of a check

_log = logging.getLogger("partsight.line")


@dataclass(frozen=True)
class CameraHealth:
    """Measures of one camera's last frames.

    Attributes:
        recognised: Medians of the recognised frames; drift is judged by these.
        unknown: Medians of the unknown frames, each relative to the golden image of its best candidate. They are not
            judged: a part that the package does not have is no fault of the camera.
        in_range: Whether each median is as expected; a measure that was not judged yet is left out.
        unknown_share: Share of unknown ones among its last answers.
    """

    recognised: Medians
    unknown: Medians
    in_range: Mapping[Measure, bool]
    unknown_share: float

    @property
    def in_band(self) -> Mapping[Measure, bool]:
        """Old name of `in_range`; warns."""
        warn_renamed("CameraHealth.in_band", "CameraHealth.in_range")
        return self.in_range


@dataclass(frozen=True)
class HealthState:
    """A moment's view of `Health`.

    Attributes:
        expected: Expected ranges; None until they are known, and where the package has no golden images.
        cameras: Health of each camera that had an answer, by its name.
        package_id: Id of the package that all of this is about; empty until the first is looked at.
    """

    expected: ExpectedRanges | None = None
    cameras: Mapping[str, CameraHealth] = field(default_factory=dict)
    package_id: str = ""

    @property
    def bands(self) -> ExpectedRanges | None:
        """Old name of `expected`; warns."""
        warn_renamed("HealthState.bands", "HealthState.expected")
        return self.expected


class Health(ProcessBound):
    """Measures some of a line's frames in a thread of its own; warns of a camera that drifts or recognises no part.

    It compares at most two frames a second of each camera with the golden image of the recognised part. Use it as a
    context manager, around the line so that it hears every answer.

    Example:
        >>> line = Line(Recognizer("line3.partsight"), cameras)
        >>> with Health(line) as health, line:
        ...     line.wait()
        >>> print(health.state())
    """

    def __init__(self, line: Line) -> None:
        """Listen to a line; `start` begins to measure."""
        self._line = line
        self._queue: queue.Queue[FrameEvent | None] = queue.Queue(MAX_WAITING)
        self._package_id = ""  # of the package that all of the following is about
        self._expected: ExpectedRanges | None = None
        self._cameras: dict[str, _WatchedCamera] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partsight-health", daemon=True)
        line.listen(self._hear)

    def start(self) -> None:
        """Measure from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop measuring. May be called twice."""
        self._stopping.set()
        if self._thread.is_alive():
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(None)  # for a thread that waits for a frame
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def state(self) -> HealthState:
        """Return the measures so far, of the package that answers now."""
        with self._lock:
            cameras = {name: camera.health() for name, camera in self._cameras.items()}
            return HealthState(self._expected, cameras, self._package_id)

    def _hear(self, event: FrameEvent) -> None:
        """Count an answer, and queue its frame if it is time to measure one; called by the publishing thread."""
        record = event.record
        if record.outcome == "failed" or self._stopping.is_set():
            return
        with self._lock:
            camera = self._cameras.get(record.camera)
            if camera is None:
                camera = self._cameras[record.camera] = _WatchedCamera(record.camera)
            camera.answers.append(record.outcome == "unknown")
        now = time.monotonic()
        camera.watchdog.count(is_refused=record.outcome == "unknown", now=now)
        if now >= camera.next_at:
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(event)
                camera.next_at = now + EVERY_S

    def _run(self) -> None:
        logged = ""
        while not self._stopping.is_set():
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 (a thread has no caller; the next frame may be measured)
                if str(error) != logged:
                    logged = str(error)
                    _log.warning("health: frames cannot be measured: %s", logged, extra={"event": "health_failed"})

    def _step(self) -> None:
        recognizer = self._line.recognizer
        try:
            if recognizer.package_id != self._package_id:
                self._begin(recognizer)
            event = self._queue.get(timeout=1)
            if event is not None and event.record.package_id == self._package_id:
                self._measure(event, recognizer)
        except queue.Empty:
            return
        except PartsightError:
            if not recognizer.is_closed:  # the line closes it when it ends, or when another replaces it
                raise

    def _begin(self, recognizer: Recognizer) -> None:
        """Forget all measures of another package, and find the expected ranges of this one."""
        with self._lock:
            self._package_id, self._expected, self._cameras = recognizer.package_id, None, {}
        expected = expected_ranges(recognizer, lambda: not self._stopping.is_set())
        with self._lock:
            self._expected = expected
        if expected is None and not self._stopping.is_set():
            extra = {"event": "health_unwatched", "package": recognizer.package_id}
            text = "health: package %s has no golden images, so partsight does not watch focus and exposure"
            _log.info(text, recognizer.package_id, extra=extra)

    def _has_time(self) -> bool:
        """Leave the processor to the line for a moment; return whether a check may go on."""
        return not self._stopping.wait(_PAUSE_S)

    def _measure(self, event: FrameEvent, recognizer: Recognizer) -> None:
        record = event.record
        if event.frame is None:
            return
        appearance = recognizer.appearance(event.frame.image, record.top[0].label) if record.top else None
        focus, exposure = (appearance.focus_ratio, appearance.exposure_ev) if appearance else (None, None)
        with self._lock:
            camera = self._cameras.get(record.camera)
            if camera is not None:
                recent = camera.recognised if record.outcome == "recognised" else camera.unknown
                recent.add(Sample(focus, exposure, record.score, record.margin))
        if camera is not None:
            if record.outcome == "unknown":
                camera.watchdog.keep(event, recognizer)
            camera.watchdog.judge(recognizer, camera.unknown, self._expected, time.monotonic(), self._has_time)
            if self._expected is not None:
                camera.drift.judge(camera.recognised, self._expected)


class _WatchedCamera:
    """State of one camera between two frames."""

    def __init__(self, name: str) -> None:
        self.recognised, self.unknown = Recent(), Recent()
        self.drift, self.watchdog = Drift(name), RecognitionWatchdog(name)
        self.answers: deque[bool] = deque(maxlen=SHARE_WINDOW)  # whether each was unknown
        self.next_at = 0.0

    def health(self) -> CameraHealth:
        unknown_share = sum(self.answers) / len(self.answers)
        return CameraHealth(self.recognised.medians(), self.unknown.medians(), self.drift.in_range(), unknown_share)
