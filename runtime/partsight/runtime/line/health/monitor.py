"""Health: whether the line still sees what its package was calibrated for."""

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from partsight.runtime.core import PartsightError, ProcessBound
from partsight.runtime.line.health.band import Bands, expected_bands
from partsight.runtime.line.health.drift import Drift, Measure, Medians, Recent, Sample
from partsight.runtime.line.health.sight import RecognitionWatchdog
from partsight.runtime.line.line import Line
from partsight.runtime.recognition import Recognizer
from partsight.runtime.sinks import FrameEvent

EVERY_S = 0.5
"""From one frame of a camera that is measured to the next, at least."""

SHARE_WINDOW = 200
"""Answers of which the share of unknown ones is taken."""

_PAUSE_S = 0.02  # between the batches of a check

_BOUND = 4  # frames that wait to be measured; more are left out

_log = logging.getLogger("partsight.line")


@dataclass(frozen=True)
class CameraHealth:
    """What was measured of one camera's last frames.

    Attributes:
        recognised: medians of those that were recognised; these are judged.
        unknown: medians of those that were not, each beside the golden image of its best candidate. Not judged: it is
            no fault of the camera that it shows a part which was never taught, or none.
        in_band: the judgement; what has none yet is left out.
        unknown_share: of its last answers.
    """

    recognised: Medians
    unknown: Medians
    in_band: Mapping[Measure, bool]
    unknown_share: float


@dataclass(frozen=True)
class HealthState:
    """A moment's view of `Health`.

    Attributes:
        bands: what is expected; None until it is known, and where the package has no golden images.
        cameras: by name; those that had an answer.
    """

    bands: Bands | None = None
    cameras: Mapping[str, CameraHealth] = field(default_factory=dict)


class Health(ProcessBound):
    """Measures a sample of a line's frames, in a thread of its own, and warns of a camera that drifts or sees no part.

    Two frames a second of each camera, at most, are laid beside the golden image of the part that they were taken for.
    Use it as a context manager, around the line so that no answer is missed.

    Example:
        >>> line = Line(Recognizer("line3.partsight"), cameras)
        >>> with Health(line) as health, line:
        ...     line.wait()
        >>> print(health.state())
    """

    def __init__(self, line: Line) -> None:
        """Listen to a line; `start` begins to measure."""
        self._line = line
        self._queue: queue.Queue[FrameEvent | None] = queue.Queue(_BOUND)
        self._package_id = ""  # of the package that all of the following is about
        self._bands: Bands | None = None
        self._cameras: dict[str, _Watched] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partsight-health", daemon=True)
        line.listen(self._hear)

    def start(self) -> None:
        """Measure from now on."""
        self._thread.start()

    def close(self) -> None:
        """Measure no longer. May be called twice."""
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
        """Return what was measured so far, of the package that answers now."""
        with self._lock:
            return HealthState(self._bands, {name: watched.health() for name, watched in self._cameras.items()})

    def _hear(self, event: FrameEvent) -> None:
        """Count an answer and hand in its frame, if one is due; called by the line's thread."""
        record = event.record
        if record.outcome == "failed" or self._stopping.is_set():
            return
        with self._lock:
            watched = self._cameras.get(record.camera)
            if watched is None:
                watched = self._cameras[record.camera] = _Watched(record.camera)
            watched.answers.append(record.outcome == "unknown")
        now = time.monotonic()
        watched.sight.take(is_refused=record.outcome == "unknown", now=now)
        if now >= watched.next_at:
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(event)
                watched.next_at = now + EVERY_S

    def _run(self) -> None:
        said = ""
        while not self._stopping.is_set():
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 (a thread has no caller; the next frame may be measured)
                if str(error) != said:
                    said = str(error)
                    _log.warning("health: frames cannot be measured: %s", said, extra={"event": "health_failed"})

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
            if not recognizer.is_closed:  # the line closes it when it ends, or when another takes its place
                raise

    def _begin(self, recognizer: Recognizer) -> None:
        """Forget what was measured with another package, and find out what is expected of this one."""
        with self._lock:
            self._package_id, self._bands, self._cameras = recognizer.package_id, None, {}
        bands = expected_bands(recognizer, lambda: not self._stopping.is_set())
        with self._lock:
            self._bands = bands
        if bands is None and not self._stopping.is_set():
            _log.info(
                "health: package %s has no golden images, so focus and exposure are not watched",
                recognizer.package_id,
                extra={"event": "health_unwatched", "package": recognizer.package_id},
            )

    def _has_time(self) -> bool:
        """Leave the processor to the line for a moment, and say whether a check may go on."""
        return not self._stopping.wait(_PAUSE_S)

    def _measure(self, event: FrameEvent, recognizer: Recognizer) -> None:
        record = event.record
        if event.frame is None:
            return
        appearance = recognizer.appearance(event.frame.image, record.top[0].label) if record.top else None
        focus, exposure = (appearance.focus_ratio, appearance.exposure_ev) if appearance else (None, None)
        with self._lock:
            watched = self._cameras.get(record.camera)
            if watched is not None:
                recent = watched.recognised if record.outcome == "recognised" else watched.unknown
                recent.add(Sample(focus, exposure, record.score, record.margin))
        if watched is not None:
            if record.outcome == "unknown":
                watched.sight.keep(event, recognizer)
            watched.sight.judge(recognizer, watched.unknown, self._bands, time.monotonic(), self._has_time)
            if self._bands is not None:
                watched.drift.judge(watched.recognised, self._bands)


class _Watched:
    """What is remembered of one camera."""

    def __init__(self, camera: str) -> None:
        self.recognised, self.unknown = Recent(), Recent()
        self.drift, self.sight = Drift(camera), RecognitionWatchdog(camera)
        self.answers: deque[bool] = deque(maxlen=SHARE_WINDOW)  # whether each was unknown
        self.next_at = 0.0

    def health(self) -> CameraHealth:
        unknown_share = sum(self.answers) / len(self.answers)
        return CameraHealth(self.recognised.medians(), self.unknown.medians(), self.drift.in_band(), unknown_share)
