"""What people said of frames, and what it is good for."""

import os
from pathlib import Path

from partsight.cli import commission as cli
from partsight.runtime.calibration.commissioning import set_up
from partsight.runtime.feedback import decide, read_feedback
from partsight.runtime.page.improve import improvement
from partsight.runtime.page.improve.improvement import Improvement, read_improvement
from tests.runtime.feedback.kept import keep

LABELS = ("M8x40", "M8x41")


def improve(folder: Path, fitted: float = 0.0) -> Improvement:
    return read_improvement(read_feedback(folder).frames, LABELS, fitted)


def test_confirmed_frames_and_new_parts(tmp_path: Path) -> None:
    frames = keep(tmp_path, "M8x40", "M8x41", None, None, "M8x40")
    decide(tmp_path, frames[0], "confirmed")
    decide(tmp_path, frames[1], "confirmed", "M8x40")
    decide(tmp_path, frames[2], "confirmed", "bolt")
    decide(tmp_path, frames[3], "not_taught")
    found = improve(tmp_path)
    assert (found.frames, found.parts, found.waiting, found.open) == (4, 2, 4, 1)
    assert found.new_parts == {"bolt": 1}
    assert found.summary.corrected == 2


def test_frames_that_a_commissioning_has_used_wait_no_more(tmp_path: Path) -> None:
    for frame in keep(tmp_path, "M8x40", "M8x41"):
        moved = decide(tmp_path, frame, "confirmed")
        os.utime(moved.path.with_suffix(".json"), (1000, 1000))
    frame = keep(tmp_path, "M8x40", start=2)[-1]
    os.utime(decide(tmp_path, frame, "confirmed").path.with_suffix(".json"), (3000, 3000))
    assert [improve(tmp_path, fitted).waiting for fitted in (0.0, 2000.0, 4000.0)] == [3, 1, 0]


def test_a_sample_that_is_not_fair(tmp_path: Path) -> None:
    frames = keep(tmp_path, None, None, "M8x40", query="?margin=1")
    for frame in frames:
        decide(tmp_path, frame, "not_taught")
    assert (improve(tmp_path).frames, improve(tmp_path).fair) == (3, 0)


def test_a_review_that_is_half_done(tmp_path: Path) -> None:
    frames = keep(tmp_path, *["M8x40"] * 8, None, None)
    decide(tmp_path, frames[1], "confirmed")
    found = improve(tmp_path)
    assert (found.shown, found.skipped, found.open, found.open_refused) == (2, 1, 9, 2)
    assert found.is_half_reviewed
    decide(tmp_path, frames[0], "confirmed")
    found = improve(tmp_path)
    assert (found.shown, found.skipped) == (2, 0)
    assert not found.is_half_reviewed  # the others came later: nobody could decide then


def test_its_limits_are_those_of_the_command() -> None:
    assert (improvement.MIN_FRAMES, improvement.MAX_OPEN) == (set_up.MIN_FRAMES, cli._MAX_OPEN)
