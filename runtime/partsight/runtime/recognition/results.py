"""Results: the answers to a batch, and where their time went."""

from collections.abc import Callable
from dataclasses import dataclass

from partsight.runtime.core import PartsightError, ProcessBound
from partsight.runtime.inference import Inference
from partsight.runtime.recognition.batch import Prepared
from partsight.runtime.recognition.decision import Answer


@dataclass(frozen=True)
class Stages:
    """Milliseconds that the frames answered together with this one spent in each stage.

    Attributes:
        prepare_ms: brought to the network's size; what of it did not overlap the run of the batch before.
        network_ms: in the network.
        compare_ms: compared with golden images, where the package has them, and decided on.
    """

    prepare_ms: float
    network_ms: float
    compare_ms: float


@dataclass(frozen=True)
class Result(Answer):
    """An answer and how long it took.

    Attributes:
        latency_ms: milliseconds from the call to the moment when the answers to this frame and those before were ready.
        stages: where they went.
    """

    latency_ms: float
    stages: Stages


@dataclass(frozen=True)
class Chunk:
    """Frames that went through the network together; times in seconds, `done` by `time.perf_counter`."""

    prepared: Prepared
    inference: Inference
    prepare_s: float
    network_s: float
    done: float


class Started(ProcessBound):
    """A batch that has been through the network; its comparison with golden images may go on."""

    def __init__(self, chunk: Chunk, find: Callable[[], tuple[list[Answer], float]], started: float) -> None:
        """Take what `Recognizer` has of it.

        Args:
            chunk: the batch; what was prepared is given back with the results.
            find: returns the answers to its frames, and when the last was ready.
            started: when the call began; as all times here by `time.perf_counter`.
        """
        self._pending: tuple[Chunk, Callable[[], tuple[list[Answer], float]]] | None = chunk, find
        self._started = started
        self._results: list[Result] | None = None

    def wait(self) -> list[Result]:
        """Return the results, in the order of the frames, when all are there. By one thread at a time, whichever.

        Raises:
            PackageError: a golden image is damaged.
            PartsightError: it was so at an earlier call.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            self._results = self._timed(*pending)
        if self._results is None:
            raise PartsightError("this batch could not be answered, as an earlier call told; start it again")
        return self._results

    def _timed(self, chunk: Chunk, find: Callable[[], tuple[list[Answer], float]]) -> list[Result]:
        answers, done = find()  # with the next batch's network between, they are asked for later than they are there
        chunk.prepared.release()
        stages = Stages(chunk.prepare_s * 1000, chunk.network_s * 1000, (done - chunk.done) * 1000)
        latency_ms = (done - self._started) * 1000
        return [
            Result(answer.label, answer.score, answer.margin, answer.accepted, answer.top, latency_ms, stages)
            for answer in answers
        ]
