"""From scores to an answer: a label, or unknown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partsight.runtime.core import FloatArray, best_first
from partsight.runtime.matching import Matches, MatchingSpec


@dataclass(frozen=True)
class Answer:
    """What one frame shows.

    Attributes:
        label: the part, or None if it is unknown.
        score: of the best candidate; its scale is the package's: `agreement` where frames are compared with golden
            images, else the network's `cosine` or `probability`.
        margin: best score minus the second best (the score itself if only one part is taught).
        accepted: whether the score reaches the threshold and, where frames are compared with golden images, leads the
            next clearly enough; `label` is None exactly when it does not.
        top: the best candidates and their scores, best first, whether accepted or not. Where frames are compared with
            golden images, only those that were.
    """

    label: str | None
    score: float
    margin: float
    accepted: bool
    top: tuple[tuple[str, float], ...]


def decide(score: FloatArray, labels: Sequence[str], threshold: float, top: int) -> list[Answer]:
    """Turn scores into answers.

    Args:
        score: (batch, classes) float32.
        labels: of the classes, in order.
        threshold: a best score below it, or one that is not a number, is answered "unknown".
        top: how many candidates to name.

    Returns:
        One answer for each row, in order. Of equal scores the class that comes first wins.
    """
    return [_answer(row, best_first(row, max(2, top)), labels, threshold, top) for row in score]


def decide_matched(
    matches: Matches, spec: MatchingSpec, labels: Sequence[str], threshold: float, top: int
) -> list[Answer]:
    """Turn the comparison with golden images into answers.

    Args:
        matches: of frames.
        spec: how they were compared.
        labels: of the classes, in order.
        threshold: a best agreement below it is answered "unknown".
        top: how many candidates to name.
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
            # An agreement of 0 stands for no part: fewer classes than finalists were among the candidates.
            top=tuple((labels[index], value) for index, value in zip(classes, agreement, strict=True) if value > 0)[
                :top
            ],
        )
        for classes, agreement, margin, accepted in rows
    ]


def _answer(row: FloatArray, order: np.ndarray, labels: Sequence[str], threshold: float, top: int) -> Answer:
    best = float(row[order[0]])
    margin = best - float(row[order[1]]) if len(order) > 1 else best
    accepted = best >= threshold
    return Answer(
        label=labels[order[0]] if accepted else None,
        score=best,
        margin=margin,
        accepted=accepted,
        top=tuple((labels[index], float(row[index])) for index in order[:top]),
    )
