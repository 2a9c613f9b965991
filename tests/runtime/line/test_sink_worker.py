"""Sinks that are slow, refuse results, or fail: alone, and on a line."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from partsight.runtime import (
    Recognizer,
    ResultRefusedError,
    SinkError,
    SinkGoneError,
)
from partsight.runtime.line import Line, SinkCounters, sink_worker
from partsight.runtime.line.counters import Tally, owner_of
from partsight.runtime.line.sink_worker import SinkWorker
from partsight.runtime.sinks.record import FrameEvent
from tests.runtime.line.running import BLOCK
from tests.runtime.line.scripted import ListSink, ScriptedCamera, pictures
from tests.runtime.sinks.kinds import event
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.usefixtures("no_long_pauses")


class GatedSink(ListSink):
    """Takes nothing before it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    def write(self, event: FrameEvent) -> None:
        assert self.opened.wait(HANG_S)
        super().write(event)


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
def working(sink: ListSink, *, may_wait: bool = False, **kinds: object) -> Iterator[tuple[SinkWorker, Tally]]:
    for name, value in kinds.items():
        setattr(sink, name, value)
    tally = Tally()
    worker = SinkWorker("s", sink, tally, may_wait=lambda: may_wait)
    yield worker, tally
    worker.close()


def sequences(sink: ListSink) -> list[int]:
    return [record.sequence for record in sink.records]


def lost(tally: Tally) -> int:
    return tally.of(owner_of("s")).get("lost", 0)


def test_a_sink_that_shows_the_last_result_never_holds_up_the_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sink_worker, "SHOWN_BOUND", 3)
    sink = GatedSink()
    with working(sink, may_lose=True) as (worker, tally):
        for sequence in range(20):
            worker.put(event(sequence))
        sink.opened.set()
    assert sequences(sink)[-3:] == [17, 18, 19]
    assert len(sink.records) + lost(tally) == 20
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == ["results_lost"]  # logged once


