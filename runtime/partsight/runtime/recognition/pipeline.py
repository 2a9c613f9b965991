"""The pipeline of a recogniser: it prepares frames, runs the network on them, and compares them with golden images."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np

from partsight.runtime.core import Pixels
from partsight.runtime.inference import Inference, Session
from partsight.runtime.matching import Rule, usable_cores
from partsight.runtime.package import Manifest
from partsight.runtime.recognition.explanation import Explanation, explain
from partsight.runtime.recognition.matching_stage import MatchingStage
from partsight.runtime.recognition.preparer import Prepared, Preparer, prefetch
from partsight.runtime.recognition.results import Stages, decide, decide_matched
from partsight.runtime.recognition.started_batch import BatchAnswers, StartedBatch
from partsight.runtime.recognition.threads import Threads


@dataclass(frozen=True)
class NetworkRun:
    """A batch that went through the network.

    Attributes:
        prepared: The prepared frames, to release when the batch is answered.
        inference: The network's outputs.
        prepare_s: Seconds of preparation that did not overlap the run before.
        network_s: Seconds in the network.
        done_at: End of the run, by `time.perf_counter`.
    """

    prepared: Prepared
    inference: Inference
    prepare_s: float
    network_s: float
    done_at: float


@dataclass(frozen=True)
class Decider:
    """Decides which parts a batch shows: by comparison with golden images, or by the network's scores alone.

    Attributes:
        labels: Labels of the classes, in order.
        top: Number of candidates that an answer names.
        matching_stage: Comparison with golden images; None for the network's scores alone.
    """

    labels: Sequence[str]
    top: int
    matching_stage: MatchingStage | None

    def decide(self, run: NetworkRun, rule: Rule) -> BatchAnswers:
        """Return the answers to the frames of a batch.

        Raises:
            PackageError: A golden image is damaged.
        """
        score, stage = run.inference.score, self.matching_stage
        if stage is None:
            answers = decide(score, self.labels, rule.threshold, self.top)
        else:
            matches = stage.matcher.match(run.prepared.wait()[1], score)
            answers = decide_matched(matches, stage.matcher.bank, stage.matching.spec, self.labels, rule, self.top)
        ready_at = time.perf_counter()
        stages = Stages(run.prepare_s * 1000, run.network_s * 1000, (ready_at - run.done_at) * 1000)
        return BatchAnswers(answers, stages, ready_at)


class Pipeline:
    """The running parts of a recogniser. A call that holds it can finish after `Recognizer.close`. Thread-safe.

    Attributes:
        session: The network.
        matching_stage: Comparison with golden images; None for the network's answer alone.
    """

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        matching_stage: MatchingStage | None,
        *,
        batch_size: int,
        top: int,
    ) -> None:
        """Start the threads.

        Args:
            session: The network, loaded.
            manifest: Manifest of its package.
            matching_stage: Comparison with golden images; None for the network's answer alone.
            batch_size: Most frames in one run of the network.
            top: Number of candidates that an answer names.
        """
        self.session, self.matching_stage = session, matching_stage
        self._spec, self._batch_size = manifest.preprocess, batch_size
        specs = [self._spec]
        if matching_stage is not None:
            specs.append(matching_stage.matching.spec.preprocess(self._spec))
        self._workers = Threads(usable_cores(), "partsight")
        self._comparing = Threads(1, "partsight-compare")
        self._preparer = Preparer(specs, batch_size, self._workers)
        self._decider = Decider(manifest.labels, top, matching_stage)

    @property
    def prefetch_depth(self) -> int:
        """Number of batches that are started before the pipeline waits for the first.

        A network on the CPU uses all cores, and so does matching. But each leaves them idle at times, and the other
        uses them then: overlapping batches are answered faster, a single batch is not.
        """
        return 1 if self.session.provider.on_card or self.matching_stage is not None else 0

    def warm_up(self) -> None:
        """Run the network, so that the line's first frame is as fast as its last.

        On a CPU one frame shows that the model works: the first batch is hardly slower than others, and each run delays
        the restart of a line. On a card the first run of each size does work for that size.
        """
        for size in {1, self._batch_size} if self.session.provider.on_card else {1}:
            self.session.run(np.zeros((size, self._spec.height, self._spec.width, 3), np.uint8))

    def start(self, frames: Sequence[Pixels], rule: Rule, depth: int) -> Iterator[StartedBatch]:
        """Run the network on batches, and compare the frames of each: meanwhile if `depth` is at least 1.

        Raises:
            FrameError: See `Recognizer.recognize_batch`.
            PackageError: A golden image is damaged.
        """
        started_at = time.perf_counter()
        for run in self.run_network(frames, 1 if self.matching_stage is None else 2):
            yield StartedBatch(partial(_wait, self._answers(run, rule, depth), run.prepared), started_at)

    def explain(self, frame: Pixels, rule: Rule) -> Explanation:
        """Return the answer to a frame, and why; see `Recognizer.explain`.

        Raises:
            FrameError: The frame is not such an array as `Recognizer.recognize` takes.
            PackageError: A golden image is damaged or missing.
        """
        (run,) = self.run_network([frame], 1 if self.matching_stage is None else 2)
        prepared = run.prepared.wait()[-1][0].copy()  # at the size of the comparison, if there is one
        run.prepared.release()
        decider = self._decider
        return explain(prepared, run.inference.score, decider.labels, self.matching_stage, rule, decider.top)

    def infer(self, frames: Sequence[Pixels]) -> Inference:
        """Return the network's scores and embeddings of frames; see `Recognizer.infer`.

        Raises:
            FrameError: See `Recognizer.recognize_batch`.
        """
        score, embedding = [self._no_rows(self.session.classes)], [self._no_rows(self.session.embedding_size)]
        for run in self.run_network(frames, 1):
            score.append(run.inference.score)
            embedding.append(run.inference.embedding)
            run.prepared.release()
        return Inference(np.concatenate(score), np.concatenate(embedding))

    def run_network(self, frames: Sequence[Pixels], sizes: int) -> Iterator[NetworkRun]:
        """Run the network on batches. Prepare each batch while the one before it runs, if that leaves a core.

        The caller releases the buffers of each run.

        Args:
            frames: Frames, of any number.
            sizes: 2 to prepare the frames for the matching stage, too; else 1.

        Raises:
            FrameError: See `Recognizer.recognize_batch`.
        """
        network_free_at = 0.0  # preparation before that moment delays nothing
        for started_at, prepared in prefetch(self._preparer.batches(frames, sizes), self.prefetch_depth):
            batch = prepared.wait()[0]
            ready_at = time.perf_counter()
            inference = self.session.run(batch)
            done_at = time.perf_counter()
            prepare_s = ready_at - max(started_at, network_free_at)
            yield NetworkRun(prepared, inference, prepare_s, done_at - ready_at, done_at)
            network_free_at = done_at

    def _answers(self, run: NetworkRun, rule: Rule, depth: int) -> Future[BatchAnswers]:
        if depth:
            return self._comparing.submit(self._decider.decide, run, rule)
        answers: Future[BatchAnswers] = Future()
        answers.set_result(self._decider.decide(run, rule))
        return answers

    def _no_rows(self, columns: int) -> np.ndarray:
        return np.empty((0, columns), np.float32)


def _wait(pending: Future[BatchAnswers], prepared: Prepared) -> BatchAnswers:
    found = pending.result()
    prepared.release()
    return found
