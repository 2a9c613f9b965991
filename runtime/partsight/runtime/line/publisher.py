"""The result publisher: makes the record of each frame and hands it to listeners and sinks."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from partsight.runtime.line.counters import LINE, Tally
from partsight.runtime.line.frame_queue import Arrival, UnreadableFrame
from partsight.runtime.line.sink_worker import SinkWorker
from partsight.runtime.recognition import Recognizer, Result
from partsight.runtime.sinks import FrameEvent, Record, record_answer

_log = logging.getLogger("partsight.line")


class ResultPublisher:
    """Publishes each frame's event, then counts its outcome. Used by one thread at a time.

    Attributes:
        sink_workers: Workers that take each event, by the sink's name.
    """

    def __init__(self, tally: Tally, run_id: str, deadlines_s: Mapping[str, float]) -> None:
        """Take settings of the line.

        Args:
            tally: Counts of the line.
            run_id: Id of the line's run.
            deadlines_s: Seconds from a frame's arrival for which its answer is of use, by camera; infinite for no end.
        """
        # Replaced as a whole and never changed: the publishing thread may be on its way through it.
        self._listeners: tuple[Callable[[FrameEvent], None], ...] = ()
        self._listening = threading.Lock()
        self.sink_workers: Mapping[str, SinkWorker] = {}
        self._tally, self._run_id, self._deadlines_s = tally, run_id, deadlines_s

    def listen(self, listener: Callable[[FrameEvent], None]) -> Callable[[], None]:
        """Call a function with each event; see `Line.listen`."""
        with self._listening:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._listening:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return end

    def publish_answer(self, arrival: Arrival, recognizer: Recognizer, result: Result) -> None:
        """Publish the answer to a frame."""
        latency_s = time.monotonic() - arrival.arrived
        event = record_answer(arrival.frame, arrival.camera, self._run_id, recognizer, result, latency_s * 1000)
        if latency_s > self._deadlines_s[arrival.camera]:
            self._tally.add(arrival.camera, "overdue")
        self._publish(event)
        self._tally.move(arrival.camera, "waiting", event.record.outcome)

    def publish_failure(self, arrival: Arrival, error: Exception) -> None:
        """Publish that a frame cannot be answered."""
        frame = arrival.frame
        record = self._failed(arrival.camera, frame.source, frame.sequence, frame.timestamp, str(error))
        self._publish(FrameEvent(record, frame))
        self._tally.move(arrival.camera, "waiting", "failed")

    def publish_unreadable(self, frame: UnreadableFrame) -> None:
        """Publish that a camera could not read a frame."""
        record = self._failed(frame.camera, frame.source, frame.sequence, frame.timestamp, frame.error)
        self._publish(FrameEvent(record))
        self._tally.move(frame.camera, "waiting", "failed")

    def _failed(self, camera: str, source: str, sequence: int, timestamp: float, error: str) -> Record:
        return Record(
            outcome="failed",
            camera=camera,
            source=source,
            sequence=sequence,
            run=self._run_id,
            timestamp=timestamp,
            error=error,
        )

    def _publish(self, event: FrameEvent) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 (the user's own code: the line goes on)
                self._tally.add(LINE, "callback_errors")
                record = event.record
                extra = {"event": "callback_failed", "camera": record.camera, "sequence": record.sequence}
                text = "a callback raised an error at frame %s of camera %s: %s"
                _log.error(text, record.sequence, record.camera, error, extra=extra)
        for worker in self.sink_workers.values():
            worker.put(event)