def test_where_the_line_may_wait_the_last_results_are_shown_one_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files, which are in no hurry; not while the sink refuses them."""
    monkeypatch.setattr(sink_worker, "SHOWN_BOUND", 3)
    monkeypatch.setattr(sink_worker, "FIRST_PAUSE_S", 0.001)
    sink = ListSink()
    with working(sink, may_wait=True, may_lose=True) as (worker, tally):
        for sequence in range(100):
            worker.put(event(sequence))
        wait_until(lambda: len(sink.records) == 100)
        sink.refuses = 10**9
        for sequence in range(100):
            worker.put(event(sequence))
        wait_until(lambda: lost(tally) == 100)


def test_a_slow_sink_that_keeps_up_again_is_logged_each_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sink_worker, "SHOWN_BOUND", 3)
    sink = GatedSink()
    with caplog.at_level(logging.INFO), working(sink, may_lose=True) as (worker, tally):
        for _ in range(2):
            before = lost(tally)
            sink.opened.clear()
            for sequence in range(20):
                worker.put(event(sequence))
            sink.opened.set()
            wait_until(lambda: worker.waiting == 0 and caplog.records[-1].event == "sink_recovered")  # type: ignore[attr-defined]
            assert str(lost(tally) - before) in caplog.records[-1].getMessage()
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == ["results_lost", "sink_recovered"] * 2


def test_an_unwanted_result_does_not_show_that_a_sink_takes_results(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sink_worker, "FIRST_PAUSE_S", 0.001)
    sink = ListSink(refuses=10**9)
    kinds = {"may_lose": True, "keeps_pictures": True, "wants": lambda record: record.sequence % 2 == 0}
    with caplog.at_level(logging.INFO), working(sink, **kinds) as (worker, tally):
        for sequence in range(100):
            worker.put(event(sequence))
        wait_until(lambda: lost(tally) == 50)
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == ["sink_waited_for", "result_lost"]


def test_pictures_are_waited_for_while_the_disk_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_worker, "PICTURES_BOUND", 3)
    sink = ListSink()
    with working(sink, may_lose=True, keeps_pictures=True) as (worker, tally):
        for sequence in range(100):
            worker.put(event(sequence))
        wait_until(lambda: len(sink.records) == 100)
    assert (sequences(sink), lost(tally)) == (list(range(100)), 0)


def test_pictures_that_the_disk_refuses_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sink_worker, "FIRST_PAUSE_S", 0.001)
    sink = ListSink(refuses=10**9)
    with caplog.at_level(logging.INFO), working(sink, may_lose=True, keeps_pictures=True) as (worker, tally):
        for sequence in range(50):
            worker.put(event(sequence))
        wait_until(lambda: lost(tally) == 50)
        assert sink.attempts <= 50 + sink_worker.ATTEMPTS  # those after the first once
        sink.refuses = 0
        worker.put(event(50))
        wait_until(lambda: len(sink.records) == 1)
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == [
        "sink_waited_for",
        "result_lost",
        "sink_recovered",
    ]
    assert "50" in caplog.messages[-1]


@pytest.mark.parametrize("error", [SinkError("the database is locked"), TimeoutError("no answer")], ids=repr)
def test_after_the_end_a_sink_that_refused_a_result_gets_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    monkeypatch.setattr(sink_worker, "END_S", 0.3)
    sink = HeldSink(error)
    monkeypatch.setattr(sink_worker.time, "monotonic", lambda: sink.now)
    with working(sink) as (worker, tally):
        for sequence in range(100):
            worker.put(event(sequence))
        worker.end_soon()
        sink.opened.set()
    assert lost(tally) == 100
    assert sink.attempts == 2  # by then it has taken longer than END_S
    errors = [record.event for record in caplog.records if record.levelno == logging.ERROR]  # type: ignore[attr-defined]
    assert errors == ["result_lost", "results_lost"]


def test_after_the_end_a_sink_that_takes_results_gets_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_worker, "END_S", 0.0)
    sink = GatedSink()
    with working(sink) as (worker, tally):
        for sequence in range(50):
            worker.put(event(sequence))
        worker.end_soon()
        sink.opened.set()
    assert (len(sink.records), lost(tally)) == (50, 0)


def test_closed_twice() -> None:
    with working(ListSink()) as (worker, _):
        worker.close()
        worker.close()
    assert worker.waiting == 0


@pytest.mark.parametrize("refuses", [1, sink_worker.ATTEMPTS - 1])
def test_a_sink_that_refuses_is_asked_again(recognizer: Recognizer, refuses: int) -> None:
    sink = ListSink(refuses)
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(9))}, {"s": sink}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert [record.sequence for record in sink.records] == list(range(9))
    assert line.counters().sinks == {"s": SinkCounters(refusals=refuses)}


def test_a_full_disk_loses_nothing(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line waits while the queue is full, and the cameras' policy counts skipped frames."""
    monkeypatch.setattr(sink_worker, "BOUND", 4)
    monkeypatch.setattr(sink_worker, "MAX_PAUSE_S", 0.1)
    sink, other = ListSink(10**9), ListSink()
    steps = [step for picture in pictures(200) for step in (picture, lambda: time.sleep(0.005))]
    with (
        caplog.at_level(logging.INFO, "partsight.line"),
        Line(recognizer, {"c": lambda: ScriptedCamera(steps)}, {"s": sink, "o": other}) as line,
    ):
        wait_until(lambda: line.counters().cameras["c"].seen >= 150)
        assert line.counters().sinks["s"].waiting == 4
        assert line.counters().cameras["c"].skipped
        sink.refuses = 0
        assert line.wait(HANG_S)
    counters = line.counters()
    camera = counters.cameras["c"]
    assert camera.seen == 200 == camera.recognised + camera.unknown + camera.skipped
    assert counters.sinks["s"].lost == 0 < counters.sinks["s"].refusals
    assert [record.sequence for record in sink.records] == [record.sequence for record in other.records]
    assert len(sink.records) == camera.recognised + camera.unknown
    logged = [record.event for record in caplog.records if getattr(record, "sink", "") == "s"]  # type: ignore[attr-defined]
    assert logged == ["sink_waited_for", "sink_recovered"]


def test_the_lines_end_waits_for_a_full_disk_only_so_long(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_worker, "END_S", 0.3)
    monkeypatch.setattr(sink_worker, "BOUND", 2)
    bad, good = ListSink(10**9), ListSink()
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(9))}, {"b": bad, "g": good}, policy=BLOCK) as line:
        wait_until(lambda: line.counters().sinks["b"].waiting >= 2)
    camera = line.counters().cameras["c"]
    assert line.counters().sinks["b"].lost == camera.recognised + camera.unknown == len(good.records)
    assert line.counters().sinks["g"] == SinkCounters()


