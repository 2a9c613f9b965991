"""The counters of a line: every frame that a camera showed is in exactly one of them."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CameraCounters:
    """What became of one camera's frames.

    Attributes:
        recognised: answered with a label.
        unknown: answered, and no part that the package was taught.
        skipped: overtaken by a newer one, or the queue was full: as the policy says. Frames that the camera lost on its
            own way here, which its sequence shows, are among them.
        late: not answered, because its takt was over before its turn came.
        partial: came incomplete.
        failed: could not be read or answered.
        waiting: accepted, and not answered yet; 0 once the line has ended, unless it ended with an error.
        reopened: how often the camera was opened again.
        stalled: how often no frame came in time.
        overdue: of the answered ones, those whose answer came after their takt.
    """

    recognised: int = 0
    unknown: int = 0
    skipped: int = 0
    late: int = 0
    partial: int = 0
    failed: int = 0
    waiting: int = 0
    reopened: int = 0
    stalled: int = 0
    overdue: int = 0

    @property
    def seen(self) -> int:
        """All frames that the camera showed."""
        return self.recognised + self.unknown + self.skipped + self.late + self.partial + self.failed + self.waiting


@dataclass(frozen=True)
class SinkCounters:
    """What became of the results for one sink.

    Attributes:
        lost: never taken: by a sink that may lose results, that has ended, or that took nothing until the line's end.
        refusals: attempts that failed, of results that were waited for.
        waiting: results that wait for it; 0 once the line has ended.
        undelivered: results that the sink keeps, and its peer has not acknowledged: the broker of `mqtt:`. They wait in
            the spool, with those of earlier runs.
    """

    lost: int = 0
    refusals: int = 0
    waiting: int = 0
    undelivered: int = 0


@dataclass(frozen=True)
class LineCounters:
    """A moment's view of a line.

    Attributes:
        cameras: by name.
        sinks: by name.
        callback_errors: how often the callback raised.
        swaps: packages that were put in place of another.
        refused_swaps: packages that were not, because something was wrong with them or the line was closed.
    """

    cameras: Mapping[str, CameraCounters] = field(default_factory=dict)
    sinks: Mapping[str, SinkCounters] = field(default_factory=dict)
    callback_errors: int = 0
    swaps: int = 0
    refused_swaps: int = 0

    @property
    def seen(self) -> int:
        """All frames that all cameras showed."""
        return sum(camera.seen for camera in self.cameras.values())


Owner = str | tuple[str, str]
"""Whose a count is: a camera's by its name, which may be any; all others are no plain names."""

LINE: Owner = ("line", "")


class Tally:
    """Counts, from several threads; a view of it is always consistent."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Owner, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, owner: Owner, what: str, count: int = 1) -> None:
        """Count something that happened."""
        with self._lock:
            self._counts[owner, what] += count

    def move(self, owner: Owner, where: str, to: str, count: int = 1) -> None:
        """Take something out of one count into another, at once."""
        with self._lock:
            self._counts[owner, where] -= count
            self._counts[owner, to] += count

    def of(self, owner: Owner) -> dict[str, int]:
        """Return all counts of one owner."""
        with self._lock:
            return {what: count for (name, what), count in self._counts.items() if name == owner}
