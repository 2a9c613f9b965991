"""A line of solid colours, its page, and people."""

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from partsight.runtime import Pixels, Recognizer
from partsight.runtime.cameras import Frame
from partsight.runtime.line import Health, Line
from partsight.runtime.page import Page, PageSettings, Role
from partsight.runtime.page.access import passwords
from partsight.runtime.sinks import FrameEvent, open_sink
from tests.runtime.page.visitor import Visitor
from tests.tiny import ONE_THREAD, solid
from tests.waiting import HANG_S


class Belt:
    """A camera whose frames a test puts there."""

    ends = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames: queue.Queue[Pixels | None] = queue.Queue()
        self.count = 0

    def read(self) -> Frame | None:
        image = self.frames.get()
        if image is None:
            return None
        self.count += 1
        return Frame(image, f"{self.name} {self.count - 1}", self.count - 1, time.time())

    def close(self) -> None:
        self.frames.put(None)

    def __enter__(self) -> "Belt":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Station:
    """A running line and its page. `kept` is the folder of the sink `images:`, which keeps every frame."""

    line: Line
    page: Page
    belts: dict[str, Belt]
    results: "queue.Queue[FrameEvent]"
    kept: Path
    package: Path
    data: Path

    def show(self, *frames: str | tuple[int, int, int] | Pixels, camera: str = "left") -> list[FrameEvent]:
        """Let a camera see colours or frames, and return the line's results."""
        for frame in frames:
            self.belts[camera].frames.put(solid(frame) if isinstance(frame, str | tuple) else frame)
        return [self.results.get(timeout=HANG_S) for _ in frames]

    def operator(self) -> Visitor:
        return Visitor(self.page, "olga", Role.OPERATOR)

    def engineer(self) -> Visitor:
        return Visitor(self.page, "emil", Role.ENGINEER)

    def admin(self) -> Visitor:
        return Visitor(self.page, "ada", Role.ADMIN)

    def stranger(self) -> Visitor:
        return Visitor(self.page)


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of a password takes no time."""
    monkeypatch.setattr(passwords, "TIME_COST", 1)
    monkeypatch.setattr(passwords, "MEMORY_KIB", 8)


@pytest.fixture
def page_settings(tmp_path: Path) -> PageSettings:
    """Settings of `station`: override it in a module for others."""
    return PageSettings(port=0, data=str(tmp_path / "data"), feedback=str(tmp_path / "kept"))


@pytest.fixture
def station(matching_package: Path, tmp_path: Path, page_settings: PageSettings) -> Iterator[Station]:
    with running(matching_package, page_settings, tmp_path / "kept") as station:
        yield station


@contextmanager
def running(package: Path, settings: PageSettings, kept: Path) -> Iterator[Station]:
    """Yield a line that runs, with its page."""
    belts = {name: Belt(name) for name in ("left", "right")}
    results: queue.Queue[FrameEvent] = queue.Queue()
    line = Line(
        Recognizer(package, batch_size=4, engine=ONE_THREAD),
        {name: (lambda belt=belt: belt) for name, belt in belts.items()},  # type: ignore[misc]
        {"kept": open_sink(f"images:{kept}?every=1")},
    )
    with Health(line) as health, Page(line, settings, package, health=health) as page, line:
        line.listen(results.put)
        yield Station(line, page, belts, results, kept, package, Path(settings.data))
