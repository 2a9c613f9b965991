"""The outbox: one sink's thread, so that a slow disk does not hold up the cameras."""

import logging
import queue
import threading

from partsight.runtime.errors import SinkError
from partsight.runtime.line.counters import Tally
from partsight.runtime.record import Told
from partsight.runtime.sinks.sink import Sink

BOUND = 1000
"""Results that may wait for one sink; then the line waits for it, and its cameras' policy decides what is skipped."""

PICTURES_BOUND = 16
"""The same, of a sink that keeps pictures, which says so by an attribute `keeps_pictures` that is true."""

ATTEMPTS = 4
FIRST_PAUSE_S = 0.1
"""Of a result that a sink does not take: attempts, and the pause after the first, doubled each time."""

_log = logging.getLogger("partsight.line")


def owner_of(sink: str) -> str:
    """Return what a sink is called in the tally, where a camera may have the same name."""
    return f"sink {sink}"


class Outbox:
    """Writes results into one sink, in order, in a thread of its own."""

    def __init__(self, name: str, sink: Sink, tally: Tally) -> None:
        """Start.

        Args:
            name: of the sink, for messages and counters.
            sink: closed by `close`.
            tally: of the line.
        """
        self._name, self._sink, self._tally = name, sink, tally
        self._keeps_pictures = bool(getattr(sink, "keeps_pictures", False))
        self._queue: queue.Queue[Told | None] = queue.Queue(PICTURES_BOUND if self._keeps_pictures else BOUND)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"partsight-sink-{name}", daemon=True)
        self._thread.start()

    def put(self, told: Told) -> None:
        """Hand in a result; blocks while too many wait."""
        # Without its picture, unless the sink keeps pictures: a thousand of them would not fit into memory.
        self._queue.put(told if self._keeps_pictures else Told(told.record))

    def close(self) -> None:
        """Write what was handed in, then close the sink."""
        self._closing.set()  # no more long pauses between attempts
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (told := self._queue.get()) is not None:
            self._write(told)
        try:
            self._sink.close()
        except Exception as error:  # noqa: BLE001 (as `_attempt`)
            _log.error("sink %s: cannot be closed in order: %s", self._name, error)

    def _write(self, told: Told) -> None:
        pause = FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            error = self._attempt(told)
            if error is None:
                return
            if attempt < ATTEMPTS and isinstance(error, SinkError):
                self._closing.wait(pause)
                pause *= 2
            elif not isinstance(error, SinkError):
                break
        self._tally.add(owner_of(self._name), "sink_errors")
        _log.error(
            "sink %s: did not take frame %s of camera %s: %s",
            self._name,
            told.record.sequence,
            told.record.camera,
            error,
        )

    def _attempt(self, told: Told) -> Exception | None:
        try:
            self._sink.write(told)
        except Exception as error:  # noqa: BLE001 (a sink of the user's own may raise anything: the line goes on)
            return error
        return None
