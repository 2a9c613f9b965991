"""The pipeline of a recogniser: frames are prepared, go through the network, and are compared with golden images."""

import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from partsight.runtime.decision import Answer, decide, decide_verified
from partsight.runtime.images import Pixels
from partsight.runtime.loading import Comparison
from partsight.runtime.manifest import Manifest
from partsight.runtime.prepare import Preparer, late
from partsight.runtime.preprocess import checked_frames
from partsight.runtime.results import Chunk, Started
from partsight.runtime.session import FloatArray, Session
from partsight.runtime.verification import verify

if TYPE_CHECKING:
    from partsight.runtime.comparers.pool import Comparers


class Pipeline:
    """All that answers need, in one: who holds it can finish a call though its recogniser is closed. Thread-safe.

    Attributes:
        session: the network.
        comparison: with golden images; None for the network's answer alone.
        comparers: processes that compare beside this one; None where it does so alone.
    """

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        comparison: Comparison | None,
        *,
        batch_size: int,
        top: int,
        comparers: int,
    ) -> None:
        """Start the threads and processes.

        Args:
            session: the network, loaded.
            manifest: its package's.
            comparison: see the class.
            batch_size: the most frames in one run of the network.
            top: how many candidates an answer names.
            comparers: how many processes.

        Raises:
            ComparerError: one does not start.
        """
        self.session, self.comparison = session, comparison
        self._labels, self._spec = manifest.labels, manifest.preprocess
        self._batch_size, self._top = batch_size, top
        specs = [self._spec]
        if comparison is not None:
            specs.append(comparison.verification.spec.preprocess(self._spec))
        self._workers = ThreadPoolExecutor(max(_usable_cores(), comparers + 1), "partsight")
        self._comparing = ThreadPoolExecutor(1, "partsight-compare")
        self._preparer = Preparer(specs, batch_size, self._workers)
        self.comparers = _start_comparers(comparers, comparison, session.classes) if comparison and comparers else None
        if self.comparers is not None:
            weakref.finalize(self, self.comparers.close)

    @property
    def ahead(self) -> int:
        """How many batches are begun before one is waited for.

        A network on the CPU takes all cores, and so do comparers. Where this process compares, Python takes one step at
        a time, and the network of the next batch gets the cores that are left.
        """
        compares_here = self.comparison is not None and self.comparers is None
        return 1 if self.session.provider.on_card or compares_here else 0

    def warm_up(self) -> None:
        """Run what the line will run, so that its first frame is as fast as its last.

        On a CPU one frame shows that the model works; a first batch is hardly slower than others, and a line that
        starts again waits for each run. On a card each size has work of its own done in its first run.
        """
        for size in {1, self._batch_size} if self.session.provider.on_card else {1}:
            self.session.run(np.zeros((size, self._spec.height, self._spec.width, 3), np.uint8))

    def start(self, frames: Sequence[Pixels], threshold: float, ahead: int) -> Iterator[Started]:
        """Run the network on batches; compare the frames of each meanwhile if so many more are begun.

        Raises:
            FrameError: see `Recognizer.recognize_batch`.
        """
        started = time.perf_counter()
        for chunk in self.chunks(frames, 1 if self.comparison is None else 2):
            find = partial(_listed, self._decide(chunk, threshold))
            yield Started(chunk, self._comparing.submit(find).result if ahead else find, started)

    def chunks(self, frames: Sequence[Pixels], sizes: int) -> Iterator[Chunk]:
        """Run the network on batches, each prepared while the one before it runs where that leaves a core.

        Whoever takes a chunk releases what was prepared. `sizes` is 2 if it is to be compared.

        Raises:
            FrameError: see `Recognizer.recognize_batch`.
        """
        if len(frames) > self._batch_size:  # else the preparer checks all before it works on the first
            for _ in checked_frames(frames, self._spec):
                pass
        # One after the other: of a sequence that reads its frames from files, not all may fit into memory.
        chunks = (frames[start : start + self._batch_size] for start in range(0, len(frames), self._batch_size))
        begun = ((time.perf_counter(), self._preparer.start(chunk, sizes)) for chunk in chunks)
        free = 0.0  # since when the network is: before that, preparing cost nobody any time
        for started, prepared in late(begun, self.ahead):
            batch = prepared.wait()[0]
            ready = time.perf_counter()
            inference = self.session.run(batch)
            done = time.perf_counter()
            yield Chunk(prepared, inference, ready - max(started, free), done - ready, done)
            free = done

    def hold(self, wanted: Callable[[], bool]) -> None:
        """Make golden images ready while they are wanted; see `Recognizer.hold`.

        Raises:
            PackageError: one is damaged or gone.
        """
        if self.comparison is not None:
            self.comparison.hold(wanted)
        if self.comparers is not None:
            self.comparers.wait_given()

    def close(self) -> None:
        """End the processes; calls under way come to their end."""
        if self.comparers is not None:
            self.comparers.close()

    def _decide(self, chunk: Chunk, threshold: float) -> Iterable[Answer]:
        """Return the answers to the frames of a batch, which are compared one by one when they are asked for.

        By one thread, that is: two take longer, since each operation of OpenCV gives Python's lock away and then waits
        for it. Comparers work side by side, and begin at once.
        """
        score, comparison, comparers = chunk.inference.score, self.comparison, self.comparers
        if comparison is None:
            return decide(score, self._labels, threshold, self._top)
        spec = comparison.verification.spec

        def answer(frame: Pixels, score: FloatArray) -> Answer:
            if comparers is None:
                verified = verify(frame, score, comparison.references, spec, threshold)
            else:
                verified = comparers.compare(frame, score, threshold)
            return decide_verified(verified, spec, self._labels, threshold, self._top)

        return (map if comparers is None else self._workers.map)(answer, chunk.prepared.wait()[1], score)


def _listed(answers: Iterable[Answer]) -> tuple[list[Answer], float]:
    """Return all answers, and when the last was ready, by `time.perf_counter`."""
    return list(answers), time.perf_counter()


def _start_comparers(count: int, comparison: Comparison, classes: int) -> "Comparers":
    from partsight.runtime.comparers.pool import Comparers  # noqa: PLC0415 (few need them, and a start waits for imports)

    return Comparers(count, comparison, classes)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
