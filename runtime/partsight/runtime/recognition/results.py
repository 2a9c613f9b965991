"""Results: the part that a frame shows, from the scores of its candidates, and the time of the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from partsight.runtime.core import FloatArray, best_first
from partsight.runtime.matching import Matches, MatchingSpec


class ScoredLabel(NamedTuple):
    """A candidate for a frame: a part and its score."""

    label: str
    score: float


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
    """

    label: str | None
    score: float
    margin: float
    accepted: bool
    top: tuple[ScoredLabel, ...]


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


@dataclass(frozen=True)
class Result(Answer):
    """An answer and its time.

    Attributes:
        latency_ms: Milliseconds from the call until the answers to this frame and all before it were ready.
        stages: Milliseconds of each stage.
    """

    latency_ms: float
    stages: Stages


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
    matches: Matches, spec: MatchingSpec, labels: Sequence[str], threshold: float, top: int
) -> list[Answer]:
    """Turn the comparison with golden images into answers.

    Args:
        matches: Comparison of each frame with its candidates.
        spec: Settings of the comparison.
        labels: Labels of the classes, in order.
        threshold: Least agreement that is accepted.
        top: Number of candidates to name.
    """
    rows = zip(
        matches.classes.tolist(),
        matches.agreement.tolist(),
        matches.margin.tolist(),
        matches.is_accepted(threshold, spec).tolist(),
        strict=True,
    )
    return [
        Answer(
            label=labels[classes[0]] if accepted else None,
            score=agreement[0],
            margin=margin,
            accepted=accepted,
            top=_compared(classes, agreement, labels)[:top],
        )
        for classes, agreement, margin, accepted in rows
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
    )
