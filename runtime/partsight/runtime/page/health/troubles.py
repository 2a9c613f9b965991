"""Troubles of a line now, for people who can do something about them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from partsight.runtime.line import ExpectedRange, HealthState, Line, LineCounters, troubled_cameras
from partsight.runtime.page.health.event_log import EventLog, LogEntry
from partsight.runtime.page.health.history import HealthHistory, HealthSample

MAX_WAITING = 100
"""Results that may wait for a sink, or for its peer, before people hear of it: a tenth of what the line keeps."""

SEES_AGAIN = 0.4
"""Share of unknown answers in a minute below which a camera recognises parts; the watchdog warns from 0.5 on.

The watchdog says so itself, but later: it waits for the next frame that `Health` measures, and a check of any camera's
set-up may take a minute.
"""

_OF_WATCHDOG = frozenset({"nothing_recognised", "setup_misfit"})
_LATELY = ("failed", "partial", "expired")
_SINK_WARNINGS = frozenset({"sink_waited_for", "broker_trouble"})


@dataclass(frozen=True)
class Trouble:
    """One trouble.

    Attributes:
        kind: Name of its texts: `health.trouble_KIND` names the trouble, `health.remedy_KIND` what to do.
        is_bad: Whether parts or results may be lost now; else people only need to look.
        name: Camera or sink that has it; empty for the line.
        values: Values for its texts.
        log: Sentence of the log that says more; empty if there is none.
        since: Time when the log first said it, in seconds since 1970; None for a trouble that is no event of the log.
    """

    kind: str
    is_bad: bool = False
    name: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    log: str = ""
    since: float | None = None


def current_troubles(line: Line, history: HealthHistory, events: EventLog) -> tuple[Trouble, ...]:
    """Return the troubles that the screen Health shows, bad ones first."""
    standing = still_true(events.standing(), history.last)
    return find_troubles(line, history.state(), history.lately(), standing)


def still_true(standing: Sequence[LogEntry], last: Callable[[str], HealthSample | None]) -> list[LogEntry]:
    """Return the warnings without those of the watchdog that a later minute of the camera belies.

    Args:
        standing: Warnings of the log that stand.
        last: Function that returns the last sample of a camera; None before the first.
    """

    def is_over(entry: LogEntry) -> bool:
        sample = last(entry.camera) if entry.event in _OF_WATCHDOG else None
        if sample is None or sample.unknown_share is None:
            return False
        return sample.time > entry.last and sample.unknown_share < SEES_AGAIN

    return [entry for entry in standing if not is_over(entry)]


def find_troubles(
    line: Line, state: HealthState, lately: LineCounters, standing: Sequence[LogEntry]
) -> tuple[Trouble, ...]:
    """Return the troubles of a line, bad ones first.

    Args:
        line: The line.
        state: Its health; an empty one if nobody watches it.
        lately: Its counters of an hour ago: a loss is a trouble for an hour.
        standing: Warnings of its log that stand.
    """
    now = line.counters()
    found = [
        *([] if line.is_running else [Trouble("not_running", is_bad=True)]),
        *(Trouble(f"camera_{state}", state != "opening", name) for name, state in troubled_cameras(line).items()),
        *_of_log(standing),
        *_of_drift(state),
        *_of_frames(now, lately),
        *_of_sinks(now, lately, {entry.sink for entry in standing if entry.event in _SINK_WARNINGS}),
    ]
    return tuple(sorted(found, key=lambda trouble: not trouble.is_bad))


def _of_log(standing: Sequence[LogEntry]) -> Iterator[Trouble]:
    for entry in standing:
        name = entry.camera or entry.sink
        yield Trouble(entry.event, entry.event == "nothing_recognised", name, log=entry.text, since=entry.first)


def _of_drift(state: HealthState) -> Iterator[Trouble]:
    for name, camera in state.cameras.items():
        for measure, is_in in camera.in_range.items():
            limits: ExpectedRange | None = getattr(state.expected, measure, None)
            value: float | None = getattr(camera.recognised, measure)
            if not is_in and limits is not None and value is not None:
                side = "low" if value < (limits.low + limits.high) / 2 else "high"
                values = {"value": value, "low": limits.low, "high": limits.high}
                yield Trouble(f"{measure}_{side}", name=name, values=values)


def _of_frames(now: LineCounters, lately: LineCounters) -> Iterator[Trouble]:
    for name, camera in now.cameras.items():
        for outcome in _LATELY:
            count = getattr(camera, outcome) - getattr(lately.cameras[name], outcome)
            if count > 0:
                yield Trouble(f"frames_{outcome}", name=name, values={"count": count})


def _of_sinks(now: LineCounters, lately: LineCounters, warned: set[str]) -> Iterator[Trouble]:
    for name, sink in now.sinks.items():
        lost = sink.lost - lately.sinks[name].lost
        if lost > 0:
            yield Trouble("results_lost", is_bad=True, name=name, values={"count": lost})
        waiting = max(sink.waiting, sink.undelivered)
        if waiting >= MAX_WAITING and name not in warned:
            yield Trouble("results_waiting", name=name, values={"count": waiting})
