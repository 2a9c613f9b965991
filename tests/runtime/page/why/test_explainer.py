"""Explanations on demand: their frame, their package, and how long they are kept."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from partsight.runtime import Recognizer
from partsight.runtime.core import PageError, Pixels
from partsight.runtime.page.review.reviews import Reviews
from partsight.runtime.page.why import explainer as module
from partsight.runtime.page.why.explainer import Explainer
from tests.runtime.feedback.kept import keep
from tests.runtime.sinks.kinds import event, failed
from tests.tiny import ONE_THREAD, solid, write_tiny_package


class Recent(dict[str, Any]):
    """Results that the page holds."""

    def hold(self, name: str, frame: Pixels | None, record: Any = None) -> None:
        self[name] = SimpleNamespace(record=record or event(0, "red").record, frame=frame)

    def find(self, name: str) -> Any:
        return self.get(name)


class Stand:
    """A line whose recogniser a test swaps."""

    def __init__(self, package: Path, reviews: Reviews | None = None) -> None:
        self.package, self.recent = package, Recent()
        self.recognizer = Recognizer(package, engine=ONE_THREAD)
        self.explainer = Explainer(self, self.recent, reviews)  # type: ignore[arg-type]

    @property
    def package_id(self) -> str:
        return self.recognizer.package_id

    def swap(self, package: Path) -> None:
        before, self.recognizer = self.recognizer, Recognizer(package, engine=ONE_THREAD)
        before.close()


@pytest.fixture
def stand(matching_package: Path) -> Stand:
    return Stand(matching_package)


def test_a_result_that_the_page_holds(stand: Stand) -> None:
    stand.recent.hold("name", solid("red"))
    explained = stand.explainer.explain("name")
    assert explained is not None
    assert explained.explanation is not None
    assert explained.explanation.answer.label == "red"
    assert (explained.package_id, explained.error) == (stand.package_id, "")
    assert "best-difference.png" in explained.pictures
    assert stand.explainer.explain("name") is explained  # it is made once
    assert stand.explainer.kept("name", stand.package_id) is explained


def test_a_result_that_nobody_knows(stand: Stand, tmp_path: Path) -> None:
    assert stand.explainer.explain("name") is None
    assert Stand(stand.package, Reviews(tmp_path / "none")).explainer.explain("name") is None


def test_a_kept_frame_of_any_decision(matching_package: Path, tmp_path: Path) -> None:
    frames, reviews = keep(tmp_path, None, "red"), Reviews(tmp_path)
    frames[0].path.rename(tmp_path / "moved.png")  # no record lies next to it
    stand = Stand(matching_package, reviews)
    moved, second = stand.explainer.explain("moved"), stand.explainer.explain(frames[1].name)
    assert moved is not None
    assert moved.record is None
    assert second is not None
    assert second.record == frames[1].record


def test_a_kept_frame_stands_in_for_a_frame_that_the_page_dropped(matching_package: Path, tmp_path: Path) -> None:
    (frame,) = keep(tmp_path, None)
    stand = Stand(matching_package, Reviews(tmp_path))
    stand.recent.hold(frame.name, None, frame.record)
    explained = stand.explainer.explain(frame.name)
    assert explained is not None
    assert explained.explanation is not None


def test_a_failed_result_has_no_frame(stand: Stand) -> None:
    stand.recent.hold("name", None, failed(0).record)
    explained = stand.explainer.explain("name")
    assert explained is not None
    assert (explained.explanation, explained.pictures) == (None, {})
    assert explained.record is not None
    assert explained.record.error


def test_a_frame_that_the_package_cannot_take(stand: Stand) -> None:
    stand.recent.hold("name", solid("red")[..., 0].copy())
    explained = stand.explainer.explain("name")
    assert explained is not None
    assert explained.explanation is None
    assert explained.error
    assert set(explained.pictures) == {"frame.jpg"}


def test_after_a_swap_the_new_package_explains(stand: Stand, tmp_path: Path) -> None:
    stand.recent.hold("name", solid("red"))
    before = stand.explainer.explain("name")
    stand.swap(stand.package)
    assert stand.explainer.explain("name") is before  # the same package, loaded again
    stand.swap(write_tiny_package(tmp_path / "other.partsight"))
    after = stand.explainer.explain("name")
    assert before is not None
    assert after is not None
    assert (after.package_id, after.package_id == before.package_id) == (stand.package_id, False)
    assert stand.explainer.kept("name", before.package_id) is before


class Swapping:
    """A recogniser that a swap closes just before it explains."""

    is_closed = True

    def __init__(self, stand: Stand) -> None:
        self._stand, self._next, self.package_id = stand, stand.recognizer, "old"

    def explain(self, frame: Pixels) -> object:
        self._stand.recognizer = self._next
        closed = Recognizer(self._stand.package, engine=ONE_THREAD)
        closed.close()
        return closed.explain(frame)


def test_a_swap_in_the_middle(stand: Stand) -> None:
    stand.recent.hold("name", solid("red"))
    package_id = stand.package_id
    stand.recognizer = Swapping(stand)  # type: ignore[assignment]
    explained = stand.explainer.explain("name")
    assert explained is not None
    assert explained.package_id == package_id
    assert explained.explanation is not None


def test_after_the_end_of_the_line(stand: Stand) -> None:
    stand.recent.hold("name", solid("red"))
    stand.recognizer.close()
    with pytest.raises(PageError):
        stand.explainer.explain("name")


def test_few_explanations_are_kept(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    for name in "abc":
        stand.recent.hold(name, solid("red"))
        stand.explainer.explain(name)
    assert [name for name in "abc" if stand.explainer.kept(name, stand.package_id)] == ["b", "c"]


def test_people_do_not_wait_for_ever(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.0)
    inside, go_on = threading.Event(), threading.Event()

    class Slow(Recent):
        def find(self, name: str) -> Any:
            inside.set()
            go_on.wait()
            return super().find(name)

    stand.explainer = Explainer(stand, Slow(), None)  # type: ignore[arg-type]
    first = threading.Thread(target=stand.explainer.explain, args=("name",))
    first.start()
    inside.wait()
    with pytest.raises(PageError):
        stand.explainer.explain("name")
    go_on.set()
    first.join()
