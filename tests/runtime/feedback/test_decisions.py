"""A decision moves a frame and its record, whole, and the sink leaves it there."""

import errno
import os
from pathlib import Path

import pytest

from partsight.runtime import FeedbackError
from partsight.runtime.feedback import KeptFrame, Verdict, decide, read_feedback
from partsight.runtime.sinks import open_sink
from tests.runtime.feedback.kept import keep, keep_candidates, sequences
from tests.runtime.sinks.kinds import event


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("verdict", "label", "place", "is_corrected"),
    [
        ("confirmed", None, "confirmed/M8x40", False),
        ("confirmed", "M8x41", "confirmed/M8x41", True),
        ("not_taught", None, "not_taught", False),
        ("discarded", None, "discarded", False),
    ],
)
def test_each_decision(tmp_path: Path, verdict: Verdict, label: str | None, place: str, is_corrected: bool) -> None:
    (frame,) = keep(tmp_path, None)
    decided = decide(tmp_path, frame, verdict, label)
    assert files(tmp_path) == {f"{place}/{frame.path.name}", f"{place}/{frame.name}.json"}
    (found,) = read_feedback(tmp_path).frames
    assert found == decided
    assert (found.verdict, found.is_corrected, found.record) == (verdict, is_corrected, frame.record)
    assert found.label == ("M8x40" if verdict == "confirmed" and not label else label)


def test_a_part_not_taught_that_was_accepted_is_corrected(tmp_path: Path) -> None:
    (frame,) = keep(tmp_path, "M8x40")
    assert decide(tmp_path, frame, "not_taught").is_corrected


def test_another_decision_and_back(tmp_path: Path) -> None:
    """An empty folder of a part would be a fault of a catalogue."""
    (frame,) = keep(tmp_path, None)
    decided = decide(tmp_path, frame, "confirmed")
    decided = decide(tmp_path, decided, "confirmed", "M8x41")
    assert not (tmp_path / "confirmed" / "M8x40").exists()
    assert decide(tmp_path, decided, "confirmed", "M8x41") == decided
    assert decide(tmp_path, decided, "open") == frame
    assert files(tmp_path) == {frame.path.name, f"{frame.name}.json"}


@pytest.mark.parametrize(
    "label", ["M8/40", "..", ".hidden", "CON", "aux.1", "a:b", "end.", "50%", "100%25", "Größe 日本"]
)
def test_a_label_that_no_folder_may_have(tmp_path: Path, label: str) -> None:
    (frame,) = keep(tmp_path, None)
    decided = decide(tmp_path, frame, "confirmed", label)
    assert decided.path.parent.parent == tmp_path / "confirmed"
    assert not set(decided.path.parent.name) & set('<>:"/\\|?*')
    assert [found.label for found in read_feedback(tmp_path).frames] == [label]


@pytest.mark.parametrize("label", [" M8", "", "tab\t"])
def test_a_text_that_is_no_label(tmp_path: Path, label: str) -> None:
    keep_candidates(tmp_path, 0, None, [])
    (frame,) = read_feedback(tmp_path).frames
    with pytest.raises(FeedbackError):
        decide(tmp_path, frame, "confirmed", label)
    assert read_feedback(tmp_path).frames == (frame,)


def test_the_sink_removes_no_reviewed_frame(tmp_path: Path) -> None:
    """It counts open frames alone, and goes on when one that it knows is gone."""
    with open_sink(f"images:{tmp_path}?max_files=3") as sink:
        for sequence in range(3):
            sink.write(event(sequence, None))
        for frame in read_feedback(tmp_path).frames[:2]:
            decide(tmp_path, frame, "confirmed")
        for sequence in range(3, 8):
            sink.write(event(sequence, None))
    for sequence in (8, 9):  # and after a restart
        with open_sink(f"images:{tmp_path}?max_files=3") as sink:
            sink.write(event(sequence, None))
    feedback = read_feedback(tmp_path)
    assert sequences(feedback.of("confirmed")) == [0, 1]
    assert sequences(feedback.of("open")) == [7, 8, 9]


def test_a_review_makes_room_for_new_frames(tmp_path: Path) -> None:
    """Of the newest frames, too: the sink then removes no open one."""
    with open_sink(f"images:{tmp_path}?max_files=3") as sink:
        for sequence in range(3):
            sink.write(event(sequence, None))
        for frame in read_feedback(tmp_path).frames[1:]:
            decide(tmp_path, frame, "confirmed")
        for sequence in range(3, 5):
            sink.write(event(sequence, None))
        assert sequences(read_feedback(tmp_path).of("open")) == [0, 3, 4]
        sink.write(event(5, None))
    assert sequences(read_feedback(tmp_path).of("open")) == [3, 4, 5]


def test_a_frame_that_the_sink_removed_meanwhile(tmp_path: Path) -> None:
    (frame,) = keep(tmp_path, None)
    frame.path.unlink()
    with pytest.raises(FeedbackError, match=frame.name):
        decide(tmp_path, frame, "confirmed")
    assert {path for path in files(tmp_path) if path.startswith("confirmed")} == set()


@pytest.mark.parametrize("step", ["replace", "unlink"])
def test_a_power_cut_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Whatever the last step was, the frame is in one place, with its record, also after the sink opens again."""
    (frame,) = keep(tmp_path, None)

    class PowerCutError(BaseException):
        pass

    real = getattr(Path, step)

    def cut(path: Path, *arguments: object, **options: object) -> object:
        if path in (frame.path, frame.path.with_suffix(".json")):
            raise PowerCutError
        return real(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, step, cut)
        with pytest.raises(PowerCutError):
            decide(tmp_path, frame, "confirmed")
    open_sink(f"images:{tmp_path}").close()
    (found,) = read_feedback(tmp_path).frames
    assert (found.verdict, found.record) == ("open" if step == "replace" else "confirmed", frame.record)
    assert decide(tmp_path, found, "confirmed").record == frame.record


def test_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (frame,) = keep(tmp_path, None)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(Exception, match=os.strerror(errno.EIO)):
            decide(tmp_path, frame, "confirmed")
    assert read_feedback(tmp_path).frames == (frame,)


def test_frames_are_facts(tmp_path: Path) -> None:
    (frame,) = keep(tmp_path, None)
    with pytest.raises(AttributeError):
        frame.label = "M8x40"  # type: ignore[misc]
    assert isinstance(frame, KeptFrame)
