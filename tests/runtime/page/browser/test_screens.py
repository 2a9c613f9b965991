"""Each screen by role, in a real browser: nothing fails, nothing is fetched from elsewhere, texts stay texts."""

from pathlib import Path

import cv2
import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext
from playwright.sync_api import Page as Tab

from partsight.runtime.core.safe_folder import MANIFEST_NAME
from partsight.runtime.feedback import read_feedback
from tests.runtime.calibration.commissioning.lines import write_package
from tests.runtime.page.browser.conftest import PASSWORD, log_in
from tests.runtime.page.conftest import Station
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

SCREENS = {"olga": ["/", "/refused", "/health"], "emil": ["/", "/refused", "/improve", "/health"]}
SCREENS["ada"] = [*SCREENS["emil"], "/people"]
HOSTILE = [
    "<script>document.title='x'</script>",
    "b" * 250,
    "\u05d0\u05d1\u05d2 \u202eright",
    "'\"&<b>",
    "{{7*7}}",
    "e",
]


def show(plant: Station, frames: Path, *labels: str) -> None:
    for label in labels:
        plant.show(cv2.imread(str(frames / label / "0.png")))


@pytest.mark.parametrize("name", SCREENS)
def test_a_role_sees_its_screens(tab: Tab, plant: Station, patterned_frames: Path, name: str) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    show(plant, patterned_frames, "red", "blue")
    log_in(tab, plant, name)
    links = tab.locator(".top nav a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert links == SCREENS[name]
    for path in links:
        answer = tab.goto(plant.page.url.rstrip("/") + path)
        assert answer is not None
        assert answer.status == 200
        assert tab.locator(".top nav a[aria-current]").get_attribute("href") == path
        tab.wait_for_load_state()
    assert tab.errors == []  # type: ignore[attr-defined]
    assert {url.split("/")[2] for url in asked} == {plant.page.url.split("/")[2]}


def test_live_shows_a_new_result_by_itself(tab: Tab, plant: Station, patterned_frames: Path) -> None:
    log_in(tab, plant, "olga")
    show(plant, patterned_frames, "red")
    tab.get_by_text("red", exact=True).first.wait_for()
    show(plant, patterned_frames, "green")
    tab.get_by_text("green", exact=True).first.wait_for()
    picture = tab.locator("main img").first
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_keys_decide(tab: Tab, plant: Station) -> None:
    name = plant.show((20, 20, 20))[0].record.name
    wait_until(lambda: read_feedback(plant.kept).frames)
    log_in(tab, plant, "olga")
    tab.goto(plant.page.url + "refused")
    card = tab.locator("article.kept").first
    card.focus()
    tab.keyboard.press("t")
    card.locator("button[value=undo]").wait_for()
    assert [(frame.name, frame.verdict) for frame in read_feedback(plant.kept).frames] == [(name, "not_taught")]
    card.focus()
    tab.keyboard.press("u")
    card.locator("button[value=discard]").wait_for()
    assert [(frame.name, frame.verdict) for frame in read_feedback(plant.kept).frames] == [(name, "open")]
    tab.keyboard.press("o")
    assert card.locator("input[type=search]").evaluate("field => field === document.activeElement")


def test_the_page_says_when_it_is_stale(tab: Tab, plant: Station) -> None:
    log_in(tab, plant, "olga")
    assert tab.locator("#stale").is_hidden()
    plant.line.close()
    tab.locator("#stale").wait_for(state="visible")
    plant.page.close()
    tab.locator("#stale").wait_for(state="visible")


def test_the_page_says_when_its_server_is_gone(tab: Tab, plant: Station) -> None:
    log_in(tab, plant, "olga")
    tab.goto(plant.page.url + "refused")
    plant.page.close()
    tab.locator("#stale").wait_for(state="visible")


def test_a_wrong_password(tab: Tab, plant: Station) -> None:
    tab.goto(plant.page.url)
    tab.fill("input[name=name]", "olga")
    tab.fill("input[name=password]", f"not {PASSWORD}")
    tab.click("main form button")
    tab.locator("[role=alert].problem").wait_for()
    assert tab.locator(".top nav").count() == 0
    assert plant.page.context.audit.entries()[0].action == "logon_failed"


def test_a_role_that_is_too_low(tab: Tab, plant: Station) -> None:
    log_in(tab, plant, "olga")
    answer = tab.goto(plant.page.url + "people")
    assert answer is not None
    assert answer.status == 403


def test_another_language(tab: Tab, chromium: Browser, plant: Station) -> None:
    log_in(tab, plant, "olga")
    tab.click(".top a[lang=de]")
    assert tab.locator("html").get_attribute("lang") == "de"
    german = chromium.new_context(locale="de-DE")
    other = german.new_page()
    other.goto(plant.page.url)
    assert other.locator("html").get_attribute("lang") == "de"
    german.close()


def test_log_out(tab: Tab, plant: Station) -> None:
    log_in(tab, plant, "olga")
    tab.click(".top form button")
    tab.wait_for_url("**/login*")
    tab.goto(plant.page.url + "refused")
    assert "/login" in tab.url


class TestHostileLabels:
    """Labels that are markup, too long, or run from right to left."""

    @pytest.fixture
    def patterned_package(self, tmp_path: Path) -> Path:
        path = write_package(tmp_path / "old.partsight", threshold=0.5)
        manifest = msgspec.json.decode((path / MANIFEST_NAME).read_bytes())
        manifest["labels"] = HOSTILE
        (path / MANIFEST_NAME).write_bytes(msgspec.json.encode(manifest))
        return path

    def test_they_are_shown_as_text(self, tab: Tab, plant: Station, patterned_frames: Path) -> None:
        show(plant, patterned_frames, "blue", "cyan", "green")
        log_in(tab, plant, "ada")
        name = plant.page.context.audit.entries()[0].who
        assert name == "ada"
        for path in SCREENS["ada"]:
            tab.goto(plant.page.url.rstrip("/") + path)
            assert "partsight" in tab.title()
            width = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert width[0] <= width[1]
        assert tab.errors == []  # type: ignore[attr-defined]


def test_a_screen_fits_a_tablet(context: BrowserContext, plant: Station, patterned_frames: Path) -> None:
    show(plant, patterned_frames, "red")
    tab = context.new_page()
    tab.set_viewport_size({"width": 800, "height": 1000})
    log_in(tab, plant, "ada")
    for path in SCREENS["ada"]:
        tab.goto(plant.page.url.rstrip("/") + path, wait_until="load")
        widths = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert widths[0] <= widths[1]
        small = tab.locator("main button:visible, main a.button:visible").evaluate_all(
            "items => items.filter(item => item.getBoundingClientRect().height < 43).map(item => item.outerHTML)"
        )
        assert small == []
