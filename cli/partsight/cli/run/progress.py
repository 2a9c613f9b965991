"""Progress of a running line: a bar for files, a status line for live cameras, an hourly line in a log."""

import contextlib
import logging
import os
import statistics
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from partsight.cli.run.config import STDOUT, LineConfig
from partsight.runtime.line import CameraCounters, Line
from partsight.runtime.sinks import FrameEvent

_SECONDS = 5.0
"""Window of the rate and the latency in the status line."""

_HOUR_S = 3600.0
"""Time between two lines in a log. One a minute would fill the log over months, and metrics have the counts always."""

_log = logging.getLogger("partsight.cli")


@contextmanager
def progress(
    line: Line, config: LineConfig, total: int | None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], None]]:
    """Yield a function that shows the progress; call it from time to time.

    Args:
        line: The line to show.
        config: Configuration of the line.
        total: Number of frames to come; None if not known.
        clock: Clock in seconds, for the log.
    """
    is_terminal = sys.stderr.isatty()
    # Results in the same terminal show the progress themselves.
    if is_terminal and STDOUT in config.sinks and sys.stdout.isatty():
        yield lambda: None
    elif config.ends:
        with _bar(line, total) as show:
            yield show
    elif not is_terminal:
        yield _Hourly(line, clock).show
    else:
        status = _Status(line)
        line.listen(status.take)
        try:
            yield status.show
            status.show()
        finally:
            print(file=sys.stderr)


@contextmanager
def _bar(line: Line, total: int | None) -> Iterator[Callable[[], None]]:
    from partsight.runtime.core import progress_bar  # imported here: each import delays the start

    with progress_bar(total, "recognising", "frame") as bar:

        def show() -> None:
            counters = line.counters()
            bar.update(counters.seen - sum(camera.waiting for camera in counters.cameras.values()) - bar.n)

        yield show
        show()


class _Hourly:
    """Log of each camera's state and counts, once an hour."""

    def __init__(self, line: Line, clock: Callable[[], float]) -> None:
        self._line, self._clock = line, clock
        self._logged_s = clock()

    def show(self) -> None:
        """Log the counts if an hour has passed."""
        if self._clock() - self._logged_s < _HOUR_S:
            return
        self._logged_s = self._clock()
        states = self._line.states()
        for name, camera in self._line.counters().cameras.items():
            facts = {"event": "camera_counts", "camera": name, "state": states[name], **asdict(camera)}
            facts["late"] = camera.expired  # the old name, for one release
            _log.info("camera %s %s: %s", name, states[name], _counts(camera), extra=facts)


class _Status:
    """Status line: state, answers a second, median latency and counts of each camera."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._lock = threading.Lock()
        # Of each answer its time in seconds, and its latency in milliseconds.
        self._answers: dict[str, deque[tuple[float, float]]] = defaultdict(deque)
        self._started_s = time.monotonic()

    def take(self, event: FrameEvent) -> None:
        """Note the latency of an answer; the line's thread calls this."""
        record = event.record
        if record.latency_ms is not None:
            with self._lock:
                self._answers[record.camera].append((time.monotonic(), record.latency_ms))

    def show(self) -> None:
        """Write the status line again."""
        states = self._line.states()
        texts = [
            f"{name} {states[name]}: {self._pace(name)}{_counts(camera)}"
            for name, camera in self._line.counters().cameras.items()
        ]
        print(f"\r\x1b[K{' | '.join(texts)[: terminal_width()]}", end="", file=sys.stderr, flush=True)

    def _pace(self, camera: str) -> str:
        now = time.monotonic()
        with self._lock:
            answers = self._answers[camera]
            while answers and answers[0][0] < now - _SECONDS:
                answers.popleft()
            latencies_ms = [latency_ms for _, latency_ms in answers]
        if not latencies_ms:
            return ""
        rate = len(latencies_ms) / min(_SECONDS, now - self._started_s)
        return f"{rate:.1f}/s, {statistics.median(latencies_ms):.0f} ms; "


def _counts(camera: CameraCounters) -> str:
    return f"{camera.recognised} recognised, {camera.unknown} unknown, {camera.skipped} skipped"


def terminal_width() -> int:
    """Return the characters that fit into one line of the terminal: a longer line cannot be overwritten."""
    columns = 0
    with contextlib.suppress(OSError, ValueError):
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    return (columns or 80) - 1
