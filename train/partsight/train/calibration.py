"""The reject threshold: chosen from golden images alone, because there are no pictures of unknown parts.

Calibration varies golden images as a line varies its frames, and takes two scores of each varied frame:

- `taught`: the score of the best part. If it is below the threshold, the line refuses a taught part.
- `left_out`: the score of the best part other than its own. Without its own part the frame shows an unknown part, and a
  hard one, because its siblings are taught. If it reaches the threshold, the line accepts an unknown part.

The threshold is a quantile of `taught`: it refuses at most the allowed share of the frames whose best part is right.
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
"""Smallest number of varied frames. The allowed share is about one in a hundred, and with a dozen frames the single
worst one would set the threshold."""

_BATCH = 32


@dataclass(frozen=True)
class CalibrationInput:
    """Input of the calibration: network and golden images.

    Attributes:
        goldens: Golden images, one for each class.
        spec: Preprocessing of the network.
        matching: Size of the references; calibration chooses the number of candidates.
        bank: References of the golden images.
        score: Function that takes at most 32 prepared frames, (batch, height, width, 3) uint8 BGR, and returns their
            scores, (batch, classes) float32.
        head: Head of the network; it says whether a score is a cosine or a probability.
    """

    goldens: Sequence[Pixels]
    spec: PreprocessSpec
    matching: MatchingSpec
    bank: Bank
    score: Callable[[Pixels], FloatArray]
    head: Head


def calibrate(trained: CalibrationInput, max_false_reject: float, seed: int) -> Calibration:
    """Choose thresholds that refuse at most a given share of taught parts.

    It draws at most 1,000 golden images and varies each once. With fewer than 300 images it varies them several times,
    so that there are 300 frames. One threshold serves all parts: one image is too little for a threshold of its own.

    Args:
        trained: Network and golden images.
        max_false_reject: Share of taught parts that the threshold may refuse, in [0, 1].
        seed: Seed of the drawing and of the variation.
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
    if len(trained.goldens) == 1:  # without its own part, a frame has no other part to agree with
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
        classes: Classes of the parts that the frames show, (frames,).
        score: Scores of the network, (frames, classes) float32.
        frames: Frames prepared for the comparison, (frames, height, width, 3) uint8 BGR.
    """

    classes: npt.NDArray[np.intp]
    score: FloatArray
    frames: Pixels


def _varied(trained: CalibrationInput, chosen: npt.NDArray[np.intp], rng: np.random.Generator) -> list[_VariedBatch]:
    """Return varied frames of the chosen classes, in batches."""
    batches = []
    starts = range(0, len(chosen), _BATCH)
    for start in progress(starts, len(starts), "varying golden images", f"×{_BATCH}"):
        classes = chosen[start : start + _BATCH]
        goldens = {index: trained.goldens[index] for index in np.unique(classes)}  # read each only once a batch
        images = [vary(goldens[index], Variation(), rng) for index in classes]
        score = trained.score(preprocess(images, trained.spec))
        batches.append(_VariedBatch(classes, score, preprocess(images, trained.matching.preprocess(trained.spec))))
    return batches
