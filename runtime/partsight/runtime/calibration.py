"""Calibration: what varied golden images say of a reject threshold, whatever network scores them.

Training chooses thresholds with it, enrolment looks at them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Decision
from partsight.runtime.outlines import MOST_PARTS, Outlines
from partsight.runtime.preprocess import PreprocessSpec, preprocess
from partsight.runtime.references import References, decode_reference, encode_reference
from partsight.runtime.session import FloatArray
from partsight.runtime.verification import LONGEST_PX, VerificationSpec, verify

CLEAR_SAFETY = 1.25
"""By how much the lead from which the network is trusted exceeds the largest lead of a wrong answer."""

_CURVE_POINTS = 200
_REFUSED = 0.0  # in place of an agreement, which is never so low: refused at any threshold

Answered = tuple[float, float, bool]
"""Best score of a frame, best score with its own part left out, whether the best is its own part's and can count."""


class RejectCurve(msgspec.Struct, frozen=True):
    """What a threshold would cost, on varied golden images.

    Attributes:
        threshold: in rising order.
        false_reject: share of frames of taught parts that each would refuse.
        false_accept: share of frames of parts left out that each would give a label.
    """

    threshold: tuple[float, ...]
    false_reject: tuple[float, ...]
    false_accept: tuple[float, ...]


@dataclass(frozen=True)
class Trial:
    """What varied golden images were answered; each (samples,).

    Attributes:
        taught: best score with all parts to choose from.
        left_out: best score with the frame's own part left out.
        is_right: whether `taught` is the score of the frame's own part, and no other part's golden image fits as well.
    """

    taught: FloatArray
    left_out: FloatArray
    is_right: np.ndarray

    @classmethod
    def of(cls, answers: Sequence["Answered"]) -> "Trial":
        """Gather the answers to single frames."""
        taught, left_out, is_right = zip(*answers, strict=True)
        return cls(np.array(taught, np.float32), np.array(left_out, np.float32), np.array(is_right, bool))

    def decision(self, score: str, max_false_reject: float) -> Decision:
        """Choose the threshold that refuses at most a share of the frames that would get their own label.

        A frame that would get another's should be refused: it has no say.
        """
        counted = self.taught[self.is_right] if self.is_right.any() else self.taught
        threshold = float(np.quantile(counted, max_false_reject, method="lower"))
        if score == "agreement" and not self.is_right.any():
            threshold = 1.0  # no frame gets its own label, whatever the threshold: no other shall get one
        size = len(self.taught)
        values = {
            "score": score,
            "threshold": threshold,
            "method": f"quantile of the best scores of {size} varied golden images; each part left out in turn",
            "samples": size,
            "expected_false_reject": float(np.mean(self.taught < threshold)),
            "expected_false_accept": float(np.mean(self.left_out >= threshold)),
        }
        return msgspec.convert(values, Decision)

    def curve(self) -> RejectCurve:
        """Return what thresholds would cost, from the lowest that matters to the highest."""
        both = np.concatenate([self.taught, self.left_out])
        thresholds = np.linspace(both.min(), both.max(), _CURVE_POINTS)
        return RejectCurve(
            tuple(float(value) for value in thresholds),
            tuple(float(np.mean(self.taught < value)) for value in thresholds),
            tuple(float(np.mean(self.left_out >= value)) for value in thresholds),
        )


def verification_spec(golden: Pixels, spec: PreprocessSpec) -> VerificationSpec:
    """Return how frames are compared, at the shape of what the network sees of a golden image."""
    height, width = (spec.region.height, spec.region.width) if spec.region else golden.shape[:2]
    scale = LONGEST_PX / max(height, width)
    return VerificationSpec(height=max(32, round(height * scale)), width=max(32, round(width * scale)))


def reference_files(goldens: Sequence[Pixels], spec: PreprocessSpec, verification: VerificationSpec) -> Iterator[bytes]:
    """Yield each golden image as the package holds it to compare frames with, in the order of the classes."""
    prepared = verification.preprocess(spec)
    for golden in goldens:
        yield encode_reference(preprocess([golden], prepared)[0])


def golden_references(goldens: Sequence[Pixels], spec: PreprocessSpec, verification: VerificationSpec) -> References:
    """Return the references, with outlines, that a package with these golden images has, without a package."""
    prepared = verification.preprocess(spec)

    def load(index: int) -> Pixels:
        """As the package holds it: what is measured holds for the line, which compares with that."""
        return decode_reference(encode_reference(preprocess([goldens[index]], prepared)[0]), f"class {index}")

    outlines = Outlines.of(map(load, range(len(goldens)))) if len(goldens) <= MOST_PARTS else None
    return References(load, verification.size_hw, outlines)


def find_candidates(
    frame: Pixels, score: FloatArray, references: References, spec: VerificationSpec, more: int = 1
) -> list[tuple[int, float]]:
    """Compare a frame in full and return classes and their agreement, best first.

    Args:
        frame: (spec.height, spec.width, 3) uint8 BGR.
        score: (classes,) float32, the network's.
        references: of the classes.
        spec: how to compare.
        more: candidates more than on the line, so that as many are left when some are not counted.
    """
    # The limits of `Count`, which `replace` does not check, hold for what is written into packages only.
    wider = msgspec.structs.replace(
        spec,
        shortlist=spec.shortlist + more,
        outlined=spec.outlined + more,
        screened=spec.screened + more,
        finalists=spec.finalists + more,
    )
    verified = verify(frame, score, references, wider)
    return list(zip(verified.classes, verified.agreement, strict=True))


def answer_by_agreement(found: Sequence[tuple[int, float]], place: int, spec: VerificationSpec) -> Answered:
    """Return what the comparison says of a frame.

    Args:
        found: of `find_candidates`.
        place: the class of the frame's own part.
        spec: how it was compared.
    """
    best = _counted(found, spec)
    left_out = _counted([item for item in found if item[0] != place], spec)
    return best, left_out, best > _REFUSED and found[0][0] == place


def answer_by_score(score: FloatArray, place: int) -> Answered:
    """Return what the network alone says of a frame, from its (classes,) scores."""
    others = np.delete(score, place)
    return float(score.max()), float(others.max()) if len(others) else -1.0, int(score.argmax()) == place


def lead(score: FloatArray) -> float:
    """Return by how much the best of (classes,) scores exceeds the second; there must be two."""
    second, first = np.partition(score, -2)[-2:]
    return float(first - second)


def _counted(found: Sequence[tuple[int, float]], spec: VerificationSpec) -> float:
    """Return the best agreement, or `_REFUSED` where the next is too close for it to be accepted."""
    agreement = [value for _, value in found] + [0.0, 0.0]
    return agreement[0] if agreement[0] - agreement[1] >= spec.least_margin else _REFUSED
