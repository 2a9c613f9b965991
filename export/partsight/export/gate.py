"""The gate: export writes a precision only if the line would give the same answers with it as with FP32."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from partsight.export.answers import Decider, labels_of
from partsight.export.frames import GateFrames, PreparedFrames
from partsight.runtime.core import FloatArray, progress, release_freed_memory
from partsight.runtime.inference import PrototypeSearch, Session

MIN_AGREEMENT = 0.999
"""Share of golden images, and of varied frames, that must get the same answer as with FP32."""

BATCH = 32


@dataclass(frozen=True)
class ModelAnswers:
    """Answers of a model to some frames.

    Attributes:
        score: Scores of the network, (frames, classes) float32.
        answer: Class that the line would name for each frame, (frames,); `answers.UNKNOWN` for none.
    """

    score: FloatArray
    answer: np.ndarray


@dataclass(frozen=True)
class Agreement:
    """Agreement of a model's answers with FP32's, over some frames.

    Attributes:
        frames: Number of frames.
        agreement: Share of frames with the same answer, "unknown" included. A score that is not a number never agrees.
        network_agreement: Share of frames for which both networks have the same best class, before the comparison.
        mean_drift, max_drift: Mean and largest absolute difference of scores, over all frames and classes.
        in_shortlist: Share of frames for which FP32's best class is among the candidates of the model's network.
    """

    frames: int
    agreement: float
    network_agreement: float
    mean_drift: float
    max_drift: float
    in_shortlist: float

    def passes(self, least: float) -> bool:
        """Return whether enough answers agree, and every score is a number."""
        # Rounded to whole frames: with a share of 0.999 of 1,424 frames, one may differ.
        return self.agreement >= least and bool(np.isfinite(self.max_drift))


@dataclass(frozen=True)
class Verdict:
    """Result of the gate for a model, on golden images and on varied frames."""

    catalog: Agreement
    varied: Agreement
    least: float

    @property
    def is_passed(self) -> bool:
        """Whether export may write the model."""
        return self.catalog.passes(self.least) and self.varied.passes(self.least)


class PrecisionGate:
    """Compares models with FP32 on the same frames."""

    def __init__(
        self,
        fp32: onnx.ModelProto,
        frames: GateFrames,
        decider: Decider,
        least_agreement: float = MIN_AGREEMENT,
        search: PrototypeSearch | None = None,
    ) -> None:
        """Answer all frames with FP32.

        Args:
            fp32: FP32 model.
            frames: Golden images and varied frames.
            decider: Function from scores to the line's answers.
            least_agreement: Share of answers that must agree, in [0, 1].
            search: Plain search for models that give bounds of scores, so that the gate compares every score.
        """
        self._frames, self._decider, self._least, self._search = frames, decider, least_agreement, search
        session = self.open(fp32)
        self._catalog = self._answer(session, frames.catalog, "FP32: golden images")
        self._varied = self._answer(session, frames.varied, "FP32: varied frames")

    def open(self, model: onnx.ModelProto) -> Session:
        """Load a model for the gate, with the search if there is one."""
        release_freed_memory()  # INT8 may try a model for each layer, all of the package's size
        return Session(model.SerializeToString(), search=self._search)

    def judge(self, model: onnx.ModelProto, name: str) -> Verdict:
        """Compare a model with FP32 over all frames.

        Args:
            model: Model with the same inputs and outputs as FP32.
            name: Name of the precision, for the progress bar.
        """
        session, candidates = self.open(model), self._decider.candidates
        catalog = self._answer(session, self._frames.catalog, f"{name}: golden images")
        varied = self._answer(session, self._frames.varied, f"{name}: varied frames")
        return Verdict(
            compare_answers(self._catalog, catalog, candidates),
            compare_answers(self._varied, varied, candidates),
            self._least,
        )

    def answered(self) -> Iterator[tuple[PreparedFrames, ModelAnswers]]:
        """Yield golden images and varied frames, each with FP32's answers."""
        yield self._frames.catalog, self._catalog
        yield self._frames.varied, self._varied

    def would_pass(self, model: onnx.ModelProto) -> bool:
        """Return whether a model passes; stop as soon as too many frames differ."""
        session = self.open(model)
        for frames, expected in ((self._frames.varied, self._varied), (self._frames.catalog, self._catalog)):
            allowed, differing = (1 - self._least) * len(frames) + 1e-9, 0
            for start, found in self._batches(session, frames):
                reference = expected.answer[start : start + len(found.answer)]
                differing += int((found.answer != reference).sum())
                if differing > allowed:
                    return False
        return True

    def _answer(self, session: Session, frames: PreparedFrames, what: str) -> ModelAnswers:
        count = -(-len(frames) // BATCH)
        found = [answered for _, answered in progress(self._batches(session, frames), count, what, f"×{BATCH}")]
        return ModelAnswers(
            np.concatenate([answered.score for answered in found]),
            np.concatenate([answered.answer for answered in found]),
        )

    def _batches(self, session: Session, frames: PreparedFrames) -> Iterator[tuple[int, ModelAnswers]]:
        for start in range(0, len(frames), BATCH):
            rows = slice(start, start + BATCH)
            score = session.run(np.ascontiguousarray(frames.network[rows])).score
            compared = None if frames.compared is None else frames.compared[rows]
            yield start, ModelAnswers(score, self._decider.decide(score, compared))


def compare_answers(expected: ModelAnswers, found: ModelAnswers, candidates: int) -> Agreement:
    """Compare the answers of a model with the answers of FP32.

    Args:
        expected: Answers of FP32.
        found: Answers of the model to the same frames.
        candidates: Number of candidates that the network names, for `in_shortlist`.
    """
    drift = np.nan_to_num(np.abs(found.score.astype(np.float64) - expected.score), nan=np.inf)
    best = labels_of(expected.score)
    own = found.score[np.arange(len(best)), best]
    is_number = np.isfinite(found.score).all(axis=1)
    return Agreement(
        frames=len(best),
        agreement=float(np.mean((found.answer == expected.answer) & is_number)),
        network_agreement=float(np.mean(labels_of(found.score) == best)),
        mean_drift=float(drift.mean()),
        max_drift=float(drift.max()),
        in_shortlist=float(np.mean((found.score > own[:, None]).sum(axis=1) < candidates)),
    )
