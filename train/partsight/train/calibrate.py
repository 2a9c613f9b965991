"""The reject threshold: found without a picture of an unknown part, because there is none.

Golden images varied as a line varies stand for its frames: how well each is recognised says how often a taught part
would be refused. With its own part left out of the comparison, the same frame shows a part that was not taught, and
a hard one: its siblings were. How well it is recognised then says how often an unknown part would be given a label.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec
import numpy as np

from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Decision
from partsight.runtime.preprocess import PreprocessSpec, preprocess
from partsight.runtime.references import References, decode_reference, encode_reference
from partsight.runtime.session import FloatArray
from partsight.runtime.verification import LONGEST_PX, VerificationSpec, verify
from partsight.train.heads import Head
from partsight.train.progress import progress
from partsight.train.reject_record import Calibration, RejectCurve
from partsight.train.variation import Variation, vary

LARGEST_SAMPLE = 1000
_BATCH = 32
_CURVE_POINTS = 200
_SAFETY = 1.25
_REFUSED = 0.0  # in place of an agreement, which is never so low: refused at any threshold


Answered = tuple[float, float, bool]
"""Best score of a frame, best score with its own part left out, whether the best is its own part's and can count."""


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
        if score == "agreement" and threshold == _REFUSED:
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


@dataclass(frozen=True)
class Subject:
    """What is calibrated.

    Attributes:
        goldens: one image for each class.
        spec: the network's preprocessing.
        score: (batch, height, width, 3) uint8 prepared frames to (batch, classes) float32.
        head: whose scores they are.
    """

    goldens: Sequence[Pixels]
    spec: PreprocessSpec
    score: Callable[[Pixels], FloatArray]
    head: Head


def calibrate(subject: Subject, max_false_reject: float, seed: int) -> Calibration:
    """Choose thresholds that refuse at most a share of taught parts as the line would show them.

    Up to 1,000 golden images, drawn at random, are varied once each. Classes are pooled: with one image a class there
    is nothing to fit for each.

    Args:
        subject: what is calibrated.
        max_false_reject: the share, in [0, 1].
        seed: of the drawing.
    """
    verification = verification_spec(subject.goldens[0], subject.spec)
    rng = np.random.default_rng(seed)
    size = min(LARGEST_SAMPLE, len(subject.goldens))
    # In the order of the labels: siblings have like names, and their references are still ready.
    chosen = np.sort(rng.choice(len(subject.goldens), size, replace=False))
    references = _references(subject, verification)
    network: list[Answered] = []
    verified: list[Answered] = []
    confused = [0.0]
    for places, scores, frames in _varied(subject, verification, chosen, rng):
        network += [_answered(row, int(place)) for row, place in zip(scores, places, strict=True)]
        confused += [_lead(row) for row, place in zip(scores, places, strict=True) if row.argmax() != place]
        verified += _compare(frames, scores, places, references, verification)
    by_network, by_agreement = Trial.of(network), Trial.of(verified)
    decision = by_agreement.decision("agreement", max_false_reject)
    is_accepted = by_agreement.taught >= decision.threshold
    return Calibration(
        decision=by_network.decision(subject.head.score, max_false_reject),
        curve=by_network.curve(),
        verification=msgspec.structs.replace(verification, clear_margin=_SAFETY * max(confused)),
        verified_decision=decision,
        verified_curve=by_agreement.curve(),
        expected_right=float(np.mean(is_accepted & by_agreement.is_right)),
        expected_wrong=float(np.mean(is_accepted & ~by_agreement.is_right)),
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


def _references(subject: Subject, verification: VerificationSpec) -> References:
    prepared = verification.preprocess(subject.spec)

    def load(index: int) -> Pixels:
        """As the package holds it: the threshold is for what the line compares with."""
        return decode_reference(encode_reference(preprocess([subject.goldens[index]], prepared)[0]), f"class {index}")

    return References(load, (verification.height, verification.width))


def _varied(
    subject: Subject, verification: VerificationSpec, chosen: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, FloatArray, Pixels]]:
    """Yield classes, their scores and the frames to compare, a batch at a time, with a progress bar."""
    starts = range(0, len(chosen), _BATCH)
    for start in progress(starts, len(starts), "calibrating the threshold", f"×{_BATCH}"):
        places = chosen[start : start + _BATCH]
        images = [vary(subject.goldens[place], Variation(), rng) for place in places]
        scores = subject.score(preprocess(images, subject.spec))
        yield places, scores, preprocess(images, verification.preprocess(subject.spec))


def _compare(
    frames: Pixels, scores: FloatArray, places: np.ndarray, references: References, spec: VerificationSpec
) -> list[Answered]:
    """Compare frames with their candidates, and with those but their own part."""
    # One candidate more, so that as many are left when the frame's own is not counted.
    wider = msgspec.structs.replace(spec, shortlist=spec.shortlist + 1, finalists=spec.finalists + 1)

    def compare(frame: Pixels, score: FloatArray, place: int) -> Answered:
        verified = verify(frame, score, references, wider)
        found = list(zip(verified.classes, verified.agreement, strict=True))
        left_out = _counted([item for item in found if item[0] != place], spec)
        best = _counted(found, spec)
        return best, left_out, best > _REFUSED and found[0][0] == place

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compare, frames, scores, map(int, places)))


def _counted(found: Sequence[tuple[int, float]], spec: VerificationSpec) -> float:
    """Return the best agreement, or `_REFUSED` where the next is too close for it to be accepted."""
    agreement = [value for _, value in found] + [0.0, 0.0]
    return agreement[0] if agreement[0] - agreement[1] >= spec.least_margin else _REFUSED


def _answered(score: FloatArray, place: int) -> Answered:
    others = np.delete(score, place)
    return float(score.max()), float(others.max()) if len(others) else -1.0, int(score.argmax()) == place


def _lead(score: FloatArray) -> float:
    second, first = np.partition(score, -2)[-2:]
    return float(first - second)
