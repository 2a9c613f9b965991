"""Weak parts: those whose varied golden images get no label or a wrong one, or only just their own."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from partsight.train.records import VariedFrame


@dataclass(frozen=True)
class WeakPart:
    """Answers to the varied golden images of one part.

    Attributes:
        part: Index of the part.
        frames: Number of its varied golden images.
        unknown, wrong: Number of them that get no label, and another part's label.
        lowest_agreement: Lowest agreement with the best part, in [0, 1].
        lowest_margin: Smallest lead of the best part over the second.
        nearest: Part that agrees with them best, apart from this one.
        nearest_agreement: Highest agreement with it; 0 if there is no other part.
    """

    part: int
    frames: int
    unknown: int
    wrong: int
    lowest_agreement: float
    lowest_margin: float
    nearest: int
    nearest_agreement: float

    @property
    def failed(self) -> int:
        """Number of frames without their own label."""
        return self.unknown + self.wrong


def weakest_parts(frames: Sequence[VariedFrame]) -> list[WeakPart]:
    """Return all parts of the frames, the weakest first.

    Wrong answers count most, then the share of failed frames, then the lowest margin; no margin exceeds its agreement.
    """
    of_part: dict[int, list[VariedFrame]] = defaultdict(list)
    for frame in frames:
        of_part[frame.part].append(frame)
    found = [_summary(part, own) for part, own in of_part.items()]
    return sorted(found, key=lambda item: (-item.wrong / item.frames, -item.failed / item.frames, item.lowest_margin))


def _summary(part: int, frames: Sequence[VariedFrame]) -> WeakPart:
    count = Counter(frame.answer for frame in frames)
    nearest = max(frames, key=lambda frame: frame.other_agreement)
    return WeakPart(
        part=part,
        frames=len(frames),
        unknown=count["unknown"],
        wrong=count["wrong"],
        lowest_agreement=min(frame.agreement for frame in frames),
        lowest_margin=min(frame.margin for frame in frames),
        nearest=nearest.other,
        nearest_agreement=nearest.other_agreement,
    )
