"""The screen Health, and what counts as a trouble."""

import logging
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import pytest

from partsight.runtime.line import (
    CameraCounters,
    CameraHealth,
    ExpectedRange,
    ExpectedRanges,
    HealthState,
    LineCounters,
    SinkCounters,
)
from partsight.runtime.line.health.drift import Medians
from partsight.runtime.page import Role
from partsight.runtime.page.health.event_log import LogEntry
from partsight.runtime.page.health.history import HealthSample
from partsight.runtime.page.health.troubles import MAX_WAITING, SEES_AGAIN, Trouble, find_troubles, still_true
from partsight.runtime.page.screens import health as screen
from partsight.runtime.page.web.call import Call
from partsight.runtime.page.web.messages import messages_of
from tests.runtime.page.conftest import Station
from tests.waiting import wait_until

LOGGER = logging.getLogger("partsight.line")
EXPECTED = ExpectedRanges(ExpectedRange(0.8, 1.25), ExpectedRange(-0.1, 0.1))
PARTS = ("/health", "/health/now", "/health/plots", "/health/log")


class StoppedLine:
    """A line in a state that a test gives."""

    def __init__(self, state: str = "open", *, is_running: bool = True, **counts: int) -> None:
        self.is_running = is_running
        self._state = state
        sinks = {name: counts.pop(name) for name in ("lost", "waiting", "undelivered") if name in counts}
        self._counters = LineCounters({"left": CameraCounters(**counts)}, {"rows": SinkCounters(**sinks)})

    def states(self) -> dict[str, str]:
        return {"left": self._state}

    def counters(self) -> LineCounters:
        return self._counters


def troubles(
    line: StoppedLine, state: HealthState | None = None, lately: StoppedLine | None = None, *standing: LogEntry
) -> list[Trouble]:
    before = (lately or StoppedLine()).counters()
    return list(find_troubles(line, state or HealthState(), before, standing))  # type: ignore[arg-type]


def kinds(*arguments: Any) -> list[str]:
    return [trouble.kind for trouble in troubles(*arguments)]


def drifted(focus: float, exposure: float, **in_range: bool) -> HealthState:
    medians = Medians(focus, exposure, 0.5, 0.1, 50)
    camera = CameraHealth(medians, medians, in_range, 0.0)  # type: ignore[arg-type]
    return HealthState(EXPECTED, {"left": camera}, "id")


def entry(event: str, camera: str = "", sink: str = "") -> LogEntry:
    return LogEntry(logging.WARNING, event, "look at the lamp", camera, sink, 1, 0.0, 0.0)


@pytest.mark.parametrize("state", ["open", "ended"])
def test_a_line_that_is_well(state: str) -> None:
    well = drifted(1.0, 0.0, focus_ratio=True, exposure_ev=True)
    assert troubles(StoppedLine(state, recognised=5, unknown=50, skipped=9, reopened=2), well) == []


@pytest.mark.parametrize("state", ["opening", "waiting", "stalled", "lost", "failed"])
def test_a_camera_that_is_not_well(state: str) -> None:
    (trouble,) = troubles(StoppedLine(state))
    assert (trouble.kind, trouble.name, trouble.is_bad) == (f"camera_{state}", "left", state != "opening")


def test_bad_troubles_come_first() -> None:
    found = troubles(StoppedLine(is_running=False, lost=3, failed=1))
    assert [(trouble.kind, trouble.is_bad) for trouble in found] == [
        ("not_running", True),
        ("results_lost", True),
        ("frames_failed", False),
    ]


@pytest.mark.parametrize(
    ("focus", "exposure", "kind"),
    [
        (0.5, 0.0, "focus_ratio_low"),
        (1.9, 0.0, "focus_ratio_high"),
        (1.0, -1.0, "exposure_ev_low"),
        (1.0, 1.0, "exposure_ev_high"),
    ],
)
def test_drift(focus: float, exposure: float, kind: str) -> None:
    in_range = {"focus_ratio": focus == 1.0, "exposure_ev": exposure == 0.0}
    (trouble,) = troubles(StoppedLine(), drifted(focus, exposure, **in_range))
    assert (trouble.kind, trouble.name) == (kind, "left")
    assert trouble.values["value"] in (focus, exposure)


