"""The dispatcher: takes frames from the queue, has them recognised together, and publishes each result in order."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from partsight.runtime.core import PartsightError, ProviderError, RemoteError
from partsight.runtime.line.counters import LINE, Tally
from partsight.runtime.line.frame_queue import Arrival, FrameQueue
from partsight.runtime.line.publisher import ResultPublisher
from partsight.runtime.line.turn import Answered, Batch, Failed, Job, OneByOne, Turn, Unreadable
from partsight.runtime.recognition import Recognizer

DISPATCH_THREAD, PUBLISH_THREAD = "partsight-dispatch", "partsight-publish"

REST_S = 2.0
"""Seconds for which a recogniser without its server leaves all frames to the others: it would fail them in no time."""


class Dispatcher:
    """Answers the frames of a line in the order of its queue, with one recogniser or several at once.

    Each recogniser has a thread, which takes a batch when it is free. Under any policy but `latest` frames wait for
    their turn anyway, so the batches of a recogniser overlap: one is in the network while the one before it is compared
    with golden images and published. The line answers more frames a second then, each of them later.

    Batches are published in the order in which they left the queue, so that each camera's frames stay in order. A fast
    recogniser therefore waits for a slow one when it is two batches ahead.

    Attributes:
        recognizers: Recognisers that answer from the next batch on; `replace` replaces them all.
    """

    def __init__(
        self,
        recognizers: Sequence[Recognizer],
        frame_queue: FrameQueue,
        tally: Tally,
        publisher: ResultPublisher,
        deadlines_s: Mapping[str, float],
    ) -> None:
        """Take the parts of the line.

        Args:
            recognizers: Recognisers that answer first, one or more.
            frame_queue: Queue that frames come from.
            tally: Counts of the line.
            publisher: Publisher of each result.
            deadlines_s: Seconds from a frame's arrival for which its answer is of use, by camera; infinite for no end.
        """
        self.recognizers = tuple(recognizers)
        self._frame_queue, self._tally, self._publisher = frame_queue, tally, publisher
        self._deadlines_s = deadlines_s
        self._turns: queue.Queue[Turn | None] = queue.Queue()
        # Held while a turn is given: turns come in the order of the queue, and all before a swap have the old package.
        self._giving = threading.Lock()
        self._error: BaseException | None = None

    @property
    def recognizer(self) -> Recognizer:
        """The first of the recognisers."""
        return self.recognizers[0]

    def run(self, stop: Callable[[], None]) -> None:
        """Answer until no more frames will come; raises the error that ends the line.

        Args:
            stop: Function that stops all cameras; called when an error ends the line.
        """
        # Daemons: a program that ends without closing the line must not hang. Threads of an executor are no daemons.
        publishing = threading.Thread(target=self._publish_turns, args=(stop,), name=PUBLISH_THREAD, daemon=True)
        others = [
            threading.Thread(target=self._serve, args=(index,), name=f"{DISPATCH_THREAD}-{index}", daemon=True)
            for index in range(1, len(self.recognizers))
        ]
        for thread in (publishing, *others):
            thread.start()
        self._serve(0)
        for thread in others:
            thread.join()
        self._turns.put(None)
        publishing.join()
        if self._error is not None:
            raise self._error

    def replace(self, new: Sequence[Recognizer]) -> None:
        """Let other recognisers answer from the next batch on; close the old ones when their last batch is published.

        Args:
            new: As many recognisers as before.
        """
        with self._giving:
            old, self.recognizers = self.recognizers, tuple(new)
            turn = Turn(old[0], replaced=old)
            turn.jobs.set_result([])
            self._turns.put(turn)

    def close(self) -> None:
        """Close all recognisers. Call it when `run` has returned, or will never be called."""
        self._turns.put(None)
        self._publish_turns(lambda: None)  # closes recognisers that were replaced meanwhile
        for recognizer in self.recognizers:
            recognizer.close()

    def _serve(self, index: int) -> None:
        """Answer batches with one of the recognisers until no more frames will come, or an error ends the line."""
        try:
            self._answer(index)
        except BaseException as error:  # noqa: BLE001 (a thread has no caller: `run` raises it)
            turn = Turn(self.recognizer)
            turn.jobs.set_exception(error)
            self._turns.put(turn)

    def _answer(self, index: int) -> None:
        before: Turn | None = None
        while self._frame_queue.wait() and self._error is None:
            turn = self._take(index)
            if turn is None:  # another recogniser took the frames
                continue
            overlaps = self._frame_queue.policy(turn.batch[0].camera).name != "latest"  # the same for the whole batch
            try:
                jobs = list(self._start_jobs(turn, overlaps))
            except BaseException as error:  # noqa: BLE001 (`run` raises it, after the turns before it)
                turn.jobs.set_exception(error)
                return
            if before is not None:
                before.published.wait()
            is_lost = turn.is_lost or (before is not None and before.is_lost)
            before = turn
            turn.jobs.set_result(jobs)
            if not overlaps:
                turn.published.wait()
            if is_lost and len(self.recognizers) > 1:
                self._frame_queue.wait_for_end(REST_S)

    def _take(self, index: int) -> Turn | None:
        with self._giving:
            recognizer = self.recognizers[index]
            batch = self._frame_queue.take(recognizer.batch_size)
            if not batch:
                return None
            turn = Turn(recognizer, batch)
            self._turns.put(turn)
            return turn

    def _start_jobs(self, turn: Turn, overlaps: bool) -> Iterator[Job]:
        """Start the network on all frames together, and yield a job for each item of the batch, in order."""
        frames: list[Arrival] = []
        for item in turn.batch:
            if isinstance(item, Arrival):
                if not self._is_expired(item):
                    frames.append(item)
                continue
            if frames:
                yield self._start(turn, frames, overlaps)
                frames = []
            yield Unreadable(self._publisher, item)
        if frames:
            yield self._start(turn, frames, overlaps)

    def _is_expired(self, arrival: Arrival) -> bool:
        is_expired = time.monotonic() - arrival.arrived > self._deadlines_s[arrival.camera]
        if is_expired:
            self._tally.move(arrival.camera, "waiting", "expired")
        return is_expired

    def _start(self, turn: Turn, arrivals: Sequence[Arrival], overlaps: bool) -> Job:
        recognizer, frames = turn.recognizer, [arrival.frame.image for arrival in arrivals]
        try:
            pending = recognizer.start_batch(frames) if overlaps else Answered(recognizer.recognize_batch(frames))
        except ProviderError:
            raise  # no frame is at fault, and no other frame would be answered
        except RemoteError as error:
            turn.is_lost = True
            return Failed(self._publisher, arrivals, error)
        except PartsightError:
            return OneByOne(recognizer, self._publisher, arrivals)
        return Batch(turn, self._publisher, arrivals, pending)

    def _publish_turns(self, stop: Callable[[], None]) -> None:
        """Publish turn by turn; after an error none, for their frames would come after a gap."""
        while (turn := self._turns.get()) is not None:
            try:
                for job in turn.jobs.result() if self._error is None else ():
                    job.publish()
                self._count_server(turn)
            except BaseException as error:  # noqa: BLE001 (a thread has no caller: `run` raises it)
                self._error = error
                stop()
            finally:
                turn.published.set()
                for recognizer in turn.replaced:
                    recognizer.close()

    def _count_server(self, turn: Turn) -> None:
        if retries := turn.recognizer.take_retries():
            self._tally.add(LINE, "remote_retries", retries)
        if turn.is_lost:
            self._tally.add(LINE, "remote_failures")
