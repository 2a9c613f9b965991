"""The last results of each camera, and when pictures are drawn."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime import Pixels, Recognizer
from partsight.runtime.core import PackageError
from partsight.runtime.line import CameraCounters
from partsight.runtime.page.live import recent_results
from partsight.runtime.page.live.picture import PANEL_HW, PICTURE_HW
from partsight.runtime.page.live.recent_results import ACCEPTED_PERIODS, PERIOD_S, SHOWN, RecentResults
from tests.runtime.page.live_line import FakeLine
from tests.tiny import ONE_THREAD, solid


@pytest.fixture(scope="module")
def recognizer(matching_package: Path) -> Iterator[Recognizer]:
    with Recognizer(matching_package, batch_size=1, engine=ONE_THREAD) as recognizer:
        yield recognizer


@pytest.fixture
def line(recognizer: Recognizer) -> FakeLine:
    return FakeLine(recognizer, {"left": CameraCounters(), "right": CameraCounters()})


@pytest.fixture
def recent(line: FakeLine) -> RecentResults:
    return RecentResults(line.as_line, clock=line.clock)


def names(recent: RecentResults, camera: str = "left") -> list[str]:
    return [result.record.name for result in recent.shown(camera)]


def panels_of(picture: bytes) -> tuple[Pixels, Pixels]:
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (*PICTURE_HW, 3)
    return np.asarray(image[:, : PANEL_HW[1]], np.uint8), np.asarray(image[:, -PANEL_HW[1] :], np.uint8)


def test_a_camera_gets_one_picture_of_accepted_results_in_a_second(line: FakeLine, recent: RecentResults) -> None:
    first = line.publish(solid("red"))
    recent.draw()
    line.publish(solid("blue"))
    newest = line.publish(solid("green"))
    other = line.publish(solid("green"), camera="right")
    recent.draw()
    assert names(recent) == [first.name]
    assert names(recent, "right") == [other.name]
    line.now += (ACCEPTED_PERIODS - 1) * PERIOD_S
    recent.draw()
    assert names(recent) == [first.name]
    line.now += PERIOD_S
    recent.draw()
    recent.draw()
    assert names(recent) == [newest.name, first.name]
    assert [result.number for result in recent.shown("left")] == [2, 1]


def test_nothing_is_drawn_before_somebody_asks(
    line: FakeLine, recent: RecentResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_results, "draw_picture", lambda *_: pytest.fail("drawn"))
    for _ in range(3):
        line.publish(solid("red"))
        line.now += PERIOD_S
    assert recent.shown("left") == ()


@pytest.mark.parametrize("outcome", ["unknown", "failed"])
def test_a_refused_result_goes_first_for_half_a_second(line: FakeLine, recent: RecentResults, outcome: str) -> None:
    refused = line.publish(solid("blue"), outcome)
    line.publish(solid("red"))
    recent.draw()
    assert names(recent) == [refused.name]
    line.now += PERIOD_S
    line.publish(solid("blue"), outcome)
    newest_refused = line.publish(solid("blue"), outcome)
    recent.draw()
    assert names(recent)[0] == newest_refused.name
    line.publish(solid("blue"), outcome)
    line.now += PERIOD_S
    accepted = line.publish(solid("red"))
    line.now += (ACCEPTED_PERIODS - 1) * PERIOD_S
    recent.draw()
    assert names(recent)[0] == accepted.name


def test_twenty_results_are_shown_and_some_more_found(line: FakeLine, recent: RecentResults) -> None:
    published = []
    for _ in range(SHOWN + 12):
        published.append(line.publish(solid("red")).name)
        recent.draw()
        line.now += ACCEPTED_PERIODS * PERIOD_S
    assert names(recent) == published[: -SHOWN - 1 : -1]
    assert recent.find(published[0]) is None
    found = recent.find(published[-SHOWN - 1])  # a browser may still fetch its picture
    assert found is not None
    assert found.picture
    assert recent.find("nothing") is None


def test_frames_beyond_the_budget_are_dropped(
    line: FakeLine, recent: RecentResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_results, "MAX_FRAME_BYTES", 2 * solid("red").nbytes)
    for number in range(4):
        line.publish(solid("red"), camera=("left", "right")[number % 2])
        recent.draw()
        line.now += PERIOD_S
    both = [result for camera in ("left", "right") for result in recent.shown(camera)]
    by_age = sorted(both, key=lambda result: result.record.timestamp)
    assert [result.frame is not None for result in by_age] == [False, False, True, True]
    assert all(result.picture for result in both)


def test_the_picture_shows_frame_and_golden_image(line: FakeLine, recent: RecentResults) -> None:
    line.publish(solid("blue"), "unknown")
    recent.draw()
    (result,) = recent.shown("left")
    frame, golden = panels_of(result.picture)
    assert result.has_golden
    np.testing.assert_allclose(frame[100:250, 100:370].mean((0, 1)), (255, 0, 0), atol=6)
    np.testing.assert_allclose(golden[100:250, 100:370].mean((0, 1)), (0, 0, 255), atol=6)


def test_a_grey_frame(line: FakeLine, recent: RecentResults) -> None:
    line.publish(np.full((48, 64), 200, np.uint8))
    recent.draw()
    frame, _ = panels_of(recent.shown("left")[0].picture)
    np.testing.assert_allclose(frame[100:250, 100:370].mean((0, 1)), (200, 200, 200), atol=6)


@pytest.mark.parametrize(
    "image",
    [None, np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8), "no array"],
    ids=["none", "four channels", "float", "empty", "text"],
)
def test_a_result_without_a_frame_has_no_picture(line: FakeLine, recent: RecentResults, image: Pixels | None) -> None:
    record = line.publish(image, "failed", top=(), pose=None, error="broken")
    recent.draw()
    (result,) = recent.shown("left")
    assert (result.record, result.frame, result.picture) == (record, None, b"")


def test_a_result_of_another_package_shows_no_golden_image(line: FakeLine, recent: RecentResults) -> None:
    line.publish(solid("red"), package_id="0" * 64)
    recent.draw()
    (result,) = recent.shown("left")
    assert result.picture
    assert not result.has_golden


def test_a_damaged_golden_image_harms_no_frame(
    line: FakeLine, recent: RecentResults, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise PackageError("damaged")

    monkeypatch.setattr(line.recognizer, "golden_image", damaged)
    line.publish(solid("red"))
    recent.draw()
    (result,) = recent.shown("left")
    assert result.picture
    assert not result.has_golden


def test_a_closed_page_keeps_its_results_and_hears_no_more(line: FakeLine, recent: RecentResults) -> None:
    record = line.publish(solid("red"))
    recent.draw()
    recent.close()
    recent.close()
    line.now += PERIOD_S
    line.publish(solid("red"))
    recent.draw()
    assert names(recent) == [record.name]
