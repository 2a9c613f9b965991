"""The whole circle in a browser: a refused frame, its reason, decisions, commissioning, swap, and back."""

from pathlib import Path

import cv2
import pytest
from playwright.sync_api import BrowserContext, expect
from playwright.sync_api import Page as Tab

from partsight.runtime.feedback import decide, read_feedback
from partsight.runtime.page import PageSettings
from tests.runtime.page.browser.conftest import log_in
from tests.runtime.page.conftest import Station
from tests.waiting import wait_until

pytestmark = pytest.mark.browser


def show_all(plant: Station, frames: Path) -> int:
    """Show all frames, and return how many the line refused."""
    paths = sorted(frames.glob("*/*.png"))
    events = plant.show(*(cv2.imread(str(path)) for path in paths))
    wait_until(lambda: len(read_feedback(plant.kept).frames) >= len(paths))
    return sum(event.record.outcome == "unknown" for event in events)


def decide_the_rest(plant: Station, frames: Path) -> None:
    """Say of all open frames what they show, as a person with much patience."""
    shown = {cv2.imread(str(path)).tobytes(): path.parent.name for path in frames.glob("*/*.png")}
    for frame in read_feedback(plant.kept).of("open"):
        decide(plant.kept, frame, "confirmed", shown[cv2.imread(str(frame.path)).tobytes()])


def test_from_a_refused_frame_to_a_better_package(tab: Tab, plant: Station, patterned_frames: Path) -> None:
    before = plant.line.package_id
    refused = show_all(plant, patterned_frames)
    assert refused > 0
    log_in(tab, plant, "emil")

    tab.click(".top nav a[href='/refused']")
    card = tab.locator("article.kept").first
    name = card.get_attribute("data-name")
    card.get_by_role("link", name="Why").click()
    assert name is not None
    assert name in tab.url
    tab.locator("main img").first.wait_for()

    tab.go_back()
    card = tab.locator(f"article.kept[data-name='{name}']")
    card.locator("button[value=confirm]").click()
    card.locator("button[value=undo]").click()
    card.locator("button[value=confirm]").wait_for()
    assert name in {frame.name for frame in read_feedback(plant.kept).of("open")}
    card.locator("button[value=confirm]").click()
    card.locator("button[value=undo]").wait_for()
    assert name in {frame.name for frame in read_feedback(plant.kept).of("confirmed")}
    decide_the_rest(plant, patterned_frames)

    tab.click(".top nav a[href='/improve']")
    tab.click("form[action='/improve/commission'] button")
    tab.locator("#result").wait_for()
    report = tab.locator("#result a[href^='/improve/report/']")
    place = report.evaluate("link => link.offsetLeft")
    tab.locator("#result details.improve-swap summary").click()
    sure = tab.locator("#result form[action='/improve/swap'] button")
    expect(sure).to_be_in_viewport(ratio=1)  # it opens below the edge of the screen
    assert report.evaluate("link => link.offsetLeft") == place
    sure.click()
    wait_until(lambda: plant.line.package_id != before)
    tab.locator("#previous").wait_for()
    assert show_all(plant, patterned_frames) < refused

    tab.locator("#previous summary").click()
    tab.locator("#previous form button").click()
    wait_until(lambda: plant.line.package_id == before)
    assert tab.errors == []  # type: ignore[attr-defined]
    done = [entry.action for entry in plant.page.context.audit.entries()]
    assert done.count("package_swapped") == 2


class TestApproval:
    """With approval, a swap needs two people."""

    @pytest.fixture
    def page_settings(self, tmp_path: Path) -> PageSettings:
        data, kept = str(tmp_path / "data"), str(tmp_path / "kept")
        return PageSettings(port=0, data=data, feedback=kept, approval=True)

    def test_a_second_person_approves(
        self, tab: Tab, context: BrowserContext, plant: Station, patterned_frames: Path
    ) -> None:
        before = plant.line.package_id
        show_all(plant, patterned_frames)
        decide_the_rest(plant, patterned_frames)
        log_in(tab, plant, "emil")
        tab.click(".top nav a[href='/improve']")
        tab.click("form[action='/improve/commission'] button")
        tab.locator("#result details.improve-swap summary").click()
        tab.locator("#result form[action='/improve/swap'] button").click()
        tab.locator("#request").wait_for()
        assert tab.locator("form[action='/improve/approve']").count() == 0
        assert plant.line.package_id == before
        assert context.browser is not None
        other = context.browser.new_context()
        second = other.new_page()
        log_in(second, plant, "erna")
        second.click(".top nav a[href='/improve']")
        second.click("form[action='/improve/approve'] button")
        wait_until(lambda: plant.line.package_id != before)
        other.close()
