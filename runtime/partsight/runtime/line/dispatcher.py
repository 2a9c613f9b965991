"""The answerer: takes frames from the inbox, has them recognised together, and tells of each."""

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from partsight.runtime.core import PartsightError, ProviderError
from partsight.runtime.line.counters import LINE, Tally
from partsight.runtime.line.frame_queue import Arrival, Failure, FrameQueue
from partsight.runtime.line.sink_worker import SinkWorker
from partsight.runtime.recognition import Recognizer, Result
from partsight.runtime.sinks import FrameEvent, Record, answered

THREAD = "partsight-line"

_Tell = Callable[[], None]

_log = logging.getLogger("partsight.line")


class Dispatcher:
    """Answers the frames of a line, in the order in which the inbox gives them.

    Batches overlap where their frames wait for their turn anyway, as under any policy but `latest`: one is in the
    network while that before it is compared with golden images and published. More frames a second are answered then,
    each of them later.

    Attributes:
        recognizer: answers from the next batch on.
        listeners: called with each result, by one thread.
        outboxes: take each result.
    """

    def __init__(
        self, recognizer: Recognizer, inbox: FrameQueue, tally: Tally, run_id: str, takts_s: Mapping[str, float]
    ) -> None:
        """Take what answers.

        Args:
            recognizer: see there.
            inbox: where frames come from.
            tally: of the line.
            run_id: of the line.
            takts_s: by camera, how long an answer is of use; none for as long as it takes.
        """
        self.recognizer = recognizer
        self.listeners: list[Callable[[FrameEvent], None]] = []
        self.outboxes: Mapping[str, SinkWorker] = {}
        self._inbox, self._tally, self._run_id, self._takts_s = inbox, tally, run_id, takts_s
        self._jobs: queue.Queue[_Tell | None] = queue.Queue()
        self._error: BaseException | None = None

    def run(self, stop: Callable[[], None]) -> None:
        """Answer until no more frames will come; raises what ends the line.

        Args:
            stop: lets no more come; called if telling fails while frames are waited for.
        """
        # A daemon: a program that ends without closing the line must not hang. No executor: its threads are none.
        teller = threading.Thread(target=self._tell_in_turn, args=(stop,), name=f"{THREAD}-tell", daemon=True)
        teller.start()
        try:
            while batch := self._inbox.take(self.recognizer.batch_size):
                overlaps = self._inbox.policy(batch[0].camera).name != "latest"  # the same of the whole batch
                for tell in self._serve(batch, overlaps):
                    self._then(tell, overlaps)
            self._wait()
        finally:
            self._jobs.put(None)
            teller.join()

    def _serve(self, batch: Sequence[Arrival | Failure], overlaps: bool) -> Iterator[_Tell]:
        """Run the network on frames together, and yield what tells of them; of unreadable ones in their turn."""
        frames: list[Arrival] = []
        for item in batch:
            if isinstance(item, Arrival):
                if not self._is_late(item):
                    frames.append(item)
                continue
            if frames:
                yield self._start(frames, overlaps)
                frames = []
            yield partial(self._tell_failure, item)
        if frames:
            yield self._start(frames, overlaps)

    def _is_late(self, arrival: Arrival) -> bool:
        late = time.monotonic() - arrival.arrived > self._takts_s.get(arrival.camera, math.inf)
        if late:
            self._tally.move(arrival.camera, "waiting", "late")
        return late

    def _start(self, batch: Sequence[Arrival], overlaps: bool) -> _Tell:
        recognizer = self.recognizer  # one for the whole batch, whatever is swapped meanwhile
        images = [arrival.frame.image for arrival in batch]
        results: Callable[[], list[Result]] = partial(recognizer.recognize_batch, images)
        if overlaps and len(images) <= recognizer.batch_size:  # more, if one of a smaller size was swapped in
            try:
                results = recognizer.start_batch(images).wait
            except ProviderError:
                raise
            except PartsightError:
                return partial(self._tell_each, batch)
        return partial(self._tell_all, batch, recognizer, results)

    def _then(self, tell: _Tell, overlaps: bool) -> None:
        """Tell when those before are told, and return at once if the next may be in the network meanwhile."""
        self._wait()
        if overlaps:
            self._jobs.put(tell)
        else:
            tell()

    def _wait(self) -> None:
        """Wait until all are told; raises what failed there."""
        self._jobs.join()
        if self._error is not None:
            raise self._error

    def _tell_in_turn(self, stop: Callable[[], None]) -> None:
        while (tell := self._jobs.get()) is not None:
            try:
                tell()
            except BaseException as error:  # noqa: BLE001 (a thread has no caller: `run` raises it)
                self._error = error
                stop()
            finally:
                self._jobs.task_done()

    def _tell_all(self, batch: Sequence[Arrival], recognizer: Recognizer, results: Callable[[], list[Result]]) -> None:
        try:
            found = results()
        except ProviderError:
            raise  # no frame is to blame, and none would be answered any more
        except PartsightError:
            self._tell_each(batch)
            return
        for arrival, result in zip(batch, found, strict=True):
            self._tell(arrival, recognizer, result)

    def _tell_each(self, batch: Sequence[Arrival]) -> None:
        """Answer frames one by one, since one of them is to blame for what went wrong: the others are answered."""
        for arrival in batch:
            self._tell_alone(arrival)

    def _tell_alone(self, arrival: Arrival) -> None:
        recognizer = self.recognizer
        try:
            result = recognizer.recognize(arrival.frame.image)
        except ProviderError:
            raise
        except PartsightError as error:
            if recognizer is not self.recognizer:
                self._tell_alone(arrival)  # it was swapped and closed meanwhile
            else:
                self._tell_failed(arrival, error)
            return
        self._tell(arrival, recognizer, result)

    def _tell(self, arrival: Arrival, recognizer: Recognizer, result: Result) -> None:
        latency_s = time.monotonic() - arrival.arrived
        event = answered(arrival.frame, arrival.camera, self._run_id, recognizer, result, latency_s * 1000)
        if latency_s > self._takts_s.get(arrival.camera, math.inf):
            self._tally.add(arrival.camera, "overdue")
        self._publish(event)
        self._tally.move(arrival.camera, "waiting", event.record.outcome)

    def _tell_failed(self, arrival: Arrival, error: Exception) -> None:
        frame = arrival.frame
        record = self._failed(arrival.camera, frame.source, frame.sequence, frame.timestamp, str(error))
        self._publish(FrameEvent(record, frame))
        self._tally.move(arrival.camera, "waiting", "failed")

    def _tell_failure(self, failure: Failure) -> None:
        camera, source = failure.camera, failure.source
        self._publish(FrameEvent(self._failed(camera, source, failure.sequence, failure.timestamp, failure.error)))
        self._tally.move(camera, "waiting", "failed")

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
        for listener in self.listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 (the user's own code: the line goes on)
                self._tally.add(LINE, "callback_errors")
                record = event.record
                extra = {"event": "callback_failed", "camera": record.camera, "sequence": record.sequence}
                _log.error("a callback raised at frame %s: %s", record.sequence, error, extra=extra)
        for outbox in self.outboxes.values():
            outbox.put(event)
