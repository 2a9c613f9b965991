"""Counters of the shift: they begin anew with it, also on the days when the clock is set."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from partsight.runtime import Recognizer
from partsight.runtime.line import CameraCounters
from partsight.runtime.page.live.shift import RESULTS, ShiftCounters, SwapCounts, last_start, next_start
from tests.runtime.page.live_line import FakeLine

THREE = (6 * 60, 14 * 60, 22 * 60)


class _NoPackage:
    def __init__(self, package_id: str = "") -> None:
        self.package_id = package_id


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def line() -> FakeLine:
    return FakeLine(cast("Recognizer", _NoPackage()), {"left": CameraCounters(recognised=5), "right": CameraCounters()})


def shift_of(line: FakeLine, starts: tuple[int, ...] = THREE) -> ShiftCounters:
    return ShiftCounters(line.as_line, starts, clock=line.clock, monotonic=line.clock)


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "starts", "last", "following"),
    [
        ("2026-01-15T12:59", THREE, "2026-01-15T05:00", "2026-01-15T13:00"),
        ("2026-01-15T13:00", THREE, "2026-01-15T13:00", "2026-01-15T21:00"),
        ("2026-01-15T03:00", THREE, "2026-01-14T21:00", "2026-01-15T05:00"),
        ("2026-01-15T03:00", (0,), "2026-01-14T23:00", "2026-01-15T23:00"),
        ("2026-03-29T05:00", THREE, "2026-03-29T04:00", "2026-03-29T12:00"),  # 02:00 becomes 03:00
        ("2026-03-29T01:10", (150,), "2026-03-28T01:30", "2026-03-29T01:30"),  # 02:30 is left out
        ("2026-10-25T00:45", (150,), "2026-10-25T00:30", "2026-10-26T01:30"),  # 02:30 comes twice, here the first time
        ("2026-10-25T01:15", (150,), "2026-10-25T00:30", "2026-10-26T01:30"),  # 02:15 for the second time
        ("2026-10-25T01:45", (150,), "2026-10-25T00:30", "2026-10-26T01:30"),
    ],
)
def test_starts_of_shifts(now: str, starts: tuple[int, ...], last: str, following: str) -> None:
    assert last_start(utc(now), starts) == utc(last)
    assert next_start(utc(now), starts) == utc(following)


@pytest.mark.usefixtures("berlin")
def test_a_shift_counts_from_its_begin(line: FakeLine) -> None:
    line.now = utc("2026-01-15T12:00")
    shift = shift_of(line)
    line.cameras["left"] = CameraCounters(recognised=8, unknown=2, skipped=1, waiting=4)
    state = shift.state()
    assert state.since == line.now
    assert state.cameras["left"] == CameraCounters(recognised=3, unknown=2, skipped=1, waiting=4)
    line.now = utc("2026-01-15T13:20")
    line.publish(None, "recognised")  # the first result after the change: earlier counts are the last shift's
    line.now = utc("2026-01-15T13:30")
    line.cameras["left"] = replace(line.cameras["left"], recognised=9)
    state = shift.state()
    assert state.since == utc("2026-01-15T13:00")
    assert state.cameras["left"] == CameraCounters(recognised=1, waiting=4)
    line.now = utc("2026-01-16T08:00")
    assert shift.state().cameras["left"] == CameraCounters(waiting=4)


@pytest.mark.usefixtures("berlin")
def test_a_clock_that_is_set_back_begins_no_shift(line: FakeLine) -> None:
    line.now = utc("2026-01-15T13:10")
    shift = shift_of(line)
    line.cameras["left"] = CameraCounters(recognised=8)
    line.now -= 3600
    assert shift.state().cameras["left"] == CameraCounters(recognised=3)


@pytest.mark.usefixtures("berlin")
def test_a_swap_begins_counts_of_its_own(line: FakeLine) -> None:
    line.now = utc("2026-01-15T12:00")
    shift = shift_of(line)
    line.publish(None, "unknown")
    assert shift.state().swapped is None
    line.now += 60
    line.recognizer = cast("Recognizer", _NoPackage("new"))
    line.publish(None, "unknown", package_id="old")  # answered before the swap, published after it
    line.publish(None)
    line.publish(None, "unknown")
    line.publish(None, "failed", package_id="")
    line.publish(None, camera="right")
    state = shift.state()
    assert state.swapped == line.now
    assert state.since_swap == {"left": SwapCounts(1, 3), "right": SwapCounts(1, 1)}
    line.now += 60
    line.recognizer = cast("Recognizer", _NoPackage("old"))  # back again
    state = shift.state()
    assert state.swapped == line.now
    assert state.since_swap["left"] == SwapCounts()
    line.now = utc("2026-01-15T13:01")  # the next shift
    assert shift.state().swapped is None


def test_the_rate_is_that_of_ten_seconds(line: FakeLine) -> None:
    shift = shift_of(line)
    assert shift.pace("left").frames_per_s == 0
    assert shift.pace("left").p50_ms is None
    for _ in range(100):
        line.now += 0.2
        line.publish(None)
    assert shift.pace("left").frames_per_s == pytest.approx(5, abs=0.2)
    assert shift.pace("right").frames_per_s == 0
    line.now += 11
    assert shift.pace("left").frames_per_s == 0


def test_the_rate_of_a_fast_camera(line: FakeLine) -> None:
    shift = shift_of(line)
    for _ in range(3 * RESULTS):
        line.now += 0.005
        line.publish(None)
    assert shift.pace("left").frames_per_s == pytest.approx(200, rel=0.02)


def test_latency(line: FakeLine) -> None:
    shift = shift_of(line)
    for number in range(1, 101):
        line.publish(None, latency_ms=float(number))
    line.publish(None, "failed", latency_ms=None)
    pace = shift.pace("left")
    assert pace.p50_ms == pytest.approx(50, abs=1.5)
    assert pace.p99_ms == pytest.approx(99, abs=1.5)
    with pytest.raises(KeyError):
        shift.pace("other")
