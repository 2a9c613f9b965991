"""The pipeline of a recogniser whose network and matching run on a server."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np

from partsight.runtime.core import PackageError, Pixels, ProviderError, RemoteError
from partsight.runtime.images import PreprocessSpec
from partsight.runtime.inference import Inference
from partsight.runtime.matching import Rule, usable_cores, via_size
from partsight.runtime.package import Manifest
from partsight.runtime.recognition.explanation import Explanation, explain
from partsight.runtime.recognition.matching_stage import MatchingStage
from partsight.runtime.recognition.preparer import Prepared, Preparer
from partsight.runtime.recognition.remote.check import check_top
from partsight.runtime.recognition.remote.contract import ASKED, PACKAGE_ID, Contract
from partsight.runtime.recognition.remote.session import RemoteSession
from partsight.runtime.recognition.remote.versions import find_version
from partsight.runtime.recognition.results import Stages
from partsight.runtime.recognition.started_batch import BatchAnswers, StartedBatch
from partsight.runtime.recognition.tensors import NETWORK_SCORE, AnswerCodec
from partsight.runtime.recognition.threads import Threads

_IN_FLIGHT = 4
"""Batches of one call that are on their way at a time: a server with several replicas works on all of them."""

_MAX_THREADS = 16
"""Most requests of one recogniser at a time, if several threads call it."""

_GRACE_S = 5.0
"""Seconds after the end of the last attempt after which a caller no longer waits."""

_OUTPUTS = tuple(spec.name for spec in ASKED)


@dataclass(frozen=True)
class _Job:
    """A batch that is on its way.

    Attributes:
        prepared: The frames, which may still be prepared.
        started_at: Start of their preparation, by `time.perf_counter`.
        ends_at: End of the last attempt, by `time.monotonic`.
        shift: Difference between the caller's threshold and the package's.
    """

    prepared: Prepared
    started_at: float
    ends_at: float
    shift: float


class RemotePipeline:
    """The running parts of a recogniser with a server. It has the methods of `Pipeline`. Thread-safe.

    Attributes:
        session: The model on the server.
        matching_stage: Golden images of the package, for explanations.
    """

    prefetch_depth = _IN_FLIGHT - 1

    def __init__(
        self,
        session: RemoteSession,
        manifest: Manifest,
        package_id: str,
        matching_stage: MatchingStage,
        *,
        batch_size: int,
        top: int,
    ) -> None:
        """Start the threads; `warm_up` asks the server.

        Args:
            session: The model on the server.
            manifest: Manifest of the package.
            package_id: Id of the package.
            matching_stage: Golden images of the package.
            batch_size: Most frames in one request.
            top: Number of candidates that an answer names.

        Raises:
            ProviderError: A server does not name as many candidates.
            PackageError: The package is of an earlier version, which no server runs.
        """
        check_top(top)
        self.session, self.matching_stage = session, matching_stage
        self._labels, self._batch_size, self._top = manifest.labels, batch_size, top
        sent = _sent(manifest.preprocess, matching_stage, package_id)
        compared = matching_stage.matching.spec.preprocess(manifest.preprocess)
        self._preparer = Preparer([sent, compared], batch_size, Threads(usable_cores(), "partsight"))
        self._threads = Threads(_MAX_THREADS, "partsight-remote")
        self._codec = AnswerCodec(manifest.labels, package_id)
        references = [len(manifest.reference_files(index)) for index in range(len(manifest.labels))]
        self._contract = Contract(
            str(session.address), (sent.height, sent.width), len(manifest.labels), references, package_id
        )
        self._version, self._has_score = session.address.version, False

    def warm_up(self) -> None:
        """Find the version of the model that has this package, and send a batch of the largest size.

        Raises:
            RemoteError: The server is away, has another model, or refuses such a batch.
            PackageError: No version of the model has this package.
        """
        facts = self.session.describe()
        self._contract.check_facts(facts)
        self._has_score = any(output.name == NETWORK_SCORE for output in facts.outputs)
        address = self.session.address
        self._version = find_version(address, address.version, facts, self._ids_of, self._contract.package_id)
        self._answer_tensors(self._black(self._batch_size), self.session.end_of_call())

    def start(self, frames: Sequence[Pixels], rule: Rule, depth: int) -> Iterator[StartedBatch]:  # noqa: ARG002
        """Send batches; yield each before its answers are there.

        Args:
            frames: Frames, of any number.
            rule: Least agreement that is accepted; only its threshold may differ from the package's.
            depth: As for `Pipeline.start`. It has no effect: another machine works, whatever this one waits for.

        Raises:
            FrameError: See `Recognizer.recognize_batch`.
        """
        own = self.matching_stage.matching.decision.threshold
        shift = _as_compared(rule.threshold) - _as_compared(own)
        started_at = time.perf_counter()
        for prepared_at, prepared in self._preparer.batches(frames, 1):
            job = _Job(prepared, prepared_at, self.session.end_of_call(), shift)
            yield StartedBatch(self._waiting(self._threads.submit(self._run, job), job.ends_at), started_at)

    def explain(self, frame: Pixels, rule: Rule) -> Explanation:
        """Return the answer to a frame, and why; see `Recognizer.explain`. This machine lays over the golden images.

        Raises:
            FrameError: The frame is not such an array as `Recognizer.recognize` takes.
            PackageError: A golden image is damaged or missing.
            RemoteError: The server is away, too slow, or answers wrongly.
            ProviderError: The model does not return the network's scores.
        """
        if not self._has_score:
            raise ProviderError(
                f"provider {self.session.address}: its model does not return {NETWORK_SCORE}, which an explanation "
                "needs; explain with a provider of this machine, such as cpu"
            )
        ((_, prepared),) = self._preparer.batches([frame], 2)
        sent, compared = prepared.wait()

        def read(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
            return self._contract.score(tensors, 1)

        ends_at = self.session.end_of_call()
        score = self.session.infer(self._version, sent, (NETWORK_SCORE, PACKAGE_ID), read, ends_at)
        shown = compared[0].copy()
        prepared.release()
        return explain(shown, score, self._labels, self.matching_stage, rule, self._top)

    def infer(self, frames: Sequence[Pixels]) -> Inference:  # noqa: ARG002
        """Refuse: a server returns no embeddings.

        Raises:
            ProviderError: Always.
        """
        raise ProviderError(
            f"provider {self.session.address}: a server returns answers, not embeddings; use a provider of this "
            "machine, such as cpu"
        )

    def _run(self, job: _Job) -> BatchAnswers:
        (batch, *_) = job.prepared.wait()
        ready_at = time.perf_counter()
        tensors = self._answer_tensors(batch, job.ends_at)
        job.prepared.release()
        done_at = time.perf_counter()
        answers = self._codec.decode(tensors, self._top, job.shift)
        times = (job.started_at, ready_at, done_at, time.perf_counter())
        stages = Stages(*((after - before) * 1000 for before, after in pairwise(times)))
        return BatchAnswers(answers, stages, times[-1])

    def _waiting(self, pending: Future[BatchAnswers], ends_at: float) -> Callable[[], BatchAnswers]:
        """Return a function that waits for a batch, with an end even if a network call has none."""

        def wait() -> BatchAnswers:
            try:
                return pending.result(max(0.0, ends_at - time.monotonic()) + _GRACE_S)
            except TimeoutError as error:
                raise RemoteError(
                    f"{self.session.address}: no answer within timeout_s={self.session.address.options.timeout_s:g}, "
                    "and the connection hangs: check the name server and the network"
                ) from error

        return wait

    def _answer_tensors(self, batch: Pixels, ends_at: float) -> Mapping[str, np.ndarray]:
        def read(tensors: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
            return self._contract.answers(tensors, len(batch))

        return self.session.infer(self._version, batch, _OUTPUTS, read, ends_at)

    def _ids_of(self, version: str) -> set[str]:
        """Return the ids of the packages with which a version of the model answers."""

        def read(tensors: Mapping[str, np.ndarray]) -> set[str]:
            return self._contract.package_ids(tensors, 1)

        return self.session.infer(version, self._black(1), (PACKAGE_ID,), read, self.session.end_of_call())

    def _black(self, count: int) -> Pixels:
        return np.zeros((count, *self._contract.size_hw, 3), np.uint8)


def _sent(spec: PreprocessSpec, stage: MatchingStage, package_id: str) -> PreprocessSpec:
    """Return the preprocessing of the frames that the server takes; a bundle takes the same."""
    height, width = via_size(spec, stage.matching.spec)
    sizes = {(spec.height, spec.width), stage.matching.spec.size_hw}
    if spec.via != (height, width) and sizes != {(height, width)}:
        raise PackageError(
            f"package {package_id} is of an earlier version: it shrinks each frame twice from the start, and a server "
            "takes frames that are shrunk once: train and export again"
        )
    return msgspec.structs.replace(spec, height=height, width=width)


def _as_compared(threshold: float) -> float:
    """Return a threshold as the decision compares it; see `Matches.needed`."""
    return float(np.float32(np.clip(threshold, -99, 99)))
