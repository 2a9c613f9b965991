"""What a line shows in a terminal while it runs: a bar for files, a line of numbers for live cameras."""

import contextlib
import os
import statistics
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from partsight.cli.line_config import STDOUT, LineConfig
from partsight.runtime.line import CameraCounters, Line
from partsight.runtime.record import Told

_SECONDS = 5.0
"""Over which rate and latency are told."""


@contextmanager
def progress(line: Line, config: LineConfig, total: int | None) -> Iterator[Callable[[], None]]:
    """Yield what is to be called from time to time; where nobody looks it does nothing.

    Args:
        line: whose progress it is.
        config: of the line.
        total: how many frames will come; None where nobody knows.
    """
    is_in_between = STDOUT in config.sinks and sys.stdout.isatty()  # results in the same terminal are enough to see
    if not sys.stderr.isatty() or is_in_between:
        yield lambda: None
    elif config.ends:
        with _bar(line, total) as show:
            yield show
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
    from tqdm import tqdm  # here: a line that starts again waits for each import

    with tqdm(total=total, desc="recognising", unit="frame", dynamic_ncols=True) as bar:

        def show() -> None:
            counters = line.counters()
            bar.update(counters.seen - sum(camera.waiting for camera in counters.cameras.values()) - bar.n)

        yield show
        show()


class _Status:
    """Of each camera: what it does, its answers a second and their median latency lately, and its counts."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._answers: dict[str, deque[tuple[float, float]]] = defaultdict(deque)  # when, and its latency in ms
        self._began = time.monotonic()

    def take(self, told: Told) -> None:
        """Note a result; called by the line's thread."""
        record = told.record
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
