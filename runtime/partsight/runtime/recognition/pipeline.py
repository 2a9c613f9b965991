"""The pipeline of a recogniser: frames are prepared, go through the network, and are compared with golden images."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np

from partsight.runtime.core import PartsightError, Pixels
from partsight.runtime.images import checked_frames
from partsight.runtime.inference import Session
from partsight.runtime.matching import usable_cores
from partsight.runtime.package import Manifest
from partsight.runtime.recognition.batch import Preparer, late
from partsight.runtime.recognition.decision import Answer, decide, decide_matched
from partsight.runtime.recognition.loading import Comparison
from partsight.runtime.recognition.results import Chunk, Started

Value = TypeVar("Value")


class _Threads(ThreadPoolExecutor):
    """Threads that start no more work once the main thread has ended, and say so in a PartsightError."""

    def submit(self, work: Callable[..., Value], /, *args: Any, **kwargs: Any) -> Future[Value]:
        try:
            return super().submit(work, *args, **kwargs)
        except RuntimeError as error:
            raise PartsightError("the program is ending; recognise before its main thread ends, not after") from error


class Pipeline:
    """All that answers need, in one: who holds it can finish a call though its recogniser is closed. Thread-safe.

    Attributes:
        session: the network.
        comparison: with golden images; None for the network's answer alone.
    """

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        comparison: Comparison | None,
        *,
        batch_size: int,
        top: int,
    ) -> None:
        """Start the threads.

        Args:
            session: the network, loaded.
            manifest: its package's.
            comparison: see the class.
            batch_size: the most frames in one run of the network.
            top: how many candidates an answer names.
        """
        self.session, self.comparison = session, comparison
        self._labels, self._spec = manifest.labels, manifest.preprocess
        self._batch_size, self._top = batch_size, top
        specs = [self._spec]
        if comparison is not None:
            specs.append(comparison.matching.spec.preprocess(self._spec))
        self._workers = _Threads(usable_cores(), "partsight")
        self._comparing = _Threads(1, "partsight-compare")
        self._preparer = Preparer(specs, batch_size, self._workers)

    @property
    def ahead(self) -> int:
        """How many batches are begun before one is waited for.

        A network on the CPU takes all cores, and so does matching. But each leaves them idle now and then, which the
        other uses: batches that overlap are answered faster, one alone is not.
        """
        return 1 if self.session.provider.on_card or self.comparison is not None else 0

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
            find = partial(self._decide, chunk, threshold)
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

    def preload(self, wanted: Callable[[], bool]) -> None:
        """Read bank and golden images into memory while they are wanted; see `Recognizer.preload`.

        Raises:
            PackageError: a golden image is damaged or gone.
        """
        if self.comparison is not None:
            self.comparison.preload(wanted)

    def _decide(self, chunk: Chunk, threshold: float) -> tuple[list[Answer], float]:
        """Return the answers to the frames of a batch, and when they were ready, by `time.perf_counter`."""
        score, comparison = chunk.inference.score, self.comparison
        if comparison is None:
            answers = decide(score, self._labels, threshold, self._top)
        else:
            matches = comparison.matcher.match(chunk.prepared.wait()[1], score)
            answers = decide_matched(matches, comparison.matching.spec, self._labels, threshold, self._top)
        return answers, time.perf_counter()
