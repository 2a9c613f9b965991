"""Results: the part that a frame shows, from the scores of its candidates, and the time of the answer."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from partsight.runtime.core import FloatArray, best_first
from partsight.runtime.matching import Bank, Matches, MatchingSpec, PartPose, Rule


class ScoredLabel(NamedTuple):
    """A candidate for a frame: a part and its score."""

    label: str
    score: float


Reason = Literal["recognised", "agrees_with_none", "two_parts_fit"]
"""Why a frame got a label or none: the score is below the threshold, or a second golden image fits about as well."""

REASONS: tuple[Reason, ...] = get_args(Reason)
"""Its values; a bundle's output `reason` is an index of this list."""


@dataclass(frozen=True)
class Answer:
    """The part that one frame shows.

    Attributes:
        label: The part; None if it is unknown.
        score: Score of the best candidate. Its scale is the package's: `agreement` if frames are compared with golden
            images, else the network's `cosine` or `probability`.
        margin: Best score minus the second best; the score itself if the package has only one part.
        accepted: Whether the score reaches the threshold and, if frames are compared with golden images, the margin is
            large enough. `label` is None exactly if not.
        top: The best candidates, best first, accepted or not. If frames are compared with golden images, only compared
            candidates.
        reason: Why there is a label, or none.
        threshold: Least score that this frame needed.
        least_margin: Least margin that it needed; 0 if frames are not compared with golden images.
        pose: Pose of the best candidate; None if frames are not compared with golden images.
        reference: Which of its references agreed best, from 0, the golden image; None as for `pose`.
    """

    label: str | None
    score: float
    margin: float
    accepted: bool
    top: tuple[ScoredLabel, ...]
    reason: Reason
    threshold: float
    least_margin: float = 0.0
    pose: PartPose | None = None
    reference: int | None = None


@dataclass(frozen=True)
class Stages:
    """Milliseconds that each stage took for the batch of this frame.

    Attributes:
        prepare_ms: Resizing to the network's input, without the time that overlaps the network's run of the batch
            before.
        network_ms: The network.
        compare_ms: Comparison with golden images, if the package has them, and decision.
    """

    prepare_ms: float
    network_ms: float
    compare_ms: float


@dataclass(frozen=True, kw_only=True)
class Result(Answer):
    """An answer and its time.

    Attributes:
        latency_ms: Milliseconds from the call until the answers to this frame and all before it were ready.
        stages: Milliseconds of each stage.
    """

    latency_ms: float
    stages: Stages

    @classmethod
    def of(cls, answer: Answer, latency_ms: float, stages: Stages) -> "Result":
        """Return an answer with its time."""
        fields = {field.name: getattr(answer, field.name) for field in dataclasses.fields(answer)}
        return cls(**fields, latency_ms=latency_ms, stages=stages)


def decide(score: FloatArray, labels: Sequence[str], threshold: float, top: int) -> list[Answer]:
    """Turn the network's scores into answers.

    Args:
        score: Scores, (batch, classes) float32.
        labels: Labels of the classes, in order.
        threshold: Least score that is accepted. A score that is not a number is never accepted.
        top: Number of candidates to name.

    Returns:
        One answer for each row, in order. Of equal scores the class that comes first wins.
    """
    return [_answer(row, best_first(row, max(2, top)), labels, threshold, top) for row in score]


def decide_matched(
    matches: Matches, bank: Bank, spec: MatchingSpec, labels: Sequence[str], rule: Rule, top: int
) -> list[Answer]:
    """Turn the comparison with golden images into answers.

    Args:
        matches: Comparison of each frame with its candidates.
        bank: Bank of references.
        spec: Settings of the comparison.
        labels: Labels of the classes, in order.
        rule: Least agreement that is accepted.
        top: Number of candidates to name.
    """
    best = matches.references[:, 0] - bank.references_of[matches.classes[:, 0], 0]
    rows = zip(
        matches.classes.tolist(),
        matches.agreement.tolist(),
        matches.margin.tolist(),
        matches.needed(rule).tolist(),
        matches.least_margin(spec).tolist(),
        matches.is_accepted(rule, spec).tolist(),
        [matches.poses.of_part(frame, 0) for frame in range(len(best))],
        best.tolist(),
        strict=True,
    )
    return [
        Answer(
            label=labels[classes[0]] if accepted else None,
            score=agreement[0],
            margin=margin,
            accepted=accepted,
            top=_compared(classes, agreement, labels)[:top],
            reason="recognised" if accepted else "two_parts_fit" if agreement[0] >= needed else "agrees_with_none",
            threshold=needed,
            least_margin=least_margin,
            pose=pose,
            reference=reference,
        )
        for classes, agreement, margin, needed, least_margin, accepted, pose, reference in rows
    ]


def _compared(classes: Sequence[int], agreement: Sequence[float], labels: Sequence[str]) -> tuple[ScoredLabel, ...]:
    """Return the compared candidates. An agreement of 0 stands for none: a frame had fewer classes than finalists."""
    pairs = zip(classes, agreement, strict=True)
    return tuple(ScoredLabel(labels[index], value) for index, value in pairs if value > 0)


def _answer(row: FloatArray, order: np.ndarray, labels: Sequence[str], threshold: float, top: int) -> Answer:
    best = float(row[order[0]])
    margin = best - float(row[order[1]]) if len(order) > 1 else best
    accepted = best >= threshold
    return Answer(
        label=labels[order[0]] if accepted else None,
        score=best,
        margin=margin,
        accepted=accepted,
        top=tuple(ScoredLabel(labels[index], float(row[index])) for index in order[:top]),
        reason="recognised" if accepted else "agrees_with_none",
        threshold=threshold,
    )
