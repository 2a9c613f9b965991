"""Batches of frames, resized by several threads while the network runs, into buffers that are used again."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

import numpy as np

from partsight.runtime.core import Pixels
from partsight.runtime.images import PreprocessSpec, check_frames, checked_frames, preprocess_into, preprocess_sizes

MIN_SHARED_BYTES = 2**20
"""Bytes of frames from which on sharing them among threads saves more time than it costs."""


Item = TypeVar("Item")


def prefetch(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Yield the items of an iterable, after `depth` more of them have been taken from it."""
    taken: deque[Item] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > depth:
            yield taken.popleft()
    yield from taken


class Preparer:
    """Prepares the batches of one recogniser. Thread-safe."""

    def __init__(self, specs: Sequence[PreprocessSpec], batch_size: int, workers: Executor) -> None:
        """Store the settings that all batches share.

        Args:
            specs: Preprocessing of the network, then of other inputs for the same frames; see `preprocess_sizes`.
            batch_size: Most frames of a batch.
            workers: Threads that share the frames of a batch.
        """
        self._specs = specs
        self._batch_size = batch_size
        self._workers = workers
        self._buffers: deque[list[Pixels]] = deque()  # append and pop are atomic: threads share it without a lock

    def start(self, frames: Sequence[Pixels], sizes: int = 1) -> "Prepared":
        """Start to prepare at most `batch_size` frames; return at once if they are large.

        Args:
            frames: Frames as for `preprocess`.
            sizes: Number of the specs, from the first on, to prepare the frames for.

        Raises:
            FrameError: As `preprocess`, before the first frame is prepared.
        """
        buffers, specs = self._take(), self._specs[:sizes]
        batches = [buffer[: len(frames)] for buffer in buffers[:sizes]]
        if len(frames) < 2 or sum(getattr(frame, "nbytes", 0) for frame in frames) < MIN_SHARED_BYTES:
            preprocess_sizes(frames, specs, batches)
            return Prepared(batches, buffers, self._buffers, [])
        pending = [
            self._workers.submit(preprocess_into, frame, specs, [batch[index] for batch in batches])
            for index, frame in enumerate(check_frames(frames, specs[0]))
        ]
        return Prepared(batches, buffers, self._buffers, pending)

    def batches(self, frames: Sequence[Pixels], sizes: int) -> Iterator[tuple[float, "Prepared"]]:
        """Start to prepare one batch after the other: a sequence that reads files may not fit into memory.

        Args:
            frames: Frames, of any number; all of them are checked before the first is prepared.
            sizes: As for `start`.

        Yields:
            The start by `time.perf_counter`, and the batch.

        Raises:
            FrameError: As `preprocess`.
        """
        if len(frames) > self._batch_size:  # else `start` checks all frames
            for _ in checked_frames(frames, self._specs[0]):
                pass
        for start in range(0, len(frames), self._batch_size):
            chunk = frames[start : start + self._batch_size]
            yield time.perf_counter(), self.start(chunk, sizes)

    def _take(self) -> list[Pixels]:
        try:
            return self._buffers.pop()
        except IndexError:
            return [np.empty((self._batch_size, spec.height, spec.width, 3), np.uint8) for spec in self._specs]


class Prepared:
    """A batch that threads prepare."""

    def __init__(
        self,
        batches: list[Pixels],
        buffers: list[Pixels],
        free: deque[list[Pixels]],
        pending: Sequence[Future[None]],
    ) -> None:
        self._batches, self._buffers, self._free, self._pending = batches, buffers, free, pending

    def wait(self) -> list[Pixels]:
        """Return the prepared frames when all are ready; valid until `release`.

        Returns:
            For each size, (frames, height, width, 3) uint8 BGR.
        """
        for done in self._pending:
            done.result()
        return self._batches

    def release(self) -> None:
        """Return the buffers for the next batch. After an error leave them to the garbage collector instead."""
        self._free.append(self._buffers)