def test_a_loss_is_a_trouble_for_an_hour() -> None:
    assert kinds(StoppedLine(lost=3, expired=2), None, StoppedLine(lost=1)) == ["results_lost", "frames_expired"]
    assert kinds(StoppedLine(lost=3, expired=2), None, StoppedLine(lost=3, expired=2)) == []


@pytest.mark.parametrize("where", ["waiting", "undelivered"])
def test_results_that_wait(where: str) -> None:
    assert kinds(StoppedLine(**{where: MAX_WAITING - 1})) == []
    line = StoppedLine(**{where: MAX_WAITING})
    assert kinds(line) == ["results_waiting"]
    assert kinds(line, None, None, entry("sink_waited_for", sink="rows")) == ["sink_waited_for"]  # says more


def test_a_warning_of_the_log_that_stands() -> None:
    (trouble,) = troubles(StoppedLine(), None, None, entry("nothing_recognised", camera="left"))
    assert (trouble.kind, trouble.name, trouble.log) == ("nothing_recognised", "left", "look at the lamp")


@pytest.mark.parametrize(
    ("event", "share", "time", "stands"),
    [
        ("nothing_recognised", SEES_AGAIN - 0.1, 60.0, False),
        ("setup_misfit", SEES_AGAIN - 0.1, 60.0, False),
        ("nothing_recognised", SEES_AGAIN, 60.0, True),
        ("nothing_recognised", None, 60.0, True),  # no part passed
        ("nothing_recognised", 0.0, -60.0, True),  # a minute before the warning
        ("broker_trouble", 0.0, 60.0, True),
    ],
)
def test_a_warning_that_a_later_minute_belies(event: str, share: float | None, time: float, stands: bool) -> None:
    samples = {"left": HealthSample(time, None, None, share, 1.0, None)}
    assert len(still_true([entry(event, camera="left")], samples.get)) == stands
    assert len(still_true([entry(event, camera="right")], samples.get)) == 1


def test_the_camera_with_a_trouble_comes_first(station: Station) -> None:
    def camera() -> str:
        text = station.operator().get("/health/plots").text
        (found,) = re.findall(r'hx-get="/health/plots\?camera=(\w+)[^"]*" hx-trigger', text)
        return str(found)

    wait_until(lambda: set(station.line.states().values()) == {"open"})
    assert camera() == "left"
    LOGGER.warning("it is dark", extra={"event": "nothing_recognised", "camera": "right"})
    assert camera() == "right"
    assert 'camera=left&amp;hours=8" hx-trigger' in station.operator().get("/health/plots?camera=left").text


def test_the_page_of_a_line_that_is_well(station: Station) -> None:
    wait_until(lambda: set(station.line.states().values()) == {"open"})
    station.show("red", "blue")
    reply = station.operator().get("/health")
    assert reply.status == 200
    assert 'class="verdict good"' in reply.text
    assert station.line.package_id in reply.text
    for name in ("left", "right", "kept"):
        assert f"<bdi>{name}</bdi>" in reply.text


def test_its_parts_are_parts(station: Station) -> None:
    for path in PARTS[1:]:
        reply = station.operator().get(path, HX_Request="true")
        assert (reply.status, "<html" in reply.text) == (200, False)


def test_every_text_of_every_trouble_exists() -> None:
    """In both languages, with the values that it gets."""
    measures = {"value": "1", "low": "0", "high": "2"}
    states = ("opening", "waiting", "open", "stalled", "lost", "ended", "failed")
    found = [
        *(trouble for state in states for trouble in troubles(StoppedLine(state))),
        *troubles(StoppedLine(is_running=False, lost=1, waiting=MAX_WAITING, failed=1, partial=1, expired=1)),
        *(
            Trouble(f"{name}_{side}", values=measures)
            for name in ("focus_ratio", "exposure_ev")
            for side in ("low", "high")
        ),
        *(Trouble(event) for event in ("nothing_recognised", "setup_misfit")),
        *(Trouble(event) for event in ("sink_waited_for", "broker_trouble", "plc_waited_for")),
    ]
    for language in ("en", "de"):
        texts = messages_of(language)
        for trouble in found:
            assert texts.text(f"health.trouble_{trouble.kind}", **trouble.values)
            assert texts.text(f"health.remedy_{trouble.kind}")
        assert all(texts.text(f"health.state_{state}") for state in states)


