"""Swapping a line's package while its files are unreadable, vanish or are cut short."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.injector import Kind, unwatched
from tests.faults.job import Job
from tests.tiny import ONE_THREAD

if TYPE_CHECKING:
    from partsight.runtime import Recognizer
    from partsight.runtime.core.arrays import Pixels
    from partsight.runtime.sinks.record import FrameEvent

_OLD, _NEW, _LINK = "packages/first", "packages/second", "line.partsight"
_LABELS = {"old": "red", "new": "rot"}
_DISK_DOWN_S = 0.3
_MAX_S = 240.0

# A swap writes nothing, and SIGKILL may end it at any read. The watch refuses a cut file until someone replaces it,
# so the watched job has no CUT.
_FAULTS = (Kind.UNREADABLE, Kind.GONE, Kind.VANISHED, Kind.CUT, Kind.KILL)
_PASSING = (Kind.UNREADABLE, Kind.GONE, Kind.VANISHED, Kind.KILL)


class _Swapped:
    """A line that answers the same frame again and again, and the packages that answered it.

    Attributes:
        packages: `old` or `new`, one entry per change; any other answer appears as its record.
    """

    def __init__(self, package: Path) -> None:
        from partsight.runtime import Recognizer
        from partsight.runtime.line import Line
        from tests.runtime.line.scripted import ScriptedCamera

        recognizer = Recognizer(package, engine=ONE_THREAD)
        recognizer.preload()
        self._ids = {"old": recognizer.package_id}
        self.packages: list[str] = []
        self.answers = 0
        self.line = Line(recognizer, {"c": lambda: ScriptedCamera(_frames())}, on_result=self._record)

    def _record(self, event: "FrameEvent") -> None:
        record = event.record
        ids = {**self._ids, "new": self.line.package_id}
        known = [name for name, label in _LABELS.items() if (record.package_id, record.label) == (ids[name], label)]
        name = known[0] if known else f"{record.outcome} {record.label} {record.error}"
        if self.packages[-1:] != [name]:
            self.packages.append(name)
        self.answers += 1

    def await_answers(self) -> None:
        """Wait for answers to frames that arrive after this call."""
        enough = self.answers + 3
        _await(lambda: self.answers >= enough)


def _frames() -> Iterator["Pixels"]:
    from tests.tiny import solid

    while True:
        time.sleep(0.001)
        yield solid("red")


def _await(condition: Callable[[], bool], longest_s: float = _MAX_S) -> bool:
    end = time.monotonic() + longest_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return condition()


@contextmanager
def _line(package: Path, out: Path) -> Iterator[_Swapped]:
    """Run a line; write the packages that answered to `out`, unless only the old one did."""
    with unwatched():
        swapped = _Swapped(package)
        swapped.line.start()
        _await(lambda: "partsight-preload" not in {thread.name for thread in threading.enumerate()})
        swapped.await_answers()
    try:
        yield swapped
    finally:
        with unwatched():
            swapped.await_answers()
            swapped.line.close()
            if swapped.packages != ["old"]:
                out.write_text(json.dumps(swapped.packages), encoding="utf-8")


def _swap(folder: Path, out: Path) -> int:
    """Swap once, as a program does."""
    from partsight.runtime import PartsightError

    with _line(folder / _OLD, out) as swapped:
        try:
            swapped.line.swap(folder / _NEW, _load_package)
        except PartsightError as error:
            print(f"partsight: error: {error}", file=sys.stderr)
            return 1
    return 0


def _watch(folder: Path, out: Path) -> int:
    """Watch the path as `partsight run --watch` does: once the disk is back, the new package must answer."""
    from partsight.runtime.line import Watch

    link = folder / _LINK
    with unwatched():
        _point(link, _OLD)
    with _line(link, out) as swapped:
        with unwatched():
            _point(link, _NEW)
        watch = Watch(swapped.line, link, _load_package, every_s=0.005)
        watch.start()
        is_swapped = _await(lambda: swapped.line.counters().swaps == 1, _DISK_DOWN_S)
        with unwatched():
            is_swapped = is_swapped or _await(lambda: swapped.line.counters().swaps == 1)  # the disk is back
            watch.close()
    return 0 if is_swapped else 3


def _point(link: Path, target: str) -> None:
    """Let the link point to another folder, in one step."""
    following = link.with_suffix(".next")
    following.symlink_to(target, target_is_directory=True)
    following.replace(link)


def _load_package(path: str | Path) -> "Recognizer":
    from partsight.runtime import Recognizer

    return Recognizer(path, engine=ONE_THREAD)


def _prepare(folder: Path) -> None:
    from tests.tiny import COLOURS_BGR, tiny_matching, write_tiny_package

    labels = tuple("rot" if label == "red" else label for label in COLOURS_BGR)
    write_tiny_package(folder / _OLD, matching=tiny_matching())
    write_tiny_package(folder / _NEW, matching=tiny_matching(), labels=labels)
    _point(folder / _LINK, _OLD)


def _load() -> None:
    import partsight.runtime.line  # noqa: F401
    import tests.runtime.line.scripted
    import tests.tiny  # noqa: F401


def _check(path: Path) -> None:
    packages = json.loads(path.read_bytes())
    if packages != ["old", "new"]:
        raise ValueError(f"answered by {packages}; expected the old package, then the new one")


SWAPS = tuple(
    Job(name, "answers.json", _load, _prepare, run, _check, faults=faults, kills_readers=True)
    for name, run, faults in (("swap", _swap, _FAULTS), ("swap, watched", _watch, _PASSING))
)
