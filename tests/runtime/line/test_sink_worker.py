"""One sink's thread, alone."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from partsight.runtime import SinkError
from partsight.runtime.line import sink_worker as outbox
from partsight.runtime.line.counters import Tally
from partsight.runtime.line.sink_worker import SinkWorker, owner_of
from partsight.runtime.sinks.record import FrameEvent
from tests.runtime.line.scripted import ListSink
from tests.runtime.sinks.kinds import event
from tests.waiting import HANG_S, wait_until


class GatedSink(ListSink):
    """Takes nothing before it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def write(self, told: FrameEvent) -> None:
        assert self.opened.wait(HANG_S)
        super().write(told)


class HeldSink(ListSink):
    """Refuses each result after 0.2 s of its own clock, as a database that another program holds, or a service away."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error, self.now = error, 0.0
        self.opened = threading.Event()

    def write(self, _: FrameEvent) -> None:
        assert self.opened.wait(HANG_S)
        self.attempts += 1
        self.now += 0.2
        raise self._error


@contextmanager
def boxed(sink: ListSink, *, may_wait: bool = False, **kinds: object) -> Iterator[tuple[SinkWorker, Tally]]:
    for name, value in kinds.items():
        setattr(sink, name, value)
    tally = Tally()
    box = SinkWorker("s", sink, tally, may_wait=lambda: may_wait)
    yield box, tally
    box.close()


def sequences(sink: ListSink) -> list[int]:
    return [record.sequence for record in sink.records]


def lost(tally: Tally) -> int:
    return tally.of(owner_of("s")).get("lost", 0)


def test_who_shows_the_last_result_never_holds_up_the_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "SHOWN_BOUND", 3)
    sink = GatedSink()
    with boxed(sink, may_lose=True) as (box, tally):
        for sequence in range(20):
            box.put(event(sequence))
        sink.opened.set()
    assert sequences(sink)[-3:] == [17, 18, 19]
    assert len(sink.records) + lost(tally) == 20
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == ["results_lost"]  # said once


def test_where_the_line_may_wait_the_last_results_are_shown_one_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files, which are in no hurry; not while the sink refuses them."""
    monkeypatch.setattr(outbox, "SHOWN_BOUND", 3)
    monkeypatch.setattr(outbox, "FIRST_PAUSE_S", 0.001)
    sink = ListSink()
    with boxed(sink, may_wait=True, may_lose=True) as (box, tally):
        for sequence in range(100):
            box.put(event(sequence))
        wait_until(lambda: len(sink.records) == 100)
        sink.refuses = 10**9
        for sequence in range(100):
            box.put(event(sequence))
        wait_until(lambda: lost(tally) == 100)


def test_who_keeps_up_again_is_told_and_so_is_the_next_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "SHOWN_BOUND", 3)
    sink = GatedSink()
    with caplog.at_level(logging.INFO), boxed(sink, may_lose=True) as (box, tally):
        for _ in range(2):
            before = lost(tally)
            sink.opened.clear()
            for sequence in range(20):
                box.put(event(sequence))
            sink.opened.set()
            wait_until(lambda: box.waiting == 0 and caplog.records[-1].event == "sink_recovered")  # type: ignore[attr-defined]
            assert f"{lost(tally) - before} were lost meanwhile" in caplog.records[-1].getMessage()
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == ["results_lost", "sink_recovered"] * 2


def test_what_a_sink_does_not_want_says_nothing_of_whether_it_takes_results(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "FIRST_PAUSE_S", 0.001)
    sink = ListSink(refuses=10**9)
    kinds = {"may_lose": True, "keeps_pictures": True, "wants": lambda record: record.sequence % 2 == 0}
    with caplog.at_level(logging.INFO), boxed(sink, **kinds) as (box, tally):
        for sequence in range(100):
            box.put(event(sequence))
        wait_until(lambda: lost(tally) == 50)
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == ["sink_waited_for", "result_lost"]


def test_pictures_are_waited_for_while_the_disk_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PICTURES_BOUND", 3)
    sink = ListSink()
    with boxed(sink, may_lose=True, keeps_pictures=True) as (box, tally):
        for sequence in range(100):
            box.put(event(sequence))
        wait_until(lambda: len(sink.records) == 100)
    assert (sequences(sink), lost(tally)) == (list(range(100)), 0)


def test_pictures_that_the_disk_refuses_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "FIRST_PAUSE_S", 0.001)
    sink = ListSink(refuses=10**9)
    with caplog.at_level(logging.INFO), boxed(sink, may_lose=True, keeps_pictures=True) as (box, tally):
        for sequence in range(50):
            box.put(event(sequence))
        wait_until(lambda: lost(tally) == 50)
        assert sink.attempts <= 50 + outbox.ATTEMPTS  # those after the first once
        sink.refuses = 0
        box.put(event(50))
        wait_until(lambda: len(sink.records) == 1)
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == [
        "sink_waited_for",
        "result_lost",
        "sink_recovered",
    ]
    assert "takes results again; 50 were lost meanwhile" in caplog.text


@pytest.mark.parametrize("error", [SinkError("the database is locked"), TimeoutError("no answer")], ids=repr)
def test_after_the_end_who_refused_a_result_is_not_asked_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(outbox, "END_S", 0.3)
    sink = HeldSink(error)
    monkeypatch.setattr(outbox.time, "monotonic", lambda: sink.now)
    with boxed(sink) as (box, tally):
        for sequence in range(100):
            box.put(event(sequence))
        box.end_soon()
        sink.opened.set()
    assert lost(tally) == 100
    assert sink.attempts == 2  # by then it has taken longer than END_S
    errors = [record.event for record in caplog.records if record.levelno == logging.ERROR]  # type: ignore[attr-defined]
    assert errors == ["result_lost", "results_lost"]
    assert "results that still waited at the line's end are lost to it" in caplog.text


def test_after_the_end_who_takes_results_gets_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "END_S", 0.0)
    sink = GatedSink()
    with boxed(sink) as (box, tally):
        for sequence in range(50):
            box.put(event(sequence))
        box.end_soon()
        sink.opened.set()
    assert (len(sink.records), lost(tally)) == (50, 0)


def test_closed_twice() -> None:
    with boxed(ListSink()) as (box, _):
        box.close()
        box.close()
    assert box.waiting == 0
