"""Failures: frames that a package answers wrong or not at all, and the parts that they show."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration.commissioning.frames import LineFrame
from partsight.runtime.calibration.commissioning.line_answers import LineAnswers
from partsight.runtime.matching import Rule


@dataclass(frozen=True)
class PartFit:
    """How well the frames of one part fit its references.

    Attributes:
        label: Label of the part.
        frames: Number of its frames.
        refused, wrong: Number of those that get no label, and another part's label.
        agreement: Median agreement with the part.
    """

    label: str
    frames: int
    refused: int
    wrong: int
    agreement: float

    @property
    def failed(self) -> int:
        """Number of frames that do not get the label of the part."""
        return self.refused + self.wrong


@dataclass(frozen=True)
class FailedFrame:
    """A frame that gets no label or a wrong one.

    Attributes:
        path: Image file.
        label: Part that it shows; None for a part that is not taught.
        best: Part whose golden image fits best.
        is_accepted: Whether the frame gets the label of that part.
        agreement, margin: Agreement with it, and its lead over the second.
        index: Index of the frame among the answers.
    """

    path: Path
    label: str | None
    best: str
    is_accepted: bool
    agreement: float
    margin: float
    index: int


@dataclass(frozen=True)
class Confusion:
    """A part whose frames fit another part better.

    Attributes:
        label: Part that the frames show.
        other: Part whose golden image fits them best.
        frames: Number of these frames.
        of_frames: Number of all frames that show the part.
        accepted: Number of these frames that get the other label.
    """

    label: str
    other: str
    frames: int
    of_frames: int
    accepted: int


def find_failed(
    answers: LineAnswers, rule: Rule, frames: Sequence[LineFrame], labels: Sequence[str]
) -> tuple[FailedFrame, ...]:
    """Return the frames that a rule fails on: wrong labels first, then the lowest agreement."""
    accepted, right, taught = answers.accepted(rule), answers.is_right_first, answers.is_taught
    failed = np.where(taught, ~accepted | ~right, accepted)
    best, agreement, margin = answers.taught.classes[:, 0], answers.taught.agreement[:, 0], answers.taught.margin
    found = [
        FailedFrame(
            frames[index].path,
            labels[answers.classes[index]] if taught[index] else None,
            labels[best[index]],
            bool(accepted[index]),
            float(agreement[index]),
            float(margin[index]),
            index,
        )
        for index in np.flatnonzero(failed).tolist()
    ]
    return tuple(sorted(found, key=lambda frame: (not frame.is_accepted, frame.agreement)))


def find_weak_parts(answers: LineAnswers, rule: Rule, labels: Sequence[str]) -> tuple[PartFit, ...]:
    """Return the parts with a frame that a rule fails on, those with the largest share of such frames first."""
    accepted, right, own = answers.accepted(rule), answers.is_right_first, answers.own_agreement()
    found = []
    for part in np.unique(answers.classes[answers.is_taught & ~(accepted & right)]).tolist():
        shows: npt.NDArray[np.bool_] = answers.classes == part
        found.append(
            PartFit(
                labels[part],
                int(shows.sum()),
                int((shows & ~accepted).sum()),
                int((shows & accepted & ~right).sum()),
                float(np.median(own[shows])),
            )
        )
    return tuple(sorted(found, key=lambda fit: (-fit.failed / fit.frames, -fit.failed, fit.agreement)))


def find_confusions(answers: LineAnswers, rule: Rule, labels: Sequence[str]) -> tuple[Confusion, ...]:
    """Return the parts whose frames fit another part better, those with most such frames first."""
    chosen = np.flatnonzero(answers.is_taught & ~answers.is_right_first)
    accepted = answers.accepted(rule)
    pairs = [(int(answers.classes[row]), int(answers.taught.classes[row, 0])) for row in chosen]
    taken = Counter(pair for pair, row in zip(pairs, chosen, strict=True) if accepted[row])
    return tuple(
        Confusion(labels[own], labels[other], count, int((answers.classes == own).sum()), taken[own, other])
        for (own, other), count in Counter(pairs).most_common()
    )
