"""The view of the line that live screens show: one moment of each camera, and whether the line still runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from partsight.runtime.line import CameraCounters, Line
from partsight.runtime.page.live.recent_results import RecentResult, RecentResults
from partsight.runtime.page.live.shift import Pace, ShiftCounters, SwapCounts


@dataclass(frozen=True)
class CameraView:
    """A moment of one camera.

    Attributes:
        index: Number of the camera on the line, from 0; addresses have it, because a name may be any text.
        name: Its name.
        state: Its state, see `Line.states`.
        shown: Results that the page shows, newest first; at most `SHOWN`.
        since: Time since when `counts` count, in seconds since 1970.
        counts: Counters of the shift.
        pace: Rate and latency.
        swapped: Time of the last change of package in this shift, in seconds since 1970; None if there was none.
        since_swap: Its results since then.
    """

    index: int
    name: str
    state: str
    shown: tuple[RecentResult, ...]
    since: float
    counts: CameraCounters
    pace: Pace
    swapped: float | None
    since_swap: SwapCounts

    @property
    def newest(self) -> RecentResult | None:
        """The newest result; None before the first."""
        return self.shown[0] if self.shown else None

    @property
    def answered(self) -> int:
        """Frames of the shift that have a result."""
        return self.counts.recognised + self.counts.unknown + self.counts.failed


class LiveView:
    """Looks at a line when a browser asks."""

    def __init__(
        self, line: Line, recent: RecentResults, shift: ShiftCounters, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Take the parts of the page.

        Args:
            line: The line.
            recent: Its last results.
            shift: Its counters.
            clock: Clock, in seconds since 1970.
        """
        self._line, self._recent, self._shift, self._clock = line, recent, shift, clock
        self._ran_at: float | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the page closes: streams end."""
        return self._recent.is_closed

    def now(self) -> float:
        """Return the time, in seconds since 1970."""
        return self._clock()

    def cameras(self) -> tuple[CameraView, ...]:
        """Return a moment of each camera, and draw the pictures that are due: a few milliseconds for each camera."""
        self._recent.draw()
        state = self._shift.state()
        return tuple(
            CameraView(
                index=index,
                name=name,
                state=camera_state,
                shown=self._recent.shown(name),
                since=state.since,
                counts=state.cameras[name],
                pace=self._shift.pace(name),
                swapped=state.swapped,
                since_swap=state.since_swap[name],
            )
            for index, (name, camera_state) in enumerate(self._line.states().items())
        )

    def ended(self) -> float | None:
        """Return when the line ended, in seconds since 1970; None while it runs, and before its start.

        That is the last moment at which the page saw it run, or at which its last frame came.
        """
        if self._line.is_running:
            self._ran_at = self._clock()
            return None
        last = max(self._ran_at or 0.0, self._recent.last_heard or 0.0)
        if last:
            return last
        return self._clock() if {"ended", "failed"} & set(self._line.states().values()) else None
