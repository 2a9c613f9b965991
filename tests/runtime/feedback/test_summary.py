"""What people said, by part."""

from pathlib import Path

import pytest

from partsight.runtime.feedback import Mistake, PartFeedback, Verdict, decide, read_feedback, summarize
from tests.runtime.feedback.kept import keep, keep_candidates


def test_counts(tmp_path: Path) -> None:
    """Frames of M8x40, refused or accepted, right and wrong."""
    frames = keep(tmp_path, None, "M8x40", None, "M8x40", "M8x40", None, None, "M8x40")
    said = ("M8x40", "M8x40", "M8x41", "M8x41", "", "", "-", "open")
    for frame, label in zip(frames, said, strict=True):
        if label != "open":
            verdicts: dict[str, Verdict] = {"": "not_taught", "-": "discarded"}
            decide(tmp_path, frame, verdicts.get(label, "confirmed"), label or None)
    summary = summarize(read_feedback(tmp_path).frames)
    assert summary.counts == {"open": 1, "confirmed": 4, "not_taught": 2, "discarded": 1}
    assert summary.corrected == 3
    assert summary.parts == (
        PartFeedback("M8x40", confirmed=2, corrected_from=3, discarded=1, refused=1),
        PartFeedback("M8x41", corrected_to=2, refused=1),
    )
    assert summary.mistakes == (Mistake("M8x40", "M8x41", 2, 1), Mistake("M8x40", None, 1, 1))
    assert [part.label for part in summary.often_corrected] == ["M8x40"]


@pytest.mark.parametrize(
    ("confirmed", "corrected", "expected"), [(0, 2, False), (0, 3, True), (6, 3, True), (7, 3, False)]
)
def test_often_corrected(confirmed: int, corrected: int, *, expected: bool) -> None:
    assert PartFeedback("M8x40", confirmed=confirmed, corrected_from=corrected).is_often_corrected is expected
    assert PartFeedback("M8x40", confirmed=confirmed, corrected_to=corrected).is_often_corrected is expected


def test_a_frame_without_candidates_counts_for_its_part_alone(tmp_path: Path) -> None:
    keep_candidates(tmp_path, 0, None, [])
    (frame,) = read_feedback(tmp_path).frames
    decide(tmp_path, frame, "confirmed", "M8x40")
    summary = summarize(read_feedback(tmp_path).frames)
    assert summary.parts == (PartFeedback("M8x40", corrected_to=1, refused=1),)
    assert summary.mistakes == ()


def test_nothing(tmp_path: Path) -> None:
    summary = summarize(read_feedback(tmp_path).frames)
    assert (summary.counts["open"], summary.parts, summary.mistakes) == (0, (), ())
