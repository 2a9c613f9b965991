"""Reading a folder of kept frames: decisions, records, and files that cannot be read."""

from pathlib import Path

import cv2
import pytest

from partsight.runtime import FeedbackError
from partsight.runtime.feedback import confirmed_frames, decide, is_reviewed, read_feedback
from tests.runtime.feedback.kept import keep, sequences
from tests.tiny import solid


def test_what_the_sink_keeps_is_open(tmp_path: Path) -> None:
    keep(tmp_path / "kept", "M8x40", None, query="")
    feedback = read_feedback(tmp_path / "kept")
    assert [(frame.verdict, frame.answer, frame.label) for frame in feedback.frames] == [("open", "M8x40", None)] * 2
    assert [frame.is_refused for frame in feedback.frames] == [False, True]
    assert (sequences(feedback.frames), feedback.faults) == ([0, 1], {})
    assert not is_reviewed(tmp_path / "kept")


def test_a_second_reading_takes_up_the_first(tmp_path: Path) -> None:
    """It finds moved and new frames, and does not read the records of the others again."""
    first, second, third = keep(tmp_path, None, None, None)
    earlier = read_feedback(tmp_path)
    first.path.with_suffix(".json").write_text("changed by nobody")
    decide(tmp_path, second, "discarded")
    third.path.unlink()
    later = keep(tmp_path, "M8x41", start=3)[-1]
    again = read_feedback(tmp_path, earlier)
    assert {frame.name: frame.verdict for frame in again.frames} == {
        first.name: "open",
        second.name: "discarded",
        later.name: "open",
    }
    assert again.frames[0].record == first.record
    assert again.faults == {}


def test_a_record_that_comes_later(tmp_path: Path) -> None:
    (frame,) = keep(tmp_path, None)
    record = frame.path.with_suffix(".json")
    away = record.rename(tmp_path.parent / "away.json")
    earlier = read_feedback(tmp_path)
    assert earlier.frames[0].record is None
    away.rename(record)
    assert read_feedback(tmp_path, earlier).frames == (frame,)


def test_jpg(tmp_path: Path) -> None:
    (frame,) = keep(tmp_path, None, query="?format=jpg")
    assert decide(tmp_path, frame, "confirmed").path == tmp_path / "confirmed" / "M8x40" / frame.path.name


def test_frames_that_a_person_put_there(tmp_path: Path) -> None:
    """A file manager does, too; its pictures have no records."""
    (tmp_path / "confirmed" / "M8x40").mkdir(parents=True)
    (tmp_path / "not_taught").mkdir()
    for place in ("confirmed/M8x40/photo.bmp", "not_taught/other.png", "mine.png"):
        cv2.imwrite(str(tmp_path / place), solid("red"))
    feedback = read_feedback(tmp_path)
    assert feedback.faults == {}
    assert {frame.name: (frame.verdict, frame.label) for frame in feedback.frames} == {
        "mine": ("open", None),
        "other": ("not_taught", None),
        "photo": ("confirmed", "M8x40"),
    }
    assert [frame.name for frame in confirmed_frames(tmp_path)] == ["other", "photo"]
    assert is_reviewed(tmp_path)


def test_a_picture_moved_without_its_record_keeps_it(tmp_path: Path) -> None:
    (frame,) = keep(tmp_path, None)
    (tmp_path / "not_taught").mkdir()
    frame.path.rename(tmp_path / "not_taught" / frame.path.name)
    (found,) = confirmed_frames(tmp_path)
    assert found.record == frame.record


def test_why_pictures_are_no_frames(tmp_path: Path) -> None:
    frames = keep(tmp_path, None)
    (tmp_path / "why").mkdir()
    cv2.imwrite(str(tmp_path / "why" / frames[0].path.name), solid("red"))
    assert list(read_feedback(tmp_path).frames) == frames


def test_damaged_pictures_are_named(tmp_path: Path) -> None:
    whole, cut, empty = keep(tmp_path, *[None] * 3)
    cut.path.write_bytes(cut.path.read_bytes()[:-5])
    empty.path.write_bytes(b"")
    feedback = read_feedback(tmp_path)
    assert set(feedback.faults) == {cut.path, empty.path}
    assert feedback.frames == (whole,)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"{", b"\xff{"),
        (b'"schema_version":', b'"schema_version":9'),
        (b'"stands_for":1', b'"stands_for":-1'),
        (b'"camera"', b'"more":' + b"[" * 100_000),
        (b'"camera":"left"', b'"camera":7'),
    ],
)
def test_a_frame_with_a_damaged_record_stays_without_it(tmp_path: Path, old: bytes, new: bytes) -> None:
    damaged, whole = keep(tmp_path, None, None)
    record = damaged.path.with_suffix(".json")
    assert old in record.read_bytes()
    record.write_bytes(record.read_bytes().replace(old, new))
    feedback = read_feedback(tmp_path)
    assert set(feedback.faults) == {record}
    assert [(frame.name, frame.record) for frame in feedback.frames] == [
        (damaged.name, None),
        (whole.name, whole.record),
    ]


def test_one_name_in_two_places(tmp_path: Path) -> None:
    frame, _ = keep(tmp_path, None, None)
    confirmed = decide(tmp_path, frame, "confirmed")
    copy = tmp_path / "discarded" / frame.path.name
    copy.parent.mkdir()
    copy.write_bytes(confirmed.path.read_bytes())
    feedback = read_feedback(tmp_path)
    assert len(feedback.frames) == 2
    assert set(feedback.faults) <= {copy, confirmed.path}
    assert len(feedback.faults) == 1


def test_a_picture_next_to_the_folders_of_parts(tmp_path: Path) -> None:
    (tmp_path / "confirmed").mkdir()
    stray = tmp_path / "confirmed" / "photo.png"
    cv2.imwrite(str(stray), solid("red"))
    assert set(read_feedback(tmp_path).faults) == {stray}


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FeedbackError, match="missing"):
        read_feedback(tmp_path / "missing")


@pytest.mark.parametrize(("every", "expected"), [(0, {0}), (1, {1}), (7, {1, 7})])
def test_what_a_frame_stands_for(tmp_path: Path, every: int, expected: set[int]) -> None:
    """All refused and close frames are kept, and one in seven of the others; without these it is no sample."""
    keep(tmp_path, None, *["M8x40"] * 60, query=f"?every={every}&margin=0")
    frames = read_feedback(tmp_path).frames
    assert {frame.stands_for for frame in frames} == expected
    assert sum(frame.stands_for for frame in frames) == pytest.approx(
        {0: 0, 1: 61, 7: 61}[every], abs=25 if every > 1 else 0
    )
