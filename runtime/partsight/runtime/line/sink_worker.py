"""The outbox: one sink's thread, so that a slow disk does not hold up the cameras."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable

from partsight.runtime.core import ResultRefusedError, SinkError, SinkGoneError
from partsight.runtime.line.counters import Owner, Tally
from partsight.runtime.sinks import FrameEvent, Record, Sink

BOUND = 1000
"""Results that may wait for one sink; then the line waits for it, and its cameras' policy decides what is skipped."""

PICTURES_BOUND = 16
"""The same, of a sink that keeps pictures."""

SHOWN_BOUND = 64
"""The same, of one that shows the last result; those that waited longest are lost then, unless the line may wait."""

ATTEMPTS = 4
"""Of a sink that may lose results; one while it refuses them all."""

FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 5.0
"""Between attempts: doubled each time, up to the longest."""

END_S = 5.0
"""From the line's end on, how long a sink is waited for that takes nothing, and any that may lose results."""

_log = logging.getLogger("partsight.line")


def owner_of(sink: str) -> Owner:
    """Return what a sink is called in the tally."""
    return "sink", sink


class SinkWorker:
    """Writes results into one sink, in order, in a thread of its own.

    A sink that cannot take a result now, because its disk is full or its database is held, is waited for: nothing is
    lost while the line runs. See `Sink` for those that may lose results, for which the line never waits while they
    refuse them.
    """

    def __init__(self, name: str, sink: Sink, tally: Tally, *, may_wait: Callable[[], bool]) -> None:
        """Start.

        Args:
            name: of the sink, for messages and counters.
            sink: closed by `close`.
            tally: of the line.
            may_wait: tells whether the line may wait for one that shows the last result, so that it shows them all.
        """
        self._name, self._sink, self._tally = name, sink, tally
        self._keeps_pictures = bool(getattr(sink, "keeps_pictures", False))
        self._may_lose = bool(getattr(sink, "may_lose", False))
        self._wants: Callable[[Record], bool] | None = getattr(sink, "wants", None)
        self._may_wait = may_wait
        self._queue: queue.Queue[FrameEvent | None] = queue.Queue(self._bound())
        self._ending, self._is_closed = threading.Event(), False
        self._ends_at = float("inf")
        self._is_waited_for = self._is_slow = False
        self._refuses = False  # it took nothing of the last result, and not for what that was
        self._lost = 0  # while it refuses or is slow
        self.gone: SinkGoneError | None = None
        self._thread = threading.Thread(target=self._run, name=f"partsight-sink-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many results wait."""
        return self._queue.qsize()

    def put(self, event: FrameEvent) -> None:
        """Hand in a result; blocks while too many wait, unless the sink may lose those that waited longest."""
        if self._wants is not None and not self._wants(event.record):
            return
        while self._may_lose and self._queue.full() and (self._refuses or not self._waits_when_slow()):
            self._lose_oldest()
        # Without its picture, unless the sink keeps pictures: a thousand of them would not fit into memory.
        self._queue.put(event if self._keeps_pictures else FrameEvent(event.record))

    def end_soon(self) -> None:
        """Say that the line ends: a sink that takes nothing is not waited for much longer. Returns at once."""
        if not self._ending.is_set():
            self._ends_at = time.monotonic() + END_S
            self._ending.set()

    def close(self) -> None:
        """Write what was handed in, then close the sink. May be called twice."""
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
        with contextlib.suppress(queue.Empty):  # it was taken meanwhile
            self._queue.get_nowait()
            self._count_lost()
            if not (self._is_slow or self._refuses):
                self._is_slow, text = True, "sink %s: takes results slower than they come; the oldest are lost to it"
                _log.warning(text, self._name, extra=self._event("results_lost"))

    def _count_lost(self) -> None:
        self._tally.add(owner_of(self._name), "lost")
        self._lost += 1

    def _run(self) -> None:
        unasked = 0
        while (event := self._queue.get()) is not None:
            # Who refuses results after the end is not asked again: each attempt may take seconds, and many may wait.
            # Nor is who may lose them, or a PLC that is off would hold up the end.
            if time.monotonic() > self._ends_at and (self._may_lose or self._refuses):
                self._count_lost()
                unasked += 1
            else:
                self._write(event)
        if unasked and not self.gone:
            text = "sink %s: %d results that still waited at the line's end are lost to it"
            _log.error(text, self._name, unasked, extra=self._event("results_lost"))
        try:
            self._sink.close()
        except Exception as error:  # noqa: BLE001 (as `_attempt`)
            _log.error(
                "sink %s: cannot be closed in order: %s", self._name, error, extra=self._event("sink_close_failed")
            )

    def _write(self, event: FrameEvent) -> None:
        """Write a result, or wait until it can be written; count one that is lost."""
        attempts, pause = 0, FIRST_PAUSE_S
        while (error := self.gone or self._attempt(event)) is not None:
            attempts += 1
            if not self._is_worth_waiting(error, attempts):
                self._lose(event, error)
                return
            self._say_refused(error)
            self._pause(pause)
            pause = min(2 * pause, MAX_PAUSE_S)
        self._say_taken()

    def _event(self, name: str) -> dict[str, object]:
        return {"event": name, "sink": self._name}

    def _attempt(self, event: FrameEvent) -> Exception | None:
        try:
            self._sink.write(event)
        except Exception as error:  # noqa: BLE001 (a sink of the user's own may raise anything: the line goes on)
            return error
        return None

    def _is_worth_waiting(self, error: Exception, attempts: int) -> bool:
        if not isinstance(error, SinkError) or isinstance(error, ResultRefusedError | SinkGoneError):
            return False  # no waiting will mend it
        most = 1 if self._refuses else ATTEMPTS
        return time.monotonic() < self._ends_at and not (self._may_lose and attempts == most)

    def _pause(self, seconds: float) -> None:
        if self._ending.wait(seconds):  # it was cut short, or would be: the rest of the time is for a few more attempts
            time.sleep(min(FIRST_PAUSE_S, max(0.0, self._ends_at - time.monotonic())))

    def _say_refused(self, error: Exception) -> None:
        self._tally.add(owner_of(self._name), "refusals")
        if not self._is_waited_for:  # told once: a disk that is full for days is not told of every five seconds
            self._is_waited_for = True
            extra = self._event("sink_waited_for")
            _log.warning("sink %s: takes nothing and is waited for: %s", self._name, error, extra=extra)

    def _say_taken(self) -> None:
        keeps_up = self._is_slow and self._queue.empty()
        if self._is_waited_for or self._refuses or keeps_up:
            lost = {0: "none was", 1: "1 was"}.get(self._lost, f"{self._lost} were")
            text, extra = "sink %s: takes results again; %s lost meanwhile", self._event("sink_recovered")
            _log.info(text, self._name, lost, extra=extra)
        self._is_waited_for = self._refuses = False
        self._is_slow = self._is_slow and not keeps_up
        if not self._is_slow:
            self._lost = 0

    def _lose(self, event: FrameEvent, error: Exception) -> None:
        """Count a result that is lost, and say so: while the sink refuses them all, of the first."""
        self._count_lost()
        self._is_waited_for = False
        did_refuse, self._refuses = self._refuses, not isinstance(error, ResultRefusedError)
        if isinstance(error, SinkGoneError):  # it is raised to whoever waits for the line
            self.gone = error
        elif not (did_refuse and self._refuses):
            record = event.record
            text, place = "sink %s: frame %s of camera %s is lost to it: %s", (record.sequence, record.camera)
            extra = self._event("result_lost") | {"camera": record.camera, "sequence": record.sequence}
            _log.error(text, self._name, *place, error, extra=extra)
