"""Takes the screenshots of docs/page.md: a line with real frames, and a browser that opens each screen.

python docs/draw_page.py PACKAGE FRAMES --unknown OTHERS

FRAMES holds a folder of frames for each part, OTHERS frames of parts that the package does not have. Needs Chromium
(Debian package chromium) and the extras page and test. With --all FOLDER it takes every screen in light and dark, 1280
and 800 px wide, into FOLDER.
"""

import argparse
import queue
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, sync_playwright

from partsight.runtime import Recognizer
from partsight.runtime.cameras import FileCamera
from partsight.runtime.feedback import decide, read_feedback
from partsight.runtime.line import Health, Line, Policy
from partsight.runtime.page import Accounts, Database, Page, PageSettings, Role
from partsight.runtime.page.web.call import session_cookie
from partsight.runtime.sinks import FrameEvent, open_sink

IMAGES = Path(__file__).resolve().parent / "images"
LONGEST_S = 120
SHOWN = 40
"""Frames of taught parts that each camera shows."""

SCREENS = {
    "login": "/login",
    "live": "/",
    "why": "/why/{name}",
    "refused": "/refused",
    "improve": "/improve",
    "health": "/health",
    "people": "/people",
}
IN_DOCS = {"live": "light", "why": "light", "refused": "light", "improve": "light", "health": "dark", "people": "light"}
"""Screens of the docs, and the scheme of each."""


@contextmanager
def running_page(args: argparse.Namespace, work: Path) -> Iterator[tuple[Page, str]]:
    """Yield the page of a line that has seen the frames, and the name of a refused frame."""
    frames, others = sorted(args.frames.glob("*/*")), sorted(args.unknown.iterdir())
    step = max(1, len(frames) // (2 * SHOWN))
    shown = frames[::step][: 2 * SHOWN]
    cameras = {"left": [*shown[::2], *others[:6]], "right": [*others[6:9], *shown[1::2]]}
    results: queue.Queue[FrameEvent] = queue.Queue()
    settings = PageSettings(port=0, data=str(work / "data"), feedback=str(work / "kept"), approval=True)
    accounts = Accounts(Database(settings.data))
    for name, role in (("olga", Role.OPERATOR), ("emil", Role.ENGINEER), ("ada", Role.ADMIN)):
        accounts.add(name, role, f"secret of the account {name}")
    opened = {name: (lambda paths=paths: Slow(paths)) for name, paths in cameras.items()}
    sinks = {"kept": open_sink(f"images:{work / 'kept'}?every=1")}
    line = Line(Recognizer(args.package), opened, sinks, policy=Policy("block", 8), on_result=results.put)
    with Health(line) as health, Page(line, settings, args.package, health=health) as page, line:
        events = [results.get(timeout=LONGEST_S) for paths in cameras.values() for _ in paths]
        refused = [event.record for event in events if event.record.outcome == "unknown"]
        page.context.history.sample()
        while len(read_feedback(work / "kept").frames) < len(events):
            time.sleep(0.2)  # the sink writes in a thread of its own
        commission(page, args.frames, work / "kept")
        yield page, refused[0].name


def commission(page: Page, frames: Path, kept: Path) -> None:
    """Say what each accepted frame shows, and fit the package to these frames, as an engineer does on the page."""
    for frame in read_feedback(kept).of("open"):
        if frame.record and not frame.is_refused and Path(frame.record.source).is_relative_to(frames):
            decide(kept, frame, "confirmed", Path(frame.record.source).parent.name)
    jobs = page.context.jobs
    jobs.start("commission", str(kept), "emil", lambda _: None)
    while jobs.last is None or jobs.last.is_running:
        time.sleep(0.2)


class Slow(FileCamera):
    """A camera that shows files, and then waits until the line stops."""

    ends = False

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__(paths)
        self._end: queue.Queue[None] = queue.Queue()

    def read(self):  # type: ignore[no-untyped-def]
        """Return the next frame; after the last one, wait."""
        frame = super().read()
        if frame is None:
            self._end.get()
        return frame

    def close(self) -> None:
        """End the wait."""
        self._end.put(None)
        super().close()


def main() -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("frames", metavar="FRAMES", type=Path)
    parser.add_argument("--unknown", metavar="OTHERS", type=Path, required=True)
    parser.add_argument("--all", metavar="FOLDER", type=Path)
    args = parser.parse_args()
    path = shutil.which("chromium")
    if path is None:
        sys.exit("chromium is not installed; run: apt-get install chromium")
    with (
        tempfile.TemporaryDirectory() as work,
        running_page(args, Path(work)) as (page, name),
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for screen, address in SCREENS.items():
            url = page.url.rstrip("/") + address.format(name=name)
            if args.all:
                for scheme in ("light", "dark"):
                    for width in (1280, 800):
                        take(browser, page, url, scheme, width, args.all / f"{screen}_{scheme}_{width}.png")
            elif screen in IN_DOCS:
                take(browser, page, url, IN_DOCS[screen], 1280, IMAGES / f"page_{screen}.jpg")
        browser.close()


def take(browser: Browser, page: Page, url: str, scheme: str, width: int, path: Path) -> None:
    """Open an address as an admin, and keep its picture."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, locale="en-GB")  # type: ignore[arg-type]
    if not url.endswith("/login"):
        admin = page.context.accounts.find("ada")
        assert admin is not None
        token = page.context.sessions.begin(admin)
        context.add_cookies([{"name": session_cookie(urlsplit(page.url).port or 0), "value": token, "url": page.url}])
    tab = context.new_page()
    tab.goto(url)
    tab.wait_for_timeout(1500)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jpg":  # for the docs: its first view
        tab.screenshot(path=path, type="jpeg", quality=82)
    else:
        tab.screenshot(path=path, full_page=True)
    context.close()


if __name__ == "__main__":
    main()
