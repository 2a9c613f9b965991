"""Kept frames, and decisions of several people about them."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime.core import FeedbackError, PageError
from partsight.runtime.feedback import decide, read_feedback
from partsight.runtime.page.review import reviews as module
from partsight.runtime.page.review.reviews import AlreadyDecidedError, Decision, FrameGoneError, Reviews, state_of
from tests.runtime.feedback.kept import keep
from tests.tiny import solid
from tests.waiting import wait_until


class Log(list[tuple[str, str]]):
    def __call__(self, before: str, after: str) -> None:
        self.append((before, after))


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is read again at each call, if it has changed."""
    monkeypatch.setattr(module, "_LEAST_PAUSE_S", 0.0)
    monkeypatch.setattr(module, "_REST", 0.0)


def test_a_folder_that_does_not_exist_yet(tmp_path: Path, hurried: None) -> None:
    reviews = Reviews(tmp_path / "kept")
    assert (reviews.open_count(), reviews.read().frames, reviews.find("name")) == (0, (), None)
    assert reviews.thumbnail("name") is None
    (frame,) = keep(tmp_path / "kept", None)
    assert reviews.find(frame.name) == frame
    shutil.rmtree(tmp_path / "kept")
    assert reviews.read().frames == ()


def test_decisions_and_back(tmp_path: Path) -> None:
    frames, log = keep(tmp_path, None, None, "M8x41"), Log()
    reviews = Reviews(tmp_path)
    first, second, third = (frame.name for frame in frames)
    assert reviews.open_count() == 3
    reviews.decide(first, Decision("confirmed", None, "open"), log)
    reviews.decide(second, Decision("confirmed", "M8 new", "open"), log)
    reviews.decide(third, Decision("discarded", None, "open"), log)
    assert [state_of(frame) for frame in reviews.read().frames] == ["confirmed M8x40", "confirmed M8 new", "discarded"]
    assert reviews.open_count() == 0
    reviews.decide(first, Decision("open", None, "confirmed M8x40"), log)
    assert log[-1] == ("confirmed M8x40", "open")
    assert [entry[1] for entry in log[:3]] == ["confirmed M8x40", "confirmed M8 new", "discarded"]
    assert [frame.path for frame in read_feedback(tmp_path).of("open")] == [frames[0].path]


def test_the_second_of_two_people_learns_of_the_first(tmp_path: Path) -> None:
    (frame,) = keep(tmp_path, None)
    reviews, log = Reviews(tmp_path), Log()
    reviews.decide(frame.name, Decision("not_taught", None, "open"), log)
    with pytest.raises(AlreadyDecidedError) as caught:
        reviews.decide(frame.name, Decision("confirmed", None, "open"), log)
    assert caught.value.frame.verdict == "not_taught"
    assert len(log) == 1


def test_another_program_decides(tmp_path: Path) -> None:
    """The page has read the folder before, and looks again when the frame is not in its place."""
    first, second = keep(tmp_path, None, None)
    reviews, log = Reviews(tmp_path), Log()
    assert reviews.open_count() == 2
    decide(tmp_path, first, "discarded")
    second.path.unlink()
    second.path.with_suffix(".json").unlink()
    with pytest.raises(AlreadyDecidedError) as caught:
        reviews.decide(first.name, Decision("confirmed", None, "open"), log)
    assert caught.value.frame.verdict == "discarded"
    with pytest.raises(FrameGoneError):
        reviews.decide(second.name, Decision("confirmed", None, "open"), log)
    assert log == []


def test_what_cannot_be_logged_is_not_done(tmp_path: Path) -> None:
    (frame,) = keep(tmp_path, None)

    def full(*_: str) -> None:
        raise PageError("the disk is full")

    with pytest.raises(PageError):
        Reviews(tmp_path).decide(frame.name, Decision("discarded", None, "open"), full)
    assert frame.path.exists()


def test_a_move_that_fails_is_logged_back(tmp_path: Path) -> None:
    (frame,) = keep(tmp_path, None)
    (tmp_path / "discarded").write_text("a file in the folder's place")
    log = Log()
    with pytest.raises(FeedbackError):
        Reviews(tmp_path).decide(frame.name, Decision("discarded", None, "open"), log)
    assert log == [("open", "discarded"), ("discarded", "open")]


@pytest.mark.parametrize("label", [" M8", "M8\n", "\x00"])
def test_a_label_that_cannot_be_one(tmp_path: Path, label: str) -> None:
    (frame,) = keep(tmp_path, None)
    with pytest.raises(FeedbackError):
        Reviews(tmp_path).decide(frame.name, Decision("confirmed", label, "open"), Log())
    assert frame.path.exists()


def test_a_picture_without_a_candidate(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "mine.png"), solid("red"))
    reviews, log = Reviews(tmp_path), Log()
    with pytest.raises(FeedbackError):
        reviews.decide("mine", Decision("confirmed", None, "open"), log)
    assert log == []
    assert reviews.decide("mine", Decision("confirmed", "red", "open"), log).label == "red"


def test_an_unchanged_folder_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hurried: None) -> None:
    keep(tmp_path, None)
    monkeypatch.setattr(module, "_FRESH_NS", 0)
    count = []
    monkeypatch.setattr(module, "read_feedback", lambda *given: count.append(given) or read_feedback(*given))
    reviews = Reviews(tmp_path)
    for _ in range(3):
        assert reviews.open_count() == 1
    assert len(count) == 1
    keep(tmp_path, None, start=1)
    assert reviews.open_count() == 2
    assert len(count) == 2


def test_a_new_frame_is_found_while_the_folder_rests(tmp_path: Path) -> None:
    keep(tmp_path, None)
    reviews = Reviews(tmp_path)
    assert reviews.open_count() == 1
    _, frame = keep(tmp_path, None, start=1)
    wait_until(lambda: reviews.find(frame.name))


def test_thumbnails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(tmp_path / "mine.png"), np.full((400, 900, 3), 200, np.uint8))
    (tmp_path / "cut.png").write_bytes((tmp_path / "mine.png").read_bytes()[:200])
    reviews = Reviews(tmp_path)
    data = reviews.thumbnail("mine")
    assert data is not None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (160, 360, 3)
    assert reviews.thumbnail("mine") is data  # it is made once
    assert reviews.thumbnail("../mine") is None


def test_names_that_nobody_can_read_are_faults(tmp_path: Path) -> None:
    (tmp_path / "confirmed" / "a%0Ab").mkdir(parents=True)
    for path in (tmp_path / "line\nbreak.png", tmp_path / "b\udcff.png", tmp_path / "confirmed" / "a%0Ab" / "c.png"):
        path.write_bytes(cv2.imencode(".png", solid("red"))[1].tobytes())
    feedback = Reviews(tmp_path).read()
    assert feedback.frames == ()
    assert len(feedback.faults) == 3
