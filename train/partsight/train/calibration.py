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
    RejectCurve,
    Variation,
    VariedAnswers,
    answer_by_agreement,
    answer_by_score,
    choose_threshold,
    rank_by_score,
    vary,
    with_candidates,
)
from partsight.runtime.core import FloatArray, Pixels, progress
from partsight.runtime.images import PreprocessSpec, preprocess
from partsight.runtime.matching import Bank, Matcher, MatchingSpec
from partsight.train.heads import Head
from partsight.train.records import Calibration

MAX_SAMPLE = 1000

MIN_SAMPLE = 300
"""Few frames in a hundred may be refused: of a dozen, the worst would set the threshold."""

_BATCH = 32


@dataclass(frozen=True)
class CalibrationInput:
    """Network and golden images that thresholds are chosen for.

    Attributes:
        goldens: Golden images, one for each class.
        spec: Preprocessing of the network.
        matching: Size of the references; calibration chooses the number of candidates.
        bank: References of the golden images.
        score: Function of (batch, height, width, 3) uint8 prepared frames, at most 32; returns (batch, classes)
            float32 scores.
        head: Head of the network, which names the kind of its scores.
    """

    goldens: Sequence[Pixels]
    spec: PreprocessSpec
    matching: MatchingSpec
    bank: Bank
    score: Callable[[Pixels], FloatArray]
    head: Head


def calibrate(trained: CalibrationInput, max_false_reject: float, seed: int) -> Calibration:
    """Choose thresholds that refuse at most a share of taught parts as the line would show them.

    Up to 1,000 golden images, drawn at random, are varied once each; where there are fewer than 300, as often as it
    takes for so many frames. Classes are pooled: with one image a class there is nothing to fit for each.

    Args:
        trained: Network and golden images.
        max_false_reject: Share of the frames, in [0, 1].
        seed: Seed of the drawing.
    """
    rng = np.random.default_rng(seed)
    size = min(MAX_SAMPLE, len(trained.goldens))
    drawn = rng.choice(len(trained.goldens), size, replace=False)
    chosen = np.sort(np.resize(drawn, max(size, MIN_SAMPLE)))
    matcher = Matcher(trained.bank, trained.matching)
    varied = _varied(trained, chosen, rng)
    ranks = Ranks.joined(
        [
            Ranks(matcher.rank(batch.frames, batch.classes), rank_by_score(batch.score, batch.classes))
            for batch in varied
        ]
    )
    matcher = Matcher(trained.bank, with_candidates(trained.matching, ranks, len(trained.goldens)))
    shown = progress(varied, len(varied), "comparing varied images", f"×{_BATCH}")
    by_agreement = VariedAnswers.joined(
        [answer_by_agreement(matcher, batch.frames, batch.score, batch.classes) for batch in shown]
    )
    by_network = VariedAnswers.joined([answer_by_score(batch.score, batch.classes) for batch in varied])
    decision = choose_threshold(by_agreement, "agreement", max_false_reject)
    of_network = choose_threshold(by_network, trained.head.score, max_false_reject)
    if len(trained.goldens) == 1:  # with it left out there was nothing to take a frame for
        decision, of_network = (
            msgspec.structs.replace(item, expected_false_accept=None) for item in (decision, of_network)
        )
    is_accepted = by_agreement.taught >= decision.threshold
    return Calibration(
        decision=of_network,
        curve=RejectCurve.of(by_network),
        matching=matcher.spec,
        matched_decision=decision,
        matched_curve=RejectCurve.of(by_agreement),
        expected_right=float(np.mean(is_accepted & by_agreement.is_right)),
        expected_wrong=float(np.mean(is_accepted & ~by_agreement.is_right)),
    )


@dataclass(frozen=True)
class _VariedBatch:
    """Varied frames.

    Attributes:
        classes: (frames,) of their parts.
        score: (frames, classes) float32, the network's.
        frames: (frames, height, width, 3) uint8 BGR, prepared for the comparison.
    """

    classes: npt.NDArray[np.intp]
    score: FloatArray
    frames: Pixels


def _varied(trained: CalibrationInput, chosen: npt.NDArray[np.intp], rng: np.random.Generator) -> list[_VariedBatch]:
    """Return varied frames of classes, made with a progress bar."""
    batches = []
    starts = range(0, len(chosen), _BATCH)
    for start in progress(starts, len(starts), "varying golden images", f"×{_BATCH}"):
        classes = chosen[start : start + _BATCH]
        goldens = {index: trained.goldens[index] for index in np.unique(classes)}  # a small catalogue's come often
        images = [vary(goldens[index], Variation(), rng) for index in classes]
        score = trained.score(preprocess(images, trained.spec))
        batches.append(_VariedBatch(classes, score, preprocess(images, trained.matching.preprocess(trained.spec))))
    return batches