def test_troubles_are_shown_with_their_remedy(station: Station) -> None:
    LOGGER.warning("it is dark", extra={"event": "nothing_recognised", "camera": "left"})
    text = station.operator().get("/health/now").text
    assert 'class="verdict bad"' in text
    assert messages_of("en").text("health.remedy_nothing_recognised") in text
    assert "it is dark" in text
    (warning,) = station.page.context.events.standing()
    assert messages_of("en").text("health.since", time=messages_of("en").time(warning.first)) in text


def test_the_log_newest_first_by_level(station: Station) -> None:
    LOGGER.warning("early", extra={"event": "camera_lost"})
    LOGGER.error("late", extra={"event": "result_lost"})
    text = station.operator().get("/health/log?level=warning").text
    assert text.index("<bdi>late") < text.index("<bdi>early")
    assert "<bdi>early" not in station.operator().get("/health/log?level=error").text


HOSTILE = "<script>alert(1)</script>\u202e\udc80" + "x" * 250


def test_hostile_texts_are_text(station: Station) -> None:
    facts = {"msg": HOSTILE, "levelno": logging.WARNING, "camera": HOSTILE, "sink": HOSTILE}
    for event in (HOSTILE, "setup_misfit"):
        # Not by the logger: reports of pytest cannot hold bytes that are no text.
        station.page.context.events.handle(logging.makeLogRecord(facts | {"event": event}))
    reply = station.operator().get("/health")
    assert reply.status == 200
    assert "<script>alert" not in reply.text
    assert "&lt;script&gt;alert" in reply.text


WRONG = [
    "hours=2",
    "hours=",
    "hours=8&camera=top",
    "camera=%00",
    "level=debug",
    "level=%3Cscript%3E",
    "hours=" + "9" * 5000,
]


@pytest.mark.parametrize("query", WRONG)
def test_wrong_parameters(station: Station, query: str) -> None:
    reply = station.operator().get(f"/health?{query}")
    assert reply.status == 409
    assert "<script>" not in reply.text


def plots_of(station: Station) -> list[ET.Element]:
    text = station.operator().get("/health/plots?camera=left&hours=1").text
    return [ET.fromstring(svg) for svg in re.findall(r'<svg class="plot".*?</svg>', text, re.DOTALL)]


def test_plots_come_with_the_second_measure(station: Station) -> None:
    history = station.page.context.history
    assert plots_of(station) == []
    for colour in ("red", "blue"):
        station.show(colour)
        wait_until(lambda: station.line.counters().cameras["left"].waiting == 0)
        history.sample()
    plots = plots_of(station)
    assert plots
    for plot in plots:
        labelled = plot.attrib["aria-labelledby"].split()
        found: Mapping[str, str] = {
            element.attrib["id"]: element.text or "" for element in plot.iter() if "id" in element.attrib
        }
        assert all(found[name].strip() for name in labelled)
        assert "left" in found[labelled[1]]


def test_numbers_are_written_as_the_language_does(station: Station) -> None:
    def written(language: str, value: float | None, digits: int = 0, **options: bool) -> str:
        call = Call(station.page.context, None, None, messages_of(language), None)  # type: ignore[arg-type]
        return screen._number_of(call)(value, digits, **options)

    assert written("en", 1234567) == "1,234,567"
    assert written("de", 1234.5, 1) == "1.234,5"
    assert written("de", None) == "–"
    assert written("en", -0.001, 2, is_signed=True) == "0.00"
    assert written("en", 0.1, 2, is_signed=True) == "+0.10"
    assert written("en", -0.1, 2, is_signed=True) == "−0.10"


def test_only_looking(station: Station) -> None:
    assert {(route.method, route.role) for route in screen.ROUTES} == {("GET", Role.OPERATOR)}
    assert all(station.stranger().get(path).status == 303 for path in PARTS)
