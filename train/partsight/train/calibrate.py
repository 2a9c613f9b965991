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

from partsight.runtime.calibration import (
    CLEAR_SAFETY,
    Answered,
    Trial,
    answer_by_agreement,
    answer_by_score,
    find_candidates,
    golden_references,
    lead,
    verification_spec,
)
from partsight.runtime.images import Pixels
from partsight.runtime.preprocess import PreprocessSpec, preprocess
from partsight.runtime.references import References
from partsight.runtime.session import FloatArray
from partsight.runtime.variation import Variation, vary
from partsight.runtime.verification import VerificationSpec
from partsight.train.heads import Head
from partsight.train.progress import progress
from partsight.train.reject_record import Calibration

LARGEST_SAMPLE = 1000

SMALLEST_SAMPLE = 300
"""Few frames in a hundred may be refused: of a dozen, the worst would set the threshold."""

_BATCH = 32


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

    Up to 1,000 golden images, drawn at random, are varied once each; where there are fewer than 300, as often as it
    takes for so many frames. Classes are pooled: with one image a class there is nothing to fit for each.

    Args:
        subject: what is calibrated.
        max_false_reject: the share, in [0, 1].
        seed: of the drawing.
    """
    verification = verification_spec(subject.goldens[0], subject.spec)
    rng = np.random.default_rng(seed)
    size = min(LARGEST_SAMPLE, len(subject.goldens))
    drawn = rng.choice(len(subject.goldens), size, replace=False)
    # In the order of the labels: siblings have like names, and their references are still ready.
    chosen = np.sort(np.resize(drawn, max(size, SMALLEST_SAMPLE)))
    references = golden_references(subject.goldens, subject.spec, verification)
    network: list[Answered] = []
    verified: list[Answered] = []
    confused = [0.0]
    for places, scores, frames in _varied(subject, verification, chosen, rng):
        network += [answer_by_score(row, int(place)) for row, place in zip(scores, places, strict=True)]
        confused += [lead(row) for row, place in zip(scores, places, strict=True) if row.argmax() != place]
        verified += _compare(frames, scores, places, references, verification)
    by_network, by_agreement = Trial.of(network), Trial.of(verified)
    decision = by_agreement.decision("agreement", max_false_reject)
    of_network = by_network.decision(subject.head.score, max_false_reject)
    if len(subject.goldens) == 1:  # with it left out there was nothing to take a frame for
        decision, of_network = (
            msgspec.structs.replace(item, expected_false_accept=None) for item in (decision, of_network)
        )
    is_accepted = by_agreement.taught >= decision.threshold
    return Calibration(
        decision=of_network,
        curve=by_network.curve(),
        verification=msgspec.structs.replace(verification, clear_margin=CLEAR_SAFETY * max(confused)),
        verified_decision=decision,
        verified_curve=by_agreement.curve(),
        expected_right=float(np.mean(is_accepted & by_agreement.is_right)),
        expected_wrong=float(np.mean(is_accepted & ~by_agreement.is_right)),
    )


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

    def compare(frame: Pixels, score: FloatArray, place: int) -> Answered:
        return answer_by_agreement(find_candidates(frame, score, references, spec), place, spec)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compare, frames, scores, map(int, places)))
