"""Preparing batches: by several threads, ahead of the network, into buffers that are used again."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

import numpy as np

from partsight.runtime.core import Pixels
from partsight.runtime.images import PreprocessSpec, check_frames, preprocess_into, preprocess_sizes

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

    def __init__(self, specs: Sequence[PreprocessSpec], batch_size: int, workers: Executor) -> None:
        """Take what all batches share.

        Args:
            specs: the network's preprocessing, and others for the same frames, see `preprocess_sizes`.
            batch_size: the most frames of a batch.
            workers: threads that share the frames of a batch.
        """
        self._specs = specs
        self._batch_size = batch_size
        self._workers = workers
        self._buffers: deque[list[Pixels]] = deque()  # append and pop are atomic: threads share it without a lock

    def start(self, frames: Sequence[Pixels], sizes: int = 1) -> "Prepared":
        """Begin to prepare at most `batch_size` frames, and return at once if they are large.

        Args:
            frames: as for `preprocess`.
            sizes: for how many of the specs, the first.

        Raises:
            FrameError: as `preprocess`, before the first frame is worked on.
        """
        buffers, specs = self._take(), self._specs[:sizes]
        batches = [buffer[: len(frames)] for buffer in buffers[:sizes]]
        if len(frames) < 2 or sum(getattr(frame, "nbytes", 0) for frame in frames) < SHARED_BYTES:
            preprocess_sizes(frames, specs, batches)
            return Prepared(batches, buffers, self._buffers, [])
        pending = [
            self._workers.submit(preprocess_into, frame, specs, [batch[place] for batch in batches])
            for place, frame in enumerate(check_frames(frames, specs[0]))
        ]
        return Prepared(batches, buffers, self._buffers, pending)

    def _take(self) -> list[Pixels]:
        try:
            return self._buffers.pop()
        except IndexError:
            return [np.empty((self._batch_size, spec.height, spec.width, 3), np.uint8) for spec in self._specs]


class Prepared:
    """A batch that is being prepared."""

    def __init__(
        self,
        batches: list[Pixels],
        buffers: list[Pixels],
        free: deque[list[Pixels]],
        pending: Sequence[Future[None]],
    ) -> None:
        self._batches, self._buffers, self._free, self._pending = batches, buffers, free, pending

    def wait(self) -> list[Pixels]:
        """Return (frames, height, width, 3) uint8 BGR for each size when all are prepared; of use until `release`."""
        for done in self._pending:
            done.result()
        return self._batches

    def release(self) -> None:
        """Give the buffers back for the next batch. Where `wait` was not reached they are left to the collector."""
        self._free.append(self._buffers)
