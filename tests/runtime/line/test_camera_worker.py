"""Drivers that do not do as they should, and names that mean something else to the line."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from partsight.runtime import CameraError, CameraTimeoutError, PartialFrameError, PartsightError, Recognizer
from partsight.runtime.cameras import Camera
from partsight.runtime.line import Line, LineCounters, Policy
from partsight.runtime.line import camera_worker as feed_module
from partsight.runtime.line import sink_worker as outbox
from partsight.runtime.sinks.record import FrameEvent
from tests.runtime.line.scripted import ListSink, ScriptedCamera, pictures
from tests.waiting import HANG_S, wait_until

BLOCK = Policy("block", 4)


@pytest.fixture
def recognizer(tiny_package: Path) -> Iterator[Recognizer]:
    with Recognizer(tiny_package, batch_size=4, threads=1) as recognizer:
        yield recognizer


class RemovedCamera(ScriptedCamera):
    """Raises when it is closed, as a driver whose device is gone."""

    def __init__(self, steps: Any, *, ends: bool = True, error: type[Exception] = RuntimeError) -> None:
        super().__init__(steps, ends=ends)
        self._error = error

    def close(self) -> None:
        super().close()
        raise self._error("the device was removed")


class HangingCamera(ScriptedCamera):
    """Takes its time to close."""

    def __init__(self) -> None:
        super().__init__([], ends=False)
        self.is_asked, self.let_go, self.was_let_go = threading.Event(), threading.Event(), True
        self._is_closing = self.is_closed = False

    def close(self) -> None:
        if not self._is_closing:  # the second call does not wait for the first
            self._is_closing = True
            self.is_asked.set()
            self.was_let_go &= self.let_go.wait(HANG_S)
            super().close()
            time.sleep(0.2)
            self.is_closed = True


def endless() -> ScriptedCamera:
    return ScriptedCamera((lambda: time.sleep(0.005), *pictures(1))[place % 2] for place in range(10**6))


def test_files_are_shown_to_a_slow_plc_one_and_all(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `block`, for sources that lose nothing."""
    monkeypatch.setattr(outbox, "SHOWN_BOUND", 2)

    class Slow(ListSink):
        may_lose = True

        def write(self, told: FrameEvent) -> None:
            time.sleep(0.005)
            super().write(told)

    sink = Slow()
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(40))}, {"s": sink}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert len(sink.records) == 40


@pytest.mark.parametrize("name", ["line", "sink s", "", "waiting"])
def test_a_camera_of_any_name(recognizer: Recognizer, name: str) -> None:
    with Line(recognizer, {name: lambda: ScriptedCamera(pictures(3))}, {"s": ListSink()}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    counters = line.counters()
    assert counters.cameras[name].seen == 3
    assert counters == LineCounters(counters.cameras, counters.sinks)


def test_a_camera_that_cannot_be_closed_stops_with_the_others(recognizer: Recognizer) -> None:
    sink = ListSink()
    cameras: dict[str, Callable[[], Camera]] = {"gone": lambda: RemovedCamera([], ends=False), "good": endless}
    with Line(recognizer, cameras, {"s": sink}, policy=BLOCK) as line:
        wait_until(lambda: bool(sink.records))
    assert not line.is_running
    assert (recognizer.is_closed, sink.is_closed) == (True, True)
    counters = line.counters().cameras["good"]
    assert counters.waiting == 0
    assert counters.seen == len(sink.records)


@pytest.mark.parametrize("error", [RuntimeError, CameraError])
def test_a_camera_that_has_ended_is_not_opened_again_though_it_cannot_be_closed(
    recognizer: Recognizer, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    sink = ListSink()
    cameras = {"c": lambda: RemovedCamera(pictures(3), error=error)}
    with Line(recognizer, cameras, {"s": sink}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert [record.sequence for record in sink.records] == [0, 1, 2]
    assert line.counters().cameras["c"].reopened == 0
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == ["camera_close_failed"]


def test_a_camera_that_takes_its_time_to_close_keeps_no_other_going(recognizer: Recognizer) -> None:
    hanging = HangingCamera()
    cameras: dict[str, Callable[[], Camera]] = {"hangs": lambda: hanging, "good": endless}
    with Line(recognizer, cameras, policy=BLOCK) as line:
        wait_until(lambda: line.counters().cameras["good"].seen > 0)
        line.stop()
        wait_until(lambda: line.states()["good"] == "ended")
        threading.Thread(target=lambda: (hanging.is_asked.wait(HANG_S), hanging.let_go.set())).start()
    assert hanging.was_let_go
    assert hanging.is_closed  # when the line is


def test_timeouts_are_in_a_row_only_if_nothing_comes_between(recognizer: Recognizer) -> None:
    between = [CameraTimeoutError("nothing came"), PartialFrameError("half of it came")]
    with Line(recognizer, {"c": lambda: ScriptedCamera(between * feed_module.MAX_TIMEOUTS)}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    counters = line.counters().cameras["c"]
    assert (counters.stalled, counters.partial, counters.reopened) == (3, 3, 0)


def test_a_camera_that_sends_no_whole_frame_says_why_once(
    recognizer: Recognizer, caplog: pytest.LogCaptureFixture
) -> None:
    partial = [PartialFrameError(f"{count} bytes are no JPEG") for count in range(3 * feed_module.MAX_PARTIAL)]
    with Line(recognizer, {"c": lambda: ScriptedCamera([*partial, *pictures(1)])}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert line.counters().cameras["c"].partial == len(partial)
    said = [record for record in caplog.records if record.event == "camera_stalled"]  # type: ignore[attr-defined]
    assert len(said) == 1
    assert "bytes are no JPEG" in said[0].getMessage()


def test_a_package_of_smaller_batches_is_swapped_in(tiny_package: Path) -> None:
    """Between the moment when frames are taken and that when they are answered."""
    with Recognizer(tiny_package, batch_size=8, threads=1) as large:
        sink, swapped = ListSink(), False

        def swap() -> None:
            nonlocal swapped
            swapped = True
            line.swap(tiny_package, lambda path: Recognizer(path, batch_size=1, threads=1))

        line = Line(large, {"c": lambda: ScriptedCamera(pictures(8))}, {"s": sink}, policy=Policy("block", 8))
        take = line._inbox.take

        def swapping(most: int) -> Any:
            taken = take(most)
            if not swapped:
                wait_until(lambda: len(line._inbox._waiting["c"]) + len(taken) == 8)
                taken += take(most - len(taken))
                swap()
            return taken

        line._inbox.take = swapping  # type: ignore[method-assign]
        with line:
            assert line.wait(HANG_S)
    assert [record.sequence for record in sink.records] == list(range(8))
    assert line.counters().cameras["c"].failed == 0


def test_no_package_takes_a_place_in_a_closed_line(recognizer: Recognizer, tiny_package: Path) -> None:
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(1))}) as line:
        assert line.wait(HANG_S)
    loaded: list[Recognizer] = []

    def load(path: Any) -> Recognizer:
        loaded.append(Recognizer(path, threads=1))
        return loaded[0]

    with pytest.raises(PartsightError, match="the line has been closed"):
        line.swap(tiny_package, load)
    assert loaded[0].is_closed
    assert line.recognizer is recognizer
