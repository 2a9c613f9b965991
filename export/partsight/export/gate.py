"""The gate: a precision is written only if it names the same parts as FP32."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from partsight.export.frames import GateFrames
from partsight.runtime.images import Pixels
from partsight.runtime.search import PrototypeSearch
from partsight.runtime.session import FloatArray, Session
from partsight.train.progress import progress

LEAST_AGREEMENT = 0.999
"""Share of frames that must get the label that FP32 gives, of golden images and of varied frames each."""

BATCH = 32


@dataclass(frozen=True)
class Comparison:
    """How a model's answers compare with FP32's over some frames.

    Attributes:
        frames: how many.
        agreement: share of them with the same best label; a score that is not a number has none.
        mean_drift, max_drift: absolute difference of scores, over all frames and classes.
        in_shortlist: share of frames whose best label of FP32 is among the best `shortlist` of the model.
    """

    frames: int
    agreement: float
    mean_drift: float
    max_drift: float
    in_shortlist: float

    def passes(self, least: float) -> bool:
        """Say whether enough labels agree, and every score is a number."""
        # Of 1,424 frames one may differ, not 1.424: a share that is met by rounding is met.
        return self.agreement >= least and bool(np.isfinite(self.max_drift))


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a model: on golden images, and on varied frames."""

    catalog: Comparison
    varied: Comparison
    least: float

    @property
    def is_passed(self) -> bool:
        """Whether the model may be written."""
        return self.catalog.passes(self.least) and self.varied.passes(self.least)


class Gate:
    """Judges models by what FP32 answers to the same frames."""

    def __init__(
        self,
        fp32: onnx.ModelProto,
        frames: GateFrames,
        shortlist: int,
        least_agreement: float = LEAST_AGREEMENT,
        search: PrototypeSearch | None = None,
    ) -> None:
        """Let FP32 answer all frames.

        Args:
            fp32: the model to compare with.
            frames: to judge by.
            shortlist: how many candidates a second stage looks at.
            least_agreement: share of labels that must agree.
            search: for models that give embeddings alone; a plain one, so that every score is compared.
        """
        self._frames, self._shortlist, self._least = frames, shortlist, least_agreement
        self._search = search
        session = self.open(fp32)
        self._catalog_score = _answer(session, frames.catalog, "FP32: golden images")
        self._varied_score = _answer(session, frames.varied, "FP32: varied frames")

    def open(self, model: onnx.ModelProto) -> Session:
        """Load a model as it is judged: with the search, where there is one."""
        return Session(model.SerializeToString(), search=self._search)

    def judge(self, model: onnx.ModelProto, name: str) -> Verdict:
        """Compare a model with FP32 over all frames.

        Args:
            model: of the same contract.
            name: of the precision, for the progress bar.
        """
        session = self.open(model)
        catalog = _answer(session, self._frames.catalog, f"{name}: golden images")
        varied = _answer(session, self._frames.varied, f"{name}: varied frames")
        return Verdict(
            compare(self._catalog_score, catalog, self._shortlist),
            compare(self._varied_score, varied, self._shortlist),
            self._least,
        )

    def would_pass(self, model: onnx.ModelProto) -> bool:
        """Say whether a model passes, and stop at the first frame that shows that it does not."""
        session = self.open(model)
        for frames, expected in (
            (self._frames.varied, self._varied_score),
            (self._frames.catalog, self._catalog_score),
        ):
            allowed, differing = (1 - self._least) * len(frames) + 1e-9, 0
            for start, score in _batches(session, frames):
                reference = expected[start : start + len(score)]
                differing += int((labels_of(score) != labels_of(reference)).sum())
                if differing > allowed:
                    return False
        return True


def compare(expected: FloatArray, score: FloatArray, shortlist: int) -> Comparison:
    """Compare scores with FP32's.

    Args:
        expected, score: (frames, classes) float32.
        shortlist: how many of the best count for `in_shortlist`.
    """
    drift = np.nan_to_num(np.abs(score.astype(np.float64) - expected), nan=np.inf)
    best = labels_of(expected)
    own = score[np.arange(len(score)), best]
    return Comparison(
        frames=len(score),
        agreement=float(np.mean(labels_of(score) == best)),
        mean_drift=float(drift.mean()),
        max_drift=float(drift.max()),
        in_shortlist=float(np.mean((score > own[:, None]).sum(axis=1) < shortlist)),
    )


def labels_of(score: FloatArray) -> np.ndarray:
    """Return the best class of each row, -1 where a score is not a number."""
    return np.where(np.isfinite(score).all(axis=1), score.argmax(axis=1), -1)


def _answer(session: Session, frames: Pixels, what: str) -> FloatArray:
    count = -(-len(frames) // BATCH)
    return np.concatenate([score for _, score in progress(_batches(session, frames), count, what, f"×{BATCH}")])


def _batches(session: Session, frames: Pixels) -> Iterator[tuple[int, FloatArray]]:
    for start in range(0, len(frames), BATCH):
        yield start, session.run(np.ascontiguousarray(frames[start : start + BATCH])).score
