"""The counters of a line: every frame that a camera showed is in exactly one of them."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from partsight.runtime.core import warn_renamed


@dataclass(frozen=True)
class CameraCounters:
    """Counts of one camera's frames by their outcome.

    Attributes:
        recognised: Frames answered with a label.
        unknown: Frames answered as unknown: they fit no part of the package.
        skipped: Frames that a newer one overtook or for which the queue was full, as the policy says. Frames lost
            between the camera and the line are counted here too: a gap in the camera's sequence shows them.
        expired: Frames not answered, because their deadline passed before their turn came.
        partial: Frames that came incomplete.
        failed: Frames that could not be read or answered.
        waiting: Frames accepted and not answered yet. 0 once the line has ended, unless it ended with an error.
        reopened: Number of times that the camera was opened again.
        stalled: Number of times that no frame came in time.
        overdue: Answered frames whose answer came after their deadline.
    """

    recognised: int = 0
    unknown: int = 0
    skipped: int = 0
    expired: int = 0
    partial: int = 0
    failed: int = 0
    waiting: int = 0
    reopened: int = 0
    stalled: int = 0
    overdue: int = 0

    @property
    def seen(self) -> int:
        """All frames that the camera showed."""
        return self.recognised + self.unknown + self.skipped + self.expired + self.partial + self.failed + self.waiting

    @property
    def late(self) -> int:
        """Old name of `expired`; warns."""
        warn_renamed("CameraCounters.late", "CameraCounters.expired")
        return self.expired


@dataclass(frozen=True)
class SinkCounters:
    """Counts of the results for one sink by their outcome.

    Attributes:
        lost: Results that the sink never took: it may lose results, has ended, or took nothing until the line's end.
        refusals: Failed attempts to write a result that the line kept and tried again.
        waiting: Results that wait for the sink. 0 once the line has ended.
        undelivered: Results that the sink keeps because its peer, such as the broker of `mqtt:`, has not acknowledged
            them. They wait in the spool, together with results of earlier runs.
    """

    lost: int = 0
    refusals: int = 0
    waiting: int = 0
    undelivered: int = 0


@dataclass(frozen=True)
class LineCounters:
    """A moment's view of a line.

    Attributes:
        cameras: Counters of each camera, by its name.
        sinks: Counters of each sink, by its name.
        callback_errors: Number of times that a callback raised.
        swaps: Packages that replaced another.
        refused_swaps: Packages that the line refused, because something was wrong with them or the line was closed.
        remote_retries: Requests that were sent to a server again, because an attempt failed.
        remote_failures: Batches that no server answered in time or rightly; their frames count as failed.
    """

    cameras: Mapping[str, CameraCounters] = field(default_factory=dict)
    sinks: Mapping[str, SinkCounters] = field(default_factory=dict)
    callback_errors: int = 0
    swaps: int = 0
    refused_swaps: int = 0
    remote_retries: int = 0
    remote_failures: int = 0

    @property
    def seen(self) -> int:
        """All frames that all cameras showed."""
        return sum(camera.seen for camera in self.cameras.values())


Owner = str | tuple[str, str]
"""Owner of a count: a camera by its name, which may be any text; all others by a pair, so that none can collide."""

LINE: Owner = ("line", "")


def owner_of(sink: str) -> Owner:
    """Return the owner of a sink's counts."""
    return "sink", sink


class Tally:
    """Counts of several threads; a view of it is always consistent."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Owner, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, owner: Owner, name: str, count: int = 1) -> None:
        """Add to one count of an owner."""
        with self._lock:
            self._counts[owner, name] += count

    def move(self, owner: Owner, source: str, target: str, count: int = 1) -> None:
        """Move from one count of an owner to another, in one step."""
        with self._lock:
            self._counts[owner, source] -= count
            self._counts[owner, target] += count

    def of(self, owner: Owner) -> dict[str, int]:
        """Return all counts of one owner, by their names."""
        with self._lock:
            return {name: count for (its_owner, name), count in self._counts.items() if its_owner == owner}
