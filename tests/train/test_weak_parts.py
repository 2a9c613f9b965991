"""Weak parts."""

from partsight.train.advice import is_weak
from partsight.train.records import VariedFrame
from partsight.train.weak_parts import weakest_parts

STRONG, UNSURE, REFUSED, MISTAKEN = range(4)


def right(part: int, agreement: float = 0.8, margin: float = 0.7) -> VariedFrame:
    return VariedFrame(part, part, "right", agreement, margin, STRONG, 0.1)


FRAMES = [
    *(right(STRONG) for _ in range(4)),
    right(UNSURE),
    right(UNSURE, margin=0.05),
    right(REFUSED),
    VariedFrame(REFUSED, REFUSED, "unknown", 0.1, 0.08, UNSURE, 0.02),
    VariedFrame(REFUSED, REFUSED, "unknown", 0.09, 0.09, STRONG, 0.05),
    VariedFrame(MISTAKEN, UNSURE, "wrong", 0.6, 0.2, UNSURE, 0.6),
    *(right(MISTAKEN) for _ in range(9)),
]


def test_the_weakest_come_first() -> None:
    assert [item.part for item in weakest_parts(FRAMES)] == [MISTAKEN, REFUSED, UNSURE, STRONG]


def test_facts_of_a_part() -> None:
    found = {item.part: item for item in weakest_parts(FRAMES)}[REFUSED]
    assert (found.frames, found.unknown, found.wrong, found.failed) == (3, 2, 0, 2)
    assert (found.lowest_agreement, found.lowest_margin) == (0.09, 0.08)
    assert (found.nearest, found.nearest_agreement) == (STRONG, 0.1)  # that of the frame with the highest agreement


def test_a_wrong_answer_or_several_refused_frames_need_attention() -> None:
    assert {item.part for item in weakest_parts(FRAMES) if is_weak(item)} == {MISTAKEN, REFUSED}
    one = VariedFrame(STRONG, STRONG, "unknown", 0.1, 0.1, UNSURE, 0)
    assert not any(map(is_weak, weakest_parts([one, right(STRONG)])))  # chance


def test_no_frames_no_parts() -> None:
    assert weakest_parts([]) == []
