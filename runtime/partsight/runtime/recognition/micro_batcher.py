"""The micro-batcher: it answers the frames of several callers together, before a deadline."""

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
    """A frame that waits for its answer, and its arrival by `time.perf_counter`."""

    frame: Pixels
    arrived: float
    answer: "Future[Result]"


class MicroBatcher(ProcessBound):
    """Gathers the frames of several callers into batches, which a recogniser answers faster than one by one.

    A frame waits for others at most `max_wait_ms`, or until the batch before it is answered. Frames are answered in the
    order of their arrival, and each caller gets the answer to its own frame. Use it as a context manager, or call
    `close`. Thread-safe.

    Example:
        >>> with Recognizer("line3.partsight") as recognizer, MicroBatcher(recognizer, max_wait_ms=3) as batcher:
        ...     part = batcher.recognize(frame)  # in each camera's own thread
    """

    def __init__(self, recognizer: Recognizer, max_wait_ms: float = 5.0, max_waiting: int | None = None) -> None:
        """Start the thread that answers.

        Args:
            recognizer: Recogniser; its `batch_size` is the most frames of a batch. `close` does not close it.
            max_wait_ms: Most milliseconds that the first frame of a batch waits for others; 0 to wait for none.
            max_waiting: Most frames that wait; `submit` blocks if there are more, except within a callback of an
                answer. None for four batches.

        Raises:
            ValueError: A number is out of bounds.
            TypeError: The object is no recogniser.
            PartsightError: The recogniser is closed.
        """
        check_recognizer(recognizer)
        self._max_waiting = 4 * recognizer.batch_size if max_waiting is None else max_waiting
        if not max_wait_ms >= 0 or self._max_waiting < 1:
            raise ValueError(
                f"max_wait_ms is {max_wait_ms} and max_waiting {self._max_waiting}; expected at least 0 and at least 1"
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
        """Submit a frame. Blocks while too many frames wait, but never within a callback of an answer.

        Args:
            frame: Frame as for `Recognizer.recognize`. It is not copied: do not change it before the answer is ready.

        Returns:
            The answer to come; its `latency_ms` counts from this call. It can be cancelled until its batch starts.

        Raises:
            FrameError: The frame is not such an array as `Recognizer.recognize` takes.
            PartsightError: The batcher or its recogniser is closed.
        """
        arrived = time.perf_counter()
        self._recognizer.check_open()
        check_frame(frame, self._recognizer.manifest.preprocess)  # now: later it would fail its whole batch
        answer: Future[Result] = Future()
        with self._changed:
            if not self._is_own_thread():  # it would wait for itself to make room
                self._changed.wait_for(lambda: self._is_closed or len(self._waiting) < self._max_waiting)
            self._check_open()
            self._waiting.append(_Waiting(frame, arrived, answer))
            self._changed.notify_all()
        return answer

    def recognize(self, frame: Pixels) -> Result:
        """Recognise the part in one frame, together with the frames of other callers; see `submit`.

        Args:
            frame: Frame as for `submit`.

        Raises:
            FrameError: As for `submit`.
            PackageError: A golden image is damaged.
            PartsightError: The batcher is closed, or a callback of an answer makes this call.
        """
        if self._is_own_thread():
            raise PartsightError(
                "a callback of an answer called MicroBatcher.recognize, and other answers wait for the callback; call "
                "submit there, or do the work in a thread of your own"
            )
        return self.submit(frame).result()

    def close(self) -> None:
        """Answer the submitted frames, then stop. Later calls raise PartsightError."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if not self._is_own_thread():
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
            started = [waiting for waiting in batch if waiting.answer.set_running_or_notify_cancel()]
            if started:
                self._answer(started)

    def _next_batch(self) -> list[_Waiting]:
        """Wait until a batch is full or due; return an empty batch if the batcher is closed and no frame waits."""
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

    def _is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        try:
            results = self._recognizer.recognize_batch([waiting.frame for waiting in batch])
        except PackageError as error:  # a damaged golden image fails only the frames that need it
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for waiting in batch:
                self._answer([waiting])
            return
        except BaseException as error:  # noqa: BLE001 (the callers wait for any error)
            for waiting in batch:
                waiting.answer.set_exception(error)
            return
        ready = time.perf_counter()
        for waiting, result in zip(batch, results, strict=True):
            waiting.answer.set_result(replace(result, latency_ms=(ready - waiting.arrived) * 1000))
