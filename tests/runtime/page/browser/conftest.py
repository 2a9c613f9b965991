"""A browser, and a line of patterned parts whose page it opens."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from playwright.sync_api import Page as Tab

from partsight.runtime.page import Accounts, Database, PageSettings, Role
from tests.runtime.calibration.commissioning.lines import write_frames, write_package
from tests.runtime.page.conftest import Station, running
from tests.waiting import HANG_S

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
PASSWORD = "a long enough secret"
PEOPLE = {"olga": Role.OPERATOR, "emil": Role.ENGINEER, "erna": Role.ENGINEER, "ada": Role.ADMIN}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for one module: Playwright's event loop counts as running in this thread, so it must end with it."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: install the Debian package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(HANG_S * 1000)
    yield context
    context.close()


@pytest.fixture
def tab(context: BrowserContext) -> Tab:
    """A tab whose scripts may not fail, and that asks no other host."""
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    tab.errors = errors  # type: ignore[attr-defined]
    return tab


@pytest.fixture(scope="session")
def patterned_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patterned parts, and a threshold that refuses many of their frames."""
    return write_package(tmp_path_factory.mktemp("patterned") / "old.partsight", threshold=0.93)


@pytest.fixture(scope="session")
def patterned_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of these parts, in a folder for each."""
    return write_frames(tmp_path_factory.mktemp("frames"))


@pytest.fixture
def plant(patterned_package: Path, tmp_path: Path, page_settings: PageSettings) -> Iterator[Station]:
    """A running line of patterned parts, with accounts for all of `PEOPLE`."""
    accounts = Accounts(Database(page_settings.data))
    for name, role in PEOPLE.items():
        accounts.add(name, role, PASSWORD)
    with running(patterned_package, page_settings, tmp_path / "kept") as station:
        yield station


def log_in(tab: Tab, plant: Station, name: str) -> None:
    """Open the page and log in; the tab then shows the live screen."""
    tab.goto(plant.page.url)
    tab.fill("input[name=name]", name)
    tab.fill("input[name=password]", PASSWORD)
    tab.click("main form button")
    tab.wait_for_selector(".top nav")
