"""Measures of the cameras over hours."""

import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from partsight.runtime.line import CameraCounters, ExpectedRanges, Health, HealthState, Line, LineCounters
from partsight.runtime.sinks import FrameEvent

EVERY_S = 60.0
"""Seconds between two samples."""

KEPT_H = 24
"""Hours that are kept, if samples come in time."""

_MAX_SAMPLES = int(KEPT_H * 3600 / EVERY_S)
_MAX_RANGES = 100
_MAX_LATENCIES = 500  # of each camera and sample; enough for a median
_LATELY_S = 3600.0

_log = logging.getLogger("partsight.page")


@dataclass(frozen=True, slots=True)
class HealthSample:
    """Measures of one camera over a minute; None where there was nothing to measure.

    Attributes:
        time: Time of the sample, in seconds since 1970.
        focus_ratio, exposure_ev: Medians of its last recognised frames, see `CameraHealth`.
        unknown_share: Share of unknown ones among its answers since the sample before.
        answers_per_s: Answers a second.
        latency_ms: Median from a frame's arrival to its answer, in milliseconds.
    """

    time: float
    focus_ratio: float | None
    exposure_ev: float | None
    unknown_share: float | None
    answers_per_s: float | None
    latency_ms: float | None


@dataclass(frozen=True)
class RangesSince:
    """Expected ranges of a package.

    Attributes:
        time: Time from which on they hold, in seconds since 1970.
        package_id: Id of the package.
        expected: Its expected ranges; None where they are not known.
    """

    time: float
    package_id: str
    expected: ExpectedRanges | None


@dataclass(frozen=True)
class _Reading:
    time: float
    counters: LineCounters


@dataclass
class _CameraHistory:
    samples: deque[HealthSample] = field(default_factory=lambda: deque(maxlen=_MAX_SAMPLES))
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_MAX_LATENCIES))


class HealthHistory:
    """Samples a line's health once a minute, in a thread of its own. Memory: about 0.4 MB for each camera and day."""

    def __init__(
        self,
        line: Line,
        health: Health | None,
        *,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the line and its health; `start` begins to sample.

        Args:
            line: The line.
            health: Health of the same line; None for no measures of focus and exposure.
            every_s: Seconds between two samples.
            clock: Clock, in seconds since 1970.
        """
        self._line, self._health, self._every_s, self._clock = line, health, every_s, clock
        self._cameras = {name: _CameraHistory() for name in line.states()}
        self._ranges: deque[RangesSince] = deque(maxlen=_MAX_RANGES)
        self._readings = deque([_Reading(clock(), line.counters())], maxlen=1 + round(_LATELY_S / every_s))
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partsight-page-history", daemon=True)
        self._end = line.listen(self._hear)

    def start(self) -> None:
        """Sample from now on."""
        self._thread.start()

    def close(self) -> None:
        """Sample no more. May be called twice."""
        self._end()
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def sample(self) -> None:
        """Take one sample of each camera; the thread calls it once a minute."""
        now, counters = self._clock(), self._line.counters()
        state = self.state()
        with self._lock:
            before = self._readings[-1]
            for name, camera in self._cameras.items():
                camera.samples.append(self._sample_of(name, state, _Reading(now, counters), before))
            self._readings.append(_Reading(now, counters))
            last = self._ranges[-1] if self._ranges else None
            if last is None or (last.package_id, last.expected) != (state.package_id, state.expected):
                self._ranges.append(RangesSince(now, state.package_id, state.expected))

    def state(self) -> HealthState:
        """Return the line's health of this moment; an empty one without `Health`."""
        return self._health.state() if self._health is not None else HealthState()

    def samples(self, camera: str, since: float = 0.0) -> list[HealthSample]:
        """Return the samples of a camera from a time on, oldest first.

        Args:
            camera: Name of the camera; one that is not there has no samples.
            since: Time, in seconds since 1970.
        """
        with self._lock:
            history = self._cameras.get(camera)
            return [sample for sample in history.samples if sample.time >= since] if history else []

    def last(self, camera: str) -> HealthSample | None:
        """Return the last sample of a camera; None before the first."""
        with self._lock:
            history = self._cameras.get(camera)
            return history.samples[-1] if history and history.samples else None

    def ranges(self) -> list[RangesSince]:
        """Return the expected ranges of all packages that answered, oldest first."""
        with self._lock:
            return list(self._ranges)

    def lately(self) -> LineCounters:
        """Return the line's counters of an hour ago, or of its start: counts since then are new."""
        with self._lock:
            return self._readings[0].counters

    def _sample_of(self, name: str, state: HealthState, now: _Reading, before: _Reading) -> HealthSample:
        counters, earlier = now.counters.cameras[name], before.counters.cameras[name]
        answers, seconds = _answers(counters) - _answers(earlier), now.time - before.time
        health = state.cameras.get(name)
        # A median of frames that came before this minute is no measure of it.
        measured = health.recognised if health and counters.recognised > earlier.recognised else None
        latencies_ms = self._cameras[name].latencies_ms
        taken = [latencies_ms.popleft() for _ in range(len(latencies_ms))]
        return HealthSample(
            time=now.time,
            focus_ratio=measured.focus_ratio if measured else None,
            exposure_ev=measured.exposure_ev if measured else None,
            unknown_share=(counters.unknown - earlier.unknown) / answers if answers > 0 else None,
            answers_per_s=answers / seconds if seconds > 0 else None,
            latency_ms=statistics.median(taken) if taken else None,
        )

    def _hear(self, event: FrameEvent) -> None:
        """Note the latency of an answer; called by the publishing thread."""
        record = event.record
        camera = self._cameras.get(record.camera)
        if camera is not None and record.latency_ms is not None and not self._stopping.is_set():
            camera.latencies_ms.append(record.latency_ms)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.sample()
            except Exception as error:  # noqa: BLE001 (a thread has no caller; the next sample may succeed)
                extra = {"event": "page_history_failed"}
                _log.warning("page: the line's health cannot be sampled: %s", error, extra=extra)


def _answers(camera: CameraCounters) -> int:
    return camera.recognised + camera.unknown
