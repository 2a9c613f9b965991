"""A batch whose answers may still be on their way."""

from collections.abc import Callable
from dataclasses import dataclass

from partsight.runtime.core import ProcessBound
from partsight.runtime.recognition.results import Answer, Result, Stages


@dataclass(frozen=True)
class BatchAnswers:
    """The answers to a batch, the time of each stage, and when they were ready, by `time.perf_counter`."""

    answers: list[Answer]
    stages: Stages
    ready_at: float


class StartedBatch(ProcessBound):
    """A batch that went through the network or to a server, while its answers may still be on their way."""

    def __init__(self, pending: Callable[[], BatchAnswers], started_at: float) -> None:
        """Store the batch.

        Args:
            pending: Function that waits for the answers to its frames.
            started_at: Start of the call, by `time.perf_counter`.
        """
        self._pending: Callable[[], BatchAnswers] | None = pending
        self._started_at = started_at
        self._results: list[Result] = []

    def wait(self) -> list[Result]:
        """Wait for the results, and return them in the order of the frames. Call it from one thread at a time.

        Raises:
            PackageError: A golden image is damaged.
            RemoteError: The server is lost, too slow, or answers wrongly.
        """
        if self._pending is not None:
            self._results = self._timed(self._pending())
            self._pending = None
        return self._results

    def _timed(self, found: BatchAnswers) -> list[Result]:
        latency_ms = (found.ready_at - self._started_at) * 1000  # the caller may wait for them later
        return [Result.of(answer, latency_ms, found.stages) for answer in found.answers]
