"""The log of events on the page."""

import logging
from collections.abc import Iterator

import pytest

from partsight.runtime.page.health.event_log import MAX_ENTRIES, MAX_TEXT, EventLog

LOGGER = logging.getLogger("partsight.line")


@pytest.fixture
def events() -> Iterator[EventLog]:
    log = EventLog()
    yield log
    log.close()


@pytest.fixture(autouse=True)
def hear_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "partsight")


def publish(event: str, text: str = "text", level: int = logging.WARNING, **extra: str) -> None:
    LOGGER.log(level, "%s", text, extra={"event": event, **extra})


def test_an_event_has_its_facts(events: EventLog) -> None:
    LOGGER.warning("camera %s is lost", "left", extra={"event": "camera_lost", "camera": "left"})
    LOGGER.info("a library")
    LOGGER.debug("nobody reads it")
    other, lost = events.entries()
    assert (lost.level, lost.event, lost.text) == (logging.WARNING, "camera_lost", "camera left is lost")
    assert (lost.camera, lost.sink, lost.count, lost.first) == ("left", "", 1, lost.last)
    assert (other.event, other.camera) == ("other", "")
    assert events.entries(logging.WARNING) == [lost]


def test_equal_events_are_one_entry_at_the_time_of_the_last(events: EventLog) -> None:
    for event in ("a", "b", "a"):
        publish(event)
    newest, before = events.entries()
    assert (newest.event, newest.count, before.event, before.count) == ("a", 2, "b", 1)
    assert newest.first <= before.first <= newest.last


def test_it_holds_the_last_events_and_no_more(events: EventLog) -> None:
    for index in range(MAX_ENTRIES + 10):
        publish("count", f"{index} " + "x" * 2 * MAX_TEXT)
    entries = events.entries()
    assert len(entries) == MAX_ENTRIES
    assert entries[0].text.startswith(f"{MAX_ENTRIES + 9} ")
    assert len(entries[0].text) == MAX_TEXT


def test_a_warning_that_comes_again_stands_since_the_first(events: EventLog) -> None:
    publish("broker_trouble", sink="rows")
    (first,) = events.standing()
    publish("broker_trouble", "another text", sink="rows")
    (again,) = events.standing()
    assert (again.first, again.text) == (first.first, "another text")
    assert again.last >= first.last


def test_a_warning_stands_until_its_end(events: EventLog) -> None:
    publish("nothing_recognised", camera="left")
    publish("nothing_recognised", camera="right")
    publish("sink_waited_for", sink="rows")
    publish("recognised_again", level=logging.INFO, camera="left")
    assert [(entry.event, entry.camera or entry.sink) for entry in events.standing()] == [
        ("nothing_recognised", "right"),
        ("sink_waited_for", "rows"),
    ]
    publish("package_swapped", level=logging.INFO)  # the warning was about the old package
    assert [entry.sink for entry in events.standing()] == ["rows"]


def test_a_wrong_text_harms_nobody(events: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    events.handle(logging.makeLogRecord({"levelno": logging.WARNING, "msg": "%d", "args": ("no number",)}))
    assert events.entries() == []


def test_a_closed_log_hears_nothing() -> None:
    log = EventLog()
    log.close()
    log.close()
    publish("late")
    assert log.entries() == []
    assert log not in logging.getLogger("partsight").handlers


def test_without_another_handler_warnings_still_reach_stderr(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, events: EventLog
) -> None:
    """As in a program that has not set up logging."""
    second = EventLog()
    with monkeypatch.context() as bare:
        bare.setattr(logging.getLogger(), "handlers", [])
        publish("camera_lost", "once on stderr")
        publish("camera_open", "not on stderr", logging.INFO)
    second.close()
    assert capfd.readouterr().err == "once on stderr\n"
    assert len(events.entries()) == 2


def test_with_another_handler_it_writes_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, events: EventLog
) -> None:
    with monkeypatch.context() as silent:
        silent.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
        publish("camera_lost")
    assert (capfd.readouterr().err, len(events.entries())) == ("", 1)


def test_levels_of_loggers_stay(events: EventLog) -> None:
    logging.getLogger("partsight").setLevel(logging.WARNING)
    publish("camera_open", level=logging.INFO)
    assert events.entries() == []
