"""The reject threshold: chosen from golden images alone, because there are no pictures of unknown parts.

Calibration varies golden images as a line varies its frames, and takes two scores of each varied frame:

- `taught`: the score of the best part. If it is below the threshold, the line refuses a taught part.
- `left_out`: the score of the best part other than its own. Without its own part the frame shows an unknown part, and a
  hard one, because its siblings are taught. If it reaches the threshold, the line accepts an unknown part.

The threshold is a quantile of `taught`: it refuses at most the allowed share of the frames whose best part is right.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration import (
    Ranks,
    RejectCurve,
    Variation,
    VariedAnswers,
    answer_by_matches,
    answer_by_score,
    choose_threshold,
    rank_by_score,
    rule_for,
    vary,
    with_candidates,
)
from partsight.runtime.core import FloatArray, Pixels, progress
from partsight.runtime.images import PreprocessSpec, preprocess
from partsight.runtime.matching import Bank, Matcher, Matches, MatchingSpec, Rule, joined
from partsight.runtime.package import Decision
from partsight.train.heads import Head
from partsight.train.records import Calibration, VariedFrame

MAX_SAMPLE = 1000

MAX_FAILED = 24
"""Largest number of failed frames whose pictures calibration keeps for the report."""

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
        further: Further references of the classes that have some; in the varied frames they take turns with the golden
            image.
    """

    goldens: Sequence[Pixels]
    spec: PreprocessSpec
    matching: MatchingSpec
    bank: Bank
    score: Callable[[Pixels], FloatArray]
    head: Head
    further: Mapping[int, Sequence[Pixels]] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibrated:
    """Result of the calibration.

    Attributes:
        calibration: Thresholds and candidates.
        frames: Answers to the varied frames.
        failed: Some of the frames that got no label or a wrong one, by their index in `frames`, wrong ones first; each
            (height, width, 3) uint8 BGR, as the comparison sees it.
    """

    calibration: Calibration
    frames: tuple[VariedFrame, ...]
    failed: dict[int, Pixels]


def calibrate(trained: CalibrationInput, max_false_reject: float, seed: int) -> Calibrated:
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
    compared = [_Compared.of(matcher, batch) for batch in shown]
    rule = _fit_rule(compared, matcher.spec, max_false_reject)
    by_agreement = VariedAnswers.joined([item.answers(matcher.spec, rule or Rule(0.0)) for item in compared])
    by_network = VariedAnswers.joined([answer_by_score(batch.score, batch.classes) for batch in varied])
    decision = choose_threshold(by_agreement, "agreement", max_false_reject, rule)
    of_network = choose_threshold(by_network, trained.head.score, max_false_reject)
    if len(trained.goldens) == 1:  # without its own part, a frame has no other part to agree with
        decision, of_network = (
            msgspec.structs.replace(item, expected_false_accept=None) for item in (decision, of_network)
        )
    frames = tuple(itertools.chain.from_iterable(item.frames(decision, matcher.spec) for item in compared))
    calibration = Calibration(
        decision=of_network,
        curve=RejectCurve.of(by_network),
        matching=matcher.spec,
        matched_decision=decision,
        matched_curve=RejectCurve.of(by_agreement),
        expected_right=float(np.mean([frame.answer == "right" for frame in frames])),
        expected_wrong=float(np.mean([frame.answer == "wrong" for frame in frames])),
    )
    return Calibrated(calibration, frames, _failed(frames, varied))


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


@dataclass(frozen=True)
class _Compared:
    """Varied frames and their comparison.

    Attributes:
        batch: Frames.
        matches: Comparison with the golden images of all parts.
        others: Comparison without each frame's own part.
    """

    batch: _VariedBatch
    matches: Matches
    others: Matches

    @classmethod
    def of(cls, matcher: Matcher, batch: _VariedBatch) -> "_Compared":
        is_own = np.arange(batch.score.shape[1]) == batch.classes[:, None]
        matched, others = (matcher.match(batch.frames, batch.score, excluded) for excluded in (None, is_own))
        return cls(batch, matched, others)

    def answers(self, spec: MatchingSpec, rule: Rule) -> VariedAnswers:
        return answer_by_matches(self.matches, self.others, self.batch.classes, spec, rule)

    def frames(self, decision: Decision, spec: MatchingSpec) -> Iterator[VariedFrame]:
        """Yield the answer to each frame."""
        matches, others = self.matches, self.others
        columns = (
            self.batch.classes,
            matches.classes[:, 0],
            matches.is_accepted(decision.rule, spec),
            matches.agreement[:, 0],
            matches.margin,
            others.classes[:, 0],
            others.agreement[:, 0],
        )
        for part, best, accepted, *rest in zip(*(column.tolist() for column in columns), strict=True):
            named: Literal["right", "wrong"] = "right" if best == part else "wrong"
            yield VariedFrame(part, best, named if accepted else "unknown", *rest)


def _fit_rule(compared: Sequence[_Compared], spec: MatchingSpec, max_false_reject: float) -> Rule | None:
    matches, others = joined([item.matches for item in compared]), joined([item.others for item in compared])
    classes = np.concatenate([item.batch.classes for item in compared])
    return rule_for(matches, others, classes, spec, max_false_reject)


def _failed(frames: Sequence[VariedFrame], varied: Sequence[_VariedBatch]) -> dict[int, Pixels]:
    """Return the pictures of at most `MAX_FAILED` frames without their own label."""
    order = [*(index for index, frame in enumerate(frames) if frame.answer == "wrong")]
    order += [index for index, frame in enumerate(frames) if frame.answer == "unknown"]
    return {index: varied[index // _BATCH].frames[index % _BATCH] for index in order[:MAX_FAILED]}


def _varied(trained: CalibrationInput, chosen: npt.NDArray[np.intp], rng: np.random.Generator) -> list[_VariedBatch]:
    """Return varied frames of the chosen classes, in batches."""
    batches = []
    turns = np.arange(len(chosen)) - np.searchsorted(chosen, chosen) + chosen  # large catalogues show each class once
    starts = range(0, len(chosen), _BATCH)
    for start in progress(starts, len(starts), "varying golden images", f"×{_BATCH}"):
        classes, turn = chosen[start : start + _BATCH], turns[start : start + _BATCH]
        images = [vary(image, Variation(), rng) for image in _images_of(trained, classes, turn)]
        score = trained.score(preprocess(images, trained.spec))
        batches.append(_VariedBatch(classes, score, preprocess(images, trained.matching.preprocess(trained.spec))))
    return batches


def _images_of(
    trained: CalibrationInput, classes: npt.NDArray[np.intp], turns: npt.NDArray[np.intp]
) -> Iterator[Pixels]:
    """Yield an image of each class: its references take turns. Each file is read once a call."""
    read: dict[tuple[int, int], Pixels] = {}
    for index, turn in zip(classes.tolist(), turns.tolist(), strict=True):
        further = trained.further.get(index, ())
        key = index, turn % (1 + len(further))
        if key not in read:
            read[key] = further[key[1] - 1] if key[1] else trained.goldens[index]
        yield read[key]
