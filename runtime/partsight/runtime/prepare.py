"""Preparing batches: by several threads, ahead of the network, into buffers that are used again."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

import numpy as np

from partsight.runtime.images import Pixels
from partsight.runtime.preprocess import PreprocessSpec, preprocess

SHARED_BYTES = 2**20
"""From so many bytes of frames on, handing them to threads costs less than it saves."""


Item = TypeVar("Item")


def late(items: Iterable[Item], count: int) -> Iterator[Item]:
    """Yield items `count` late: so many more are begun before one is waited for."""
    begun: deque[Item] = deque()
    for item in items:
        begun.append(item)
        if len(begun) > count:
            yield begun.popleft()
    yield from begun


class Preparer:
    """Prepares the batches of one recogniser. Thread-safe."""

    def __init__(self, spec: PreprocessSpec, batch_size: int, workers: Executor) -> None:
        """Take what all batches share.

        Args:
            spec: the package's preprocessing.
            batch_size: the most frames of a batch.
            workers: threads that share the frames of a batch.
        """
        self._spec = spec
        self._batch_size = batch_size
        self._workers = workers
        self._buffers: deque[Pixels] = deque()  # append and pop are atomic: threads share it without a lock

    def start(self, frames: Sequence[Pixels]) -> "Prepared":
        """Begin to prepare at most `batch_size` frames, and return at once if they are large.

        Raises:
            FrameError: as `preprocess`; for large frames `Prepared.wait` raises it.
        """
        buffer = self._take()
        if len(frames) < 2 or sum(getattr(frame, "nbytes", 0) for frame in frames) < SHARED_BYTES:
            preprocess(frames, self._spec, buffer)
            return Prepared(buffer, len(frames), self._buffers, [])
        pending = [
            self._workers.submit(preprocess, [frame], self._spec, buffer[place : place + 1])
            for place, frame in enumerate(frames)
        ]
        return Prepared(buffer, len(frames), self._buffers, pending)

    def _take(self) -> Pixels:
        try:
            return self._buffers.pop()
        except IndexError:
            return np.empty((self._batch_size, self._spec.height, self._spec.width, 3), np.uint8)


class Prepared:
    """A batch that is being prepared."""

    def __init__(self, buffer: Pixels, count: int, buffers: deque[Pixels], pending: Sequence[Future[Pixels]]) -> None:
        self._buffer, self._count, self._buffers, self._pending = buffer, count, buffers, pending

    def wait(self) -> Pixels:
        """Return (frames, height, width, 3) uint8 BGR when all are prepared; of use until `release`."""
        for done in self._pending:
            done.result()
        return self._buffer[: self._count]

    def release(self) -> None:
        """Give the buffer back for the next batch. One whose `wait` was not reached is left to the collector."""
        self._buffers.append(self._buffer)
