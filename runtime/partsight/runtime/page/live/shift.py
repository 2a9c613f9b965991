"""Counters of the shift, and the pace of each camera."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from partsight.runtime.line import CameraCounters, Line, LineCounters
from partsight.runtime.sinks import FrameEvent, Record

RATE_S = 10.0
"""Seconds over which the rate is a mean."""

RESULTS = 500
"""Results of each camera whose latency counts."""


@dataclass(frozen=True)
class SwapCounts:
    """Results of one camera since the last swap: the recognised ones, and all."""

    recognised: int = 0
    answered: int = 0


@dataclass(frozen=True)
class ShiftState:
    """Counts of the shift.

    Attributes:
        since: Time since when they count, in seconds since 1970: the begin of the shift, or of the page if it began
            later.
        cameras: Counters of each camera since then, by its name; `waiting` is the present number.
        swapped: Time of the last change of package in this shift, in seconds since 1970; None if there was none.
        since_swap: Results of each camera since then, by its name; of no use if `swapped` is None.
    """

    since: float
    cameras: Mapping[str, CameraCounters]
    swapped: float | None
    since_swap: Mapping[str, SwapCounts]


@dataclass(frozen=True)
class Pace:
    """Pace of one camera.

    Attributes:
        frames_per_s: Results a second, over the last 10 s.
        p50_ms, p99_ms: Median and 99th percentile of the latency of the last 500 results; None without one.
    """

    frames_per_s: float
    p50_ms: float | None
    p99_ms: float | None


class ShiftCounters:
    """Counts of a line since the shift began. Thread-safe."""

    def __init__(
        self,
        line: Line,
        starts: Sequence[int],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count from now on.

        Args:
            line: The line.
            starts: Minutes after midnight, local time, at which shifts begin.
            clock: Clock, in seconds since 1970.
            monotonic: Clock that nobody sets, in seconds.
        """
        self._line, self._starts, self._clock, self._monotonic = line, tuple(starts), clock, monotonic
        self._lock = threading.Lock()
        self._since = clock()
        self._next = next_start(self._since, self._starts)
        self._base = line.counters()
        self._began = monotonic()
        self._package_id = line.package_id
        self._swapped: float | None = None
        self._since_swap = {name: SwapCounts() for name in self._base.cameras}
        self._results: dict[str, deque[tuple[float, float | None]]] = {
            name: deque(maxlen=RESULTS) for name in self._base.cameras
        }
        self._end = line.listen(self._hear)

    def close(self) -> None:
        """Listen no more. May be called twice."""
        self._end()

    def state(self) -> ShiftState:
        """Return the counts of the present shift."""
        self._roll()
        self._note_package()
        counters = self._line.counters()
        with self._lock:
            since, base = self._since, self._base
            swapped, since_swap = self._swapped, dict(self._since_swap)
        is_of_shift = swapped is not None and swapped >= since
        return ShiftState(since, _difference(counters, base), swapped if is_of_shift else None, since_swap)

    def pace(self, camera: str) -> Pace:
        """Return the pace of a camera.

        Raises:
            KeyError: the line has no such camera.
        """
        results, now = tuple(self._results[camera]), self._monotonic()
        lately = sum(time >= now - RATE_S for time, _ in results)
        # If all kept results came within these seconds, the time of the oldest is the begin.
        begin = results[0][0] if lately == RESULTS else max(self._began, now - RATE_S)
        latencies = sorted(latency_ms for _, latency_ms in results if latency_ms is not None)
        return Pace(lately / max(1.0, now - begin), _quantile(latencies, 0.5), _quantile(latencies, 0.99))

    def _hear(self, event: FrameEvent) -> None:
        """Note a result; called by the publishing thread."""
        if self._clock() >= self._next:
            self._roll()
        self._note_package()
        results = self._results.get(event.record.camera)
        if results is not None:
            results.append((self._monotonic(), event.record.latency_ms))
            self._count(event.record)

    def _note_package(self) -> None:
        """Begin to count anew if the line has another package."""
        package_id = self._line.package_id
        if package_id == self._package_id:
            return
        with self._lock:
            if package_id != self._package_id:
                self._package_id, self._swapped = package_id, self._clock()
                self._since_swap = {name: SwapCounts() for name in self._since_swap}

    def _count(self, record: Record) -> None:
        """Count a result since the swap, unless the package before gave it; a failed frame may name none."""
        with self._lock:
            if self._swapped is None or record.package_id not in (self._package_id, ""):
                return
            before, is_recognised = self._since_swap[record.camera], record.outcome == "recognised"
            self._since_swap[record.camera] = SwapCounts(before.recognised + is_recognised, before.answered + 1)

    def _roll(self) -> None:
        """Begin a new shift if it is time."""
        now = self._clock()
        if now < self._next:
            return
        base = self._line.counters()
        with self._lock:
            if now >= self._next:
                self._since, self._base = last_start(now, self._starts), base
                self._next = next_start(now, self._starts)


def last_start(now: float, starts: Sequence[int]) -> float:
    """Return when the present shift began, in seconds since 1970.

    Args:
        now: Time, in seconds since 1970.
        starts: Minutes after midnight, local time, at which shifts begin.
    """
    return max(time for time in _starts_near(now, starts) if time <= now)


def next_start(now: float, starts: Sequence[int]) -> float:
    """Return when the next shift begins; see `last_start`."""
    return min(time for time in _starts_near(now, starts) if time > now)


def _starts_near(now: float, starts: Sequence[int]) -> list[float]:
    """Return the starts of yesterday, today and tomorrow, in seconds since 1970.

    The hour that comes twice when the clock is set back starts a shift once, the first time. A start within the hour
    that is left out comes an hour later on the clock.
    """
    today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today + timedelta(days=number) for number in (-1, 0, 1)]
    return [(day + timedelta(minutes=minutes)).timestamp() for day in days for minutes in starts]


def _difference(counters: LineCounters, base: LineCounters) -> dict[str, CameraCounters]:
    found = {}
    for name, now in counters.cameras.items():
        before = base.cameras[name]
        counts = {field.name: getattr(now, field.name) - getattr(before, field.name) for field in fields(now)}
        found[name] = CameraCounters(**counts | {"waiting": now.waiting})
    return found


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
