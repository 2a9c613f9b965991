"""What a line shows while it runs: of files a bar, of live cameras a line of numbers; in a log now and then a line."""

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

from partsight.cli.line_config import STDOUT, LineConfig
from partsight.runtime.line import CameraCounters, Line
from partsight.runtime.sinks import FrameEvent

_SECONDS = 5.0
"""Over which rate and latency are told."""

_HOUR_S = 3600.0
"""Between two lines of live cameras in a log: one a minute would fill it for months, and metrics say it at any time."""

_log = logging.getLogger("partsight.cli")


@contextmanager
def progress(
    line: Line, config: LineConfig, total: int | None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], None]]:
    """Yield what is to be called from time to time.

    Args:
        line: whose progress it is.
        config: of the line.
        total: how many frames will come; None where nobody knows.
        clock: seconds, for the log.
    """
    is_terminal = sys.stderr.isatty()
    if is_terminal and STDOUT in config.sinks and sys.stdout.isatty():  # results in the same terminal are enough to see
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
    from partsight.runtime.core import progress_bar  # here: a line that starts again waits for each import

    with progress_bar(total, "recognising", "frame") as bar:

        def show() -> None:
            counters = line.counters()
            bar.update(counters.seen - sum(camera.waiting for camera in counters.cameras.values()) - bar.n)

        yield show
        show()


class _Hourly:
    """Logs each camera's state and counts once an hour."""

    def __init__(self, line: Line, clock: Callable[[], float]) -> None:
        self._line, self._clock = line, clock
        self._said_s = clock()

    def show(self) -> None:
        """Log the counts if an hour has passed."""
        if self._clock() - self._said_s < _HOUR_S:
            return
        self._said_s = self._clock()
        states = self._line.states()
        for name, camera in self._line.counters().cameras.items():
            facts = {"event": "camera_counts", "camera": name, "state": states[name], **asdict(camera)}
            _log.info("camera %s %s: %s", name, states[name], _counts(camera), extra=facts)


class _Status:
    """Of each camera: what it does, its answers a second and their median latency lately, and its counts."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._answers: dict[str, deque[tuple[float, float]]] = defaultdict(deque)  # when, and its latency in ms
        self._began = time.monotonic()

    def take(self, event: FrameEvent) -> None:
        """Note a result; called by the line's thread."""
        record = event.record
        if record.latency_ms is not None:
            with self._lock:
                self._answers[record.camera].append((time.monotonic(), record.latency_ms))

    def show(self) -> None:
        """Write the line anew."""
        states = self._line.states()
        texts = [
            f"{name} {states[name]}: {self._pace(name)}{_counts(camera)}"
            for name, camera in self._line.counters().cameras.items()
        ]
        print(f"\r\x1b[K{' | '.join(texts)[: _width()]}", end="", file=sys.stderr, flush=True)

    def _pace(self, camera: str) -> str:
        now = time.monotonic()
        with self._lock:
            answers = self._answers[camera]
            while answers and answers[0][0] < now - _SECONDS:
                answers.popleft()
            latencies_ms = [latency_ms for _, latency_ms in answers]
        if not latencies_ms:
            return ""
        rate = len(latencies_ms) / min(_SECONDS, now - self._began)
        return f"{rate:.1f}/s, {statistics.median(latencies_ms):.0f} ms; "


def _counts(camera: CameraCounters) -> str:
    return f"{camera.recognised} recognised, {camera.unknown} unknown, {camera.skipped} skipped"


def _width() -> int:
    """Return how much fits into one line of the terminal: a longer one could not be taken back."""
    columns = 0
    with contextlib.suppress(OSError, ValueError):
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    return (columns or 80) - 1
