"""The micro-batcher: several callers, one frame each, answered together under a deadline."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Self

from partsight.runtime.core import PackageError, PartsightError, Pixels, ProcessBound, check_recognizer
from partsight.runtime.images import check_frame
from partsight.runtime.recognition.recognizer import Recognizer
from partsight.runtime.recognition.results import Result


@dataclass(frozen=True)
class _Waiting:
    """A frame that waits for its answer, and when it came."""

    frame: Pixels
    arrived: float
    answer: "Future[Result]"


class MicroBatcher(ProcessBound):
    """Gathers the frames of several callers into batches, which a recogniser answers faster than one by one.

    A frame waits for others at most `max_wait_ms`, and as long as the batch before it takes. Frames are answered in the
    order in which they came, and each caller gets the answer to its own. Use it as a context manager, or call `close`.
    Thread-safe.

    Example:
        >>> with Recognizer("line3.partsight") as recognizer, MicroBatcher(recognizer, max_wait_ms=3) as batcher:
        ...     part = batcher.recognize(frame)  # in each camera's own thread
    """

    def __init__(self, recognizer: Recognizer, max_wait_ms: float = 5.0, max_waiting: int | None = None) -> None:
        """Start.

        Args:
            recognizer: whose `batch_size` is the most frames of a batch. It is not closed with the batcher.
            max_wait_ms: how long the first frame of a batch waits for others; 0 for those that are there already.
            max_waiting: how many frames may wait; `submit` blocks where there are more, except within a callback of an
                answer. None for four batches.

        Raises:
            ValueError: a number is out of bounds.
            TypeError: it is no recogniser.
            PartsightError: the recogniser is closed.
        """
        check_recognizer(recognizer)
        self._most = 4 * recognizer.batch_size if max_waiting is None else max_waiting
        if not max_wait_ms >= 0 or self._most < 1:
            raise ValueError(
                f"max_wait_ms is {max_wait_ms} and max_waiting {self._most}; expected at least 0 and at least 1"
            )
        self._recognizer = recognizer
        self._max_wait_s = min(max_wait_ms / 1000, threading.TIMEOUT_MAX)
        self._waiting: deque[_Waiting] = deque()
        self._is_closed = False
        self._changed = threading.Condition()
        # A daemon: a program that ends without `close` must not hang.
        self._thread = threading.Thread(target=self._serve, name="partsight-batcher", daemon=True)
        self._thread.start()

    def submit(self, frame: Pixels) -> "Future[Result]":
        """Hand in a frame; blocks while too many wait, but never within a callback of an answer.

        Args:
            frame: as for `Recognizer.recognize`. It is not copied: leave it as it is until the answer is there.

        Returns:
            The answer to come; its `latency_ms` counts from this call. Cancelling it works until its batch begins.

        Raises:
            FrameError: it is not such an array as `Recognizer.recognize` takes.
            PartsightError: the batcher or its recogniser is closed.
        """
        arrived = time.perf_counter()
        self._recognizer.check_open()
        check_frame(frame, self._recognizer.manifest.preprocess)  # now: it must not fail the frames beside it
        answer: Future[Result] = Future()
        with self._changed:
            if not self._is_its_own_thread():  # which would wait for itself to make room
                self._changed.wait_for(lambda: self._is_closed or len(self._waiting) < self._most)
            self._check_open()
            self._waiting.append(_Waiting(frame, arrived, answer))
            self._changed.notify_all()
        return answer

    def recognize(self, frame: Pixels) -> Result:
        """Recognise the part in one frame, together with those of other callers; see `submit`.

        Raises:
            FrameError: as `submit`.
            PackageError: a golden image is damaged.
            PartsightError: the batcher is closed, or this is called within a callback of an answer.
        """
        if self._is_its_own_thread():
            raise PartsightError(
                "MicroBatcher.recognize was called within a callback of an answer, which other answers wait for; use "
                "submit there, or hand the work to a thread of your own"
            )
        return self.submit(frame).result()

    def close(self) -> None:
        """Answer what was handed in, then stop. Calls after it raise PartsightError."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if not self._is_its_own_thread():
            self._thread.join()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise PartsightError("this MicroBatcher is closed; create a new one")

    def _serve(self) -> None:
        while batch := self._next_batch():
            begun = [waiting for waiting in batch if waiting.answer.set_running_or_notify_cancel()]
            if begun:
                self._answer(begun)

    def _next_batch(self) -> list[_Waiting]:
        """Wait for a batch to be full or due; return none when closed and all are answered."""
        size = self._recognizer.batch_size
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if not self._waiting:
                return []
            due = self._waiting[0].arrived + self._max_wait_s
            self._changed.wait_for(
                lambda: len(self._waiting) >= size or self._is_closed, max(0.0, due - time.perf_counter())
            )
            batch = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
            self._changed.notify_all()
        return batch

    def _is_its_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            results = self._recognizer.recognize_batch([waiting.frame for waiting in batch])
        except PackageError as error:  # a golden image is damaged, which concerns the frames that need it
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for waiting in batch:
                self._answer([waiting])
            return
        except BaseException as error:  # noqa: BLE001 (whatever it is, the callers wait for it)
            for waiting in batch:
                waiting.answer.set_exception(error)
            return
        ready = time.perf_counter()
        for waiting, result in zip(batch, results, strict=True):
            waiting.answer.set_result(replace(result, latency_ms=(ready - waiting.arrived) * 1000))
