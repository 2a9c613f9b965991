"""The dispatcher: takes frames from the queue, has them recognised together, and publishes each result in order."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from partsight.runtime.core import PartsightError, ProviderError, RemoteError
from partsight.runtime.line.counters import Tally
from partsight.runtime.line.frame_queue import Arrival, FrameQueue, UnreadableFrame
from partsight.runtime.line.publisher import ResultPublisher
from partsight.runtime.recognition import Recognizer, Result

DISPATCH_THREAD, PUBLISH_THREAD = "partsight-dispatch", "partsight-publish"


class _Pending(Protocol):
    """Answers that are asked for, such as those of `Recognizer.start_batch`."""

    def wait(self) -> list[Result]: ...


class _Job(Protocol):
    """Frames whose turn to be published comes."""

    def publish(self) -> None: ...


class Dispatcher:
    """Answers the frames of a line in the order of its queue.

    Under any policy but `latest` frames wait for their turn anyway, so their batches overlap: one is in the network
    while the one before it is compared with golden images and published. The line answers more frames a second then,
    each of them later.

    Attributes:
        recognizer: Recogniser that answers from the next batch on.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        frame_queue: FrameQueue,
        tally: Tally,
        publisher: ResultPublisher,
        deadlines_s: Mapping[str, float],
    ) -> None:
        """Take the parts of the line.

        Args:
            recognizer: Recogniser that answers first.
            frame_queue: Queue that frames come from.
            tally: Counts of the line.
            publisher: Publisher of each result.
            deadlines_s: Seconds from a frame's arrival for which its answer is of use, by camera; infinite for no end.
        """
        self.recognizer = recognizer
        self._frame_queue, self._tally, self._publisher = frame_queue, tally, publisher
        self._deadlines_s = deadlines_s
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._error: BaseException | None = None

    def run(self, stop: Callable[[], None]) -> None:
        """Answer until no more frames will come; raises the error that ends the line.

        Args:
            stop: Function that stops all cameras; called if publishing fails while the dispatcher waits for frames.
        """
        # A daemon: a program that ends without closing the line must not hang. Threads of an executor are no daemons.
        publishing = threading.Thread(target=self._publish_jobs, args=(stop,), name=PUBLISH_THREAD, daemon=True)
        publishing.start()
        try:
            while batch := self._frame_queue.take(self.recognizer.batch_size):
                overlaps = self._frame_queue.policy(batch[0].camera).name != "latest"  # the same for the whole batch
                for job in self._start_jobs(batch, overlaps):
                    self._publish_next(job, overlaps)
            self._wait()
        finally:
            self._jobs.put(None)
            publishing.join()

    def _start_jobs(self, batch: Sequence[Arrival | UnreadableFrame], overlaps: bool) -> Iterator[_Job]:
        """Start the network on all frames together, and yield a job for each item of the batch, in order."""
        frames: list[Arrival] = []
        for item in batch:
            if isinstance(item, Arrival):
                if not self._is_expired(item):
                    frames.append(item)
                continue
            if frames:
                yield self._start(frames, overlaps)
                frames = []
            yield _Unreadable(self._publisher, item)
        if frames:
            yield self._start(frames, overlaps)

    def _is_expired(self, arrival: Arrival) -> bool:
        is_expired = time.monotonic() - arrival.arrived > self._deadlines_s[arrival.camera]
        if is_expired:
            self._tally.move(arrival.camera, "waiting", "expired")
        return is_expired

    def _start(self, batch: Sequence[Arrival], overlaps: bool) -> _Job:
        recognizer = self.recognizer  # one for the whole batch, even if another is swapped in meanwhile
        pending: _Pending = _Unstarted(recognizer, batch)
        if overlaps and len(batch) <= recognizer.batch_size:  # more, if one of a smaller size was swapped in
            try:
                pending = recognizer.start_batch([arrival.frame.image for arrival in batch])
            except ProviderError:
                raise
            except RemoteError as error:
                return _Failed(self._publisher, batch, error)
            except PartsightError:
                return _OneByOne(self, batch)
        return _Batch(self, self._publisher, batch, recognizer, pending)

    def _publish_next(self, job: _Job, overlaps: bool) -> None:
        """Publish after the jobs before it; return at once if the next batch may be in the network meanwhile."""
        self._wait()
        if overlaps:
            self._jobs.put(job)
        else:
            job.publish()

    def _wait(self) -> None:
        """Wait until all jobs are published; raises the error of one that failed."""
        self._jobs.join()
        if self._error is not None:
            raise self._error

    def _publish_jobs(self, stop: Callable[[], None]) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.publish()
            except BaseException as error:  # noqa: BLE001 (a thread has no caller: `run` raises it)
                self._error = error
                stop()
            finally:
                self._jobs.task_done()

    def answer_alone(self, arrival: Arrival) -> None:
        """Recognise one frame by itself and publish its answer or its failure."""
        while True:
            recognizer = self.recognizer
            try:
                result = recognizer.recognize(arrival.frame.image)
            except ProviderError:
                raise
            except PartsightError as error:
                if recognizer is not self.recognizer:  # it was swapped and closed meanwhile: ask the new one
                    continue
                self._publisher.publish_failure(arrival, error)
                return
            else:
                self._publisher.publish_answer(arrival, recognizer, result)
                return


@dataclass(frozen=True)
class _Unstarted:
    """A batch whose whole recognition happens in `wait`."""

    recognizer: Recognizer
    arrivals: Sequence[Arrival]

    def wait(self) -> list[Result]:
        return self.recognizer.recognize_batch([arrival.frame.image for arrival in self.arrivals])


@dataclass(frozen=True)
class _Batch:
    """Frames that one recogniser answers together."""

    dispatcher: Dispatcher
    publisher: ResultPublisher
    arrivals: Sequence[Arrival]
    recognizer: Recognizer
    pending: _Pending

    def publish(self) -> None:
        try:
            results = self.pending.wait()
        except ProviderError:
            raise  # no frame is at fault, and no other frame would be answered
        except RemoteError as error:  # no frame is at fault, and the server may answer the next batch
            _Failed(self.publisher, self.arrivals, error).publish()
            return
        except PartsightError:
            _OneByOne(self.dispatcher, self.arrivals).publish()
            return
        for arrival, result in zip(self.arrivals, results, strict=True):
            self.publisher.publish_answer(arrival, self.recognizer, result)


@dataclass(frozen=True)
class _OneByOne:
    """Frames of a batch that failed: one of them is at fault, and the others are answered."""

    dispatcher: Dispatcher
    arrivals: Sequence[Arrival]

    def publish(self) -> None:
        for arrival in self.arrivals:
            self.dispatcher.answer_alone(arrival)


@dataclass(frozen=True)
class _Failed:
    """Frames that nobody answers, because the server is lost: asking for each alone would only take longer."""

    publisher: ResultPublisher
    arrivals: Sequence[Arrival]
    error: RemoteError

    def publish(self) -> None:
        for arrival in self.arrivals:
            self.publisher.publish_failure(arrival, self.error)


@dataclass(frozen=True)
class _Unreadable:
    """A frame that its camera could not read."""

    publisher: ResultPublisher
    frame: UnreadableFrame

    def publish(self) -> None:
        self.publisher.publish_unreadable(self.frame)
