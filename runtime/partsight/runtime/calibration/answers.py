"""Answers to varied golden images, by the network and by matching, with each frame's own part and without it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.matching import Matcher, Matches, MatchingSpec, Rule

_REFUSED = 0.0  # replaces the evidence of a frame that two parts fit; no threshold accepts it
_NO_OTHER_PART = -1.0  # replaces the best score of the other parts where there are none; the lowest cosine


@dataclass(frozen=True)
class VariedAnswers:
    """Best scores of varied golden images; each (frames,).

    A frame without its own part to choose from stands for a frame of an unknown part.

    Attributes:
        taught: Best score with all parts to choose from, float32.
        left_out: Best score with the frame's own part left out, float32.
        is_right: Whether `taught` is the score of the frame's own part, and no second part fits as well, bool.
    """

    taught: FloatArray
    left_out: FloatArray
    is_right: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.taught)

    @classmethod
    def joined(cls, batches: Sequence["VariedAnswers"]) -> "VariedAnswers":
        """Return the answers of all batches, in order."""
        return cls(
            np.concatenate([np.zeros(0, np.float32), *(batch.taught for batch in batches)]),
            np.concatenate([np.zeros(0, np.float32), *(batch.left_out for batch in batches)]),
            np.concatenate([np.zeros(0, bool), *(batch.is_right for batch in batches)]),
        )

    def of_frames(self, chosen: npt.NDArray[np.bool_]) -> "VariedAnswers":
        """Return the answers to some of the frames; `chosen` is (frames,)."""
        return VariedAnswers(self.taught[chosen], self.left_out[chosen], self.is_right[chosen])


def answer_by_score(
    score: FloatArray, classes: npt.NDArray[np.intp], excluded: npt.NDArray[np.bool_] | None = None
) -> VariedAnswers:
    """Return the answers that the network alone gives.

    Args:
        score: Scores of the network, (frames, classes) float32.
        classes: Index of each frame's own part, (frames,).
        excluded: Other parts that both answers leave out, (frames, classes); None for none.
    """
    is_own = _is_own(score, classes)
    allowed = score if excluded is None else np.where(excluded, np.float32(-np.inf), score)
    others = np.where(is_own, np.float32(-np.inf), allowed).max(axis=1)
    return VariedAnswers(
        taught=allowed.max(axis=1),
        left_out=np.where(np.isneginf(others), np.float32(_NO_OTHER_PART), others),
        is_right=allowed.argmax(axis=1) == classes,
    )


def answer_by_agreement(
    matcher: Matcher,
    frames: Pixels,
    score: FloatArray,
    classes: npt.NDArray[np.intp],
    rule: Rule,
    excluded: npt.NDArray[np.bool_] | None = None,
) -> VariedAnswers:
    """Return the answers that matching gives.

    Args:
        matcher: Matcher with the references of the package.
        frames: Frames prepared for matching, (frames, height, width, 3) uint8 BGR.
        score: Scores of the network, (frames, classes) float32.
        classes: Index of each frame's own part, (frames,).
        rule: Weights of margin and lead.
        excluded: Other parts that both answers leave out, (frames, classes); None for none.
    """
    is_own = _is_own(score, classes)
    left_out = is_own if excluded is None else is_own | excluded
    matches, others = matcher.match(frames, score, excluded), matcher.match(frames, score, left_out)
    return answer_by_matches(matches, others, classes, matcher.spec, rule)


def answer_by_matches(
    matches: Matches, others: Matches, classes: npt.NDArray[np.intp], spec: MatchingSpec, rule: Rule
) -> VariedAnswers:
    """Return the answers that matching gives; their scores are the evidence of the rule, see `Matches.evidence`.

    Args:
        matches: Comparison of frames with all parts.
        others: Comparison of the same frames without each frame's own part.
        classes: Index of each frame's own part, (frames,).
        spec: Specification of matching.
        rule: Weights of margin and lead.
    """
    is_right = (matches.classes[:, 0] == classes) & (matches.agreement[:, 0] > 0) & matches.is_distinct(spec)
    return VariedAnswers(_scores_of(matches, spec, rule), _scores_of(others, spec, rule), is_right)


def _is_own(score: FloatArray, classes: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return which scores are of the frame's own part, (frames, classes)."""
    return np.asarray(np.arange(score.shape[1]) == classes[:, None])


def _scores_of(matches: Matches, spec: MatchingSpec, rule: Rule) -> FloatArray:
    """Return (frames,) evidence, or `_REFUSED` where a second part fits as well."""
    return np.where(matches.is_distinct(spec), matches.evidence(rule), np.float32(_REFUSED))
