"""The sink worker: one sink's thread, so that a slow disk does not hold up the cameras."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable

from partsight.runtime.core import ResultRefusedError, SinkError, SinkGoneError
from partsight.runtime.line.counters import Tally, owner_of
from partsight.runtime.sinks import FrameEvent, Record, Sink

BOUND = 1000
"""Results that may wait for one sink; then the line waits for it, and its cameras' policy decides which are skipped."""

PICTURES_BOUND = 16
"""The same, for a sink that keeps pictures."""

SHOWN_BOUND = 64
"""The same, for a sink that shows the last result; then it loses the oldest, unless the line may wait."""

ATTEMPTS = 4
"""Attempts to write a result to a sink that may lose results; one while it refuses them all."""

FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 5.0
"""Pause between attempts: doubled each time, up to the maximum."""

END_S = 5.0
"""Longest wait, from the line's end on, for a sink that takes nothing, and for any sink that may lose results."""

_log = logging.getLogger("partsight.line")


class SinkWorker:
    """Writes results to one sink, in order, in a thread of its own.

    If a sink cannot take a result now, because its disk is full or its database is locked, the worker tries again:
    nothing is lost while the line runs. `Sink` describes sinks that may lose results. The line never waits for them
    while they refuse results.

    Attributes:
        gone: Error that ended the sink for good; None while there is none.
    """

    def __init__(self, name: str, sink: Sink, tally: Tally, *, may_wait: Callable[[], bool]) -> None:
        """Start the thread.

        Args:
            name: Name of the sink, for messages and counters.
            sink: The sink; `close` closes it.
            tally: Counts of the line.
            may_wait: Function that returns whether the line may wait for a sink that shows the last result, so that it
                shows them all.
        """
        self._name, self._sink, self._tally = name, sink, tally
        self._keeps_pictures = bool(getattr(sink, "keeps_pictures", False))
        self._may_lose = bool(getattr(sink, "may_lose", False))
        self._wants: Callable[[Record], bool] | None = getattr(sink, "wants", None)
        self._may_wait = may_wait
        self._queue: queue.Queue[FrameEvent | None] = queue.Queue(self._bound())
        self._ending, self._is_closed = threading.Event(), False
        self._ends_at = float("inf")
        self._is_retrying = self._is_slow = False
        self._refuses = False  # it did not take the last result, and any other result would have failed too
        self._lost = 0  # results, while it refuses or is slow
        self.gone: SinkGoneError | None = None
        self._thread = threading.Thread(target=self._run, name=f"partsight-sink-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Number of results that wait."""
        return self._queue.qsize()

    def put(self, event: FrameEvent) -> None:
        """Take a result; blocks while too many wait, unless the sink may lose the oldest."""
        if self._wants is not None and not self._wants(event.record):
            return
        while self._may_lose and self._queue.full() and (self._refuses or not self._waits_when_slow()):
            self._lose_oldest()
        # Without its picture, unless the sink keeps pictures: a thousand of them would not fit into memory.
        self._queue.put(event if self._keeps_pictures else FrameEvent(event.record))

    def end_soon(self) -> None:
        """Stop waiting for a sink that takes nothing after `END_S`, since the line ends. Returns at once."""
        if not self._ending.is_set():
            self._ends_at = time.monotonic() + END_S
            self._ending.set()

    def close(self) -> None:
        """Write all results that wait, then close the sink. May be called twice."""
        self.end_soon()
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(None)
        self._thread.join()

    def _waits_when_slow(self) -> bool:
        return not self._may_lose or self._keeps_pictures or self._may_wait()

    def _bound(self) -> int:
        if self._keeps_pictures:
            return PICTURES_BOUND
        return SHOWN_BOUND if self._may_lose else BOUND

    def _lose_oldest(self) -> None:
        with contextlib.suppress(queue.Empty):  # the thread took it meanwhile
            self._queue.get_nowait()
            self._count_lost()
            if not (self._is_slow or self._refuses):
                self._is_slow, text = True, "sink %s is slower than the results come; it loses the oldest"
                _log.warning(text, self._name, extra=self._event("results_lost"))

    def _count_lost(self) -> None:
        self._tally.add(owner_of(self._name), "lost")
        self._lost += 1

    def _run(self) -> None:
        dropped = 0
        while (event := self._queue.get()) is not None:
            # After the end a sink that refuses results gets no more attempts: each may take seconds, and many results
            # may wait. Nor does one that may lose results: a PLC that is off must not hold up the end.
            if time.monotonic() > self._ends_at and (self._may_lose or self._refuses):
                self._count_lost()
                dropped += 1
            else:
                self._write(event)
        if dropped and not self.gone:
            text = "sink %s lost %d results that still waited at the line's end"
            _log.error(text, self._name, dropped, extra=self._event("results_lost"))
        try:
            self._sink.close()
        except Exception as error:  # noqa: BLE001 (as `_attempt`)
            extra = self._event("sink_close_failed")
            _log.error("sink %s raised an error on close: %s", self._name, error, extra=extra)

    def _write(self, event: FrameEvent) -> None:
        """Write a result, with as many attempts as it is worth; count one that is lost."""
        attempts, pause = 0, FIRST_PAUSE_S
        while (error := self.gone or self._attempt(event)) is not None:
            attempts += 1
            if not self._is_worth_another(error, attempts):
                self._lose(event, error)
                return
            self._log_refused(error)
            self._pause(pause)
            pause = min(2 * pause, MAX_PAUSE_S)
        self._log_taken()

    def _event(self, name: str) -> dict[str, object]:
        return {"event": name, "sink": self._name}

    def _attempt(self, event: FrameEvent) -> Exception | None:
        try:
            self._sink.write(event)
        except Exception as error:  # noqa: BLE001 (a sink of the user's own may raise anything: the line goes on)
            return error
        return None

    def _is_worth_another(self, error: Exception, attempts: int) -> bool:
        if not isinstance(error, SinkError) or isinstance(error, ResultRefusedError | SinkGoneError):
            return False  # waiting does not help
        limit = 1 if self._refuses else ATTEMPTS
        return time.monotonic() < self._ends_at and not (self._may_lose and attempts == limit)

    def _pause(self, seconds: float) -> None:
        if self._ending.wait(seconds):  # the end cuts it short: the time left is for a few more attempts
            time.sleep(min(FIRST_PAUSE_S, max(0.0, self._ends_at - time.monotonic())))

    def _log_refused(self, error: Exception) -> None:
        self._tally.add(owner_of(self._name), "refusals")
        if not self._is_retrying:  # logged once: the log must not repeat every five seconds that a disk is full
            self._is_retrying = True
            text = "sink %s takes nothing; partsight tries again until it does: %s"
            extra = self._event("sink_waited_for")
            _log.warning(text, self._name, error, extra=extra)

    def _log_taken(self) -> None:
        keeps_up = self._is_slow and self._queue.empty()
        if self._is_retrying or self._refuses or keeps_up:
            text, extra = "sink %s takes results again; lost meanwhile: %d", self._event("sink_recovered")
            _log.info(text, self._name, self._lost, extra=extra)
        self._is_retrying = self._refuses = False
        self._is_slow = self._is_slow and not keeps_up
        if not self._is_slow:
            self._lost = 0

    def _lose(self, event: FrameEvent, error: Exception) -> None:
        """Count a lost result and log it; while the sink refuses all results, log only the first."""
        self._count_lost()
        self._is_retrying = False
        did_refuse, self._refuses = self._refuses, not isinstance(error, ResultRefusedError)
        if isinstance(error, SinkGoneError):  # `Line.wait` raises it
            self.gone = error
        elif not (did_refuse and self._refuses):
            record = event.record
            extra = self._event("result_lost") | {"camera": record.camera, "sequence": record.sequence}
            text = "sink %s loses the result of frame %s of camera %s: %s"
            _log.error(text, self._name, record.sequence, record.camera, error, extra=extra)