def test_a_sink_that_may_lose_results_is_asked_a_few_times(recognizer: Recognizer) -> None:
    bad, good = ListSink(10**9), ListSink()
    bad.may_lose = True  # type: ignore[attr-defined]
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(2))}, {"b": bad, "g": good}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert line.counters().sinks == {"b": SinkCounters(lost=2, refusals=3), "g": SinkCounters()}
    assert bad.attempts == sink_worker.ATTEMPTS + 1  # the second once, since it refuses them all
    assert len(good.records) == 2


def test_a_slow_sink_that_may_lose_results_does_not_hold_up_the_lines_end(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that waits for a PLC which is off; one that keeps results is waited for."""
    monkeypatch.setattr(sink_worker, "END_S", -1.0)  # it is over when it begins
    started, ended = threading.Event(), threading.Event()
    end_soon = sink_worker.SinkWorker.end_soon
    monkeypatch.setattr(sink_worker.SinkWorker, "end_soon", lambda worker: (end_soon(worker), ended.set())[0])

    class Slow(ListSink):
        def write(self, event: FrameEvent) -> None:
            started.set()
            assert ended.wait(HANG_S)
            super().write(event)

    kept, shown = ListSink(), Slow()
    shown.may_lose = True  # type: ignore[attr-defined]
    cameras = {"c": lambda: ScriptedCamera(pictures(40))}
    with Line(recognizer, cameras, {"shown": shown, "kept": kept}, policy=BLOCK) as line:
        assert started.wait(HANG_S)
        assert line.wait(HANG_S)
    assert len(kept.records) == 40
    assert line.counters().sinks == {"shown": SinkCounters(lost=40 - len(shown.records)), "kept": SinkCounters()}
    assert 0 < len(shown.records) < 40


def test_a_result_that_a_sink_will_never_take_is_counted_at_once(recognizer: Recognizer) -> None:
    class Choosy(ListSink):
        def write(self, event: FrameEvent) -> None:
            if event.record.sequence == 3:
                raise ResultRefusedError("has another result of this sequence")
            super().write(event)

    sink = Choosy()
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(6))}, {"s": sink}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert line.counters().sinks == {"s": SinkCounters(lost=1)}
    assert [record.sequence for record in sink.records] == [0, 1, 2, 4, 5]


def test_a_sink_whose_reader_has_ended_ends_the_line(recognizer: Recognizer, caplog: pytest.LogCaptureFixture) -> None:
    class Gone(ListSink):
        def write(self, _: Any) -> None:
            self.attempts += 1
            raise SinkGoneError("the reader")

    sink, other = Gone(), ListSink()
    line = Line(recognizer, {"c": lambda: ScriptedCamera(pictures(6))}, {"s": sink, "o": other}, policy=BLOCK)
    with pytest.raises(SinkGoneError, match="reader"):
        with line:
            while not line.wait(0.05):
                pass
        line.wait()  # all are answered before; only a closed line has written all
    assert sink.attempts == 1
    assert line.counters().sinks["s"].lost == len(other.records)
    assert "the reader" not in caplog.text  # it was raised


def test_a_sink_that_raises_anything_does_not_stop_the_line(recognizer: Recognizer) -> None:
    class Broken(ListSink):
        def write(self, _: Any) -> None:
            self.attempts += 1
            raise TypeError("a mistake of its own")

    sink = Broken()
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(5))}, {"s": sink}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert line.counters().sinks == {"s": SinkCounters(lost=5)}
    assert sink.attempts == 5  # another attempt would not help


def test_results_that_a_sink_keeps_for_its_peer_are_counted(recognizer: Recognizer) -> None:
    class Spooling(ListSink):
        @property
        def undelivered(self) -> int:
            return len(self.events)

    spooling = Spooling()
    camera = ScriptedCamera(pictures(3))
    with Line(recognizer, {"c": lambda: camera}, {"s": spooling}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert line.counters().sinks == {"s": SinkCounters(undelivered=3)}


def test_pictures_go_only_to_sinks_that_keep_them(recognizer: Recognizer) -> None:
    plain, keeping = ListSink(), ListSink()
    keeping.keeps_pictures = True  # type: ignore[attr-defined]
    frames = pictures(5)
    with Line(recognizer, {"c": lambda: ScriptedCamera(frames)}, {"p": plain, "k": keeping}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert [item.frame for item in plain.events] == [None] * 5
    kept = [item.frame for item in keeping.events]
    assert all(item is not None and item.image is frame for item, frame in zip(kept, frames, strict=True))
