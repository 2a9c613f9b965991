"""The reject threshold: found without a picture of an unknown part, because there is none.

Golden images varied as a line varies stand for its frames: how well each is recognised says how often a taught part
would be refused. With its own part left out of the comparison, the same frame shows a part that was not taught, and
a hard one: its siblings were. How well it is recognised then says how often an unknown part would be given a label.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration import (
    Ranks,
    Trial,
    Variation,
    answer_by_agreement,
    answer_by_score,
    golden_bank,
    matching_spec,
    vary,
    with_candidates,
)
from partsight.runtime.core import FloatArray, Pixels, progress
from partsight.runtime.images import PreprocessSpec, preprocess
from partsight.runtime.matching import Matcher, MatchingSpec
from partsight.train.heads import Head
from partsight.train.reject_record import Calibration

MAX_SAMPLE = 1000

MIN_SAMPLE = 300
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
    rng = np.random.default_rng(seed)
    size = min(MAX_SAMPLE, len(subject.goldens))
    drawn = rng.choice(len(subject.goldens), size, replace=False)
    chosen = np.sort(np.resize(drawn, max(size, MIN_SAMPLE)))
    matching = matching_spec(subject.goldens[0], subject.spec)
    matcher = Matcher(golden_bank(subject.goldens, subject.spec, matching), matching)
    varied = _varied(subject, matching, chosen, rng)
    ranks = Ranks(
        np.concatenate([matcher.rank(batch.frames, batch.classes) for batch in varied]),
        np.concatenate([(batch.score > batch.own_score[:, None]).sum(axis=1) for batch in varied]),
    )
    matcher = Matcher(matcher.bank, with_candidates(matching, ranks, len(subject.goldens)))
    network, matched = [], []
    for batch in progress(varied, len(varied), "comparing varied images", f"×{_BATCH}"):
        network += [answer_by_score(row, int(index)) for row, index in zip(batch.score, batch.classes, strict=True)]
        matched += answer_by_agreement(matcher, batch.frames, batch.score, batch.classes)
    by_network, by_agreement = Trial.of(network), Trial.of(matched)
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
        matching=matcher.spec,
        matched_decision=decision,
        matched_curve=by_agreement.curve(),
        expected_right=float(np.mean(is_accepted & by_agreement.is_right)),
        expected_wrong=float(np.mean(is_accepted & ~by_agreement.is_right)),
    )


@dataclass(frozen=True)
class _Batch:
    """Varied frames.

    Attributes:
        classes: (frames,) of their parts.
        score: (frames, classes) float32, the network's.
        frames: (frames, height, width, 3) uint8 BGR, prepared for the comparison.
    """

    classes: npt.NDArray[np.intp]
    score: FloatArray
    frames: Pixels

    @property
    def own_score(self) -> FloatArray:
        """(frames,) of the right part."""
        return self.score[np.arange(len(self.classes)), self.classes]


def _varied(
    subject: Subject, matching: MatchingSpec, chosen: npt.NDArray[np.intp], rng: np.random.Generator
) -> list[_Batch]:
    """Return varied frames of classes, made with a progress bar."""
    batches = []
    starts = range(0, len(chosen), _BATCH)
    for start in progress(starts, len(starts), "varying golden images", f"×{_BATCH}"):
        classes = chosen[start : start + _BATCH]
        images = [vary(subject.goldens[index], Variation(), rng) for index in classes]
        score = subject.score(preprocess(images, subject.spec))
        batches.append(_Batch(classes, score, preprocess(images, matching.preprocess(subject.spec))))
    return batches
