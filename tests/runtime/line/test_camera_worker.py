"""Cameras that come, go, and fail."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from partsight.runtime import (
    CameraError,
    CameraLostError,
    CameraTimeoutError,
    DependencyError,
    ImageError,
    PartialFrameError,
    Recognizer,
)
from partsight.runtime.cameras import Camera, FileCamera
from partsight.runtime.line import Line, LineCounters, camera_worker, sink_worker
from partsight.runtime.sinks.record import FrameEvent
from tests.runtime.line.running import BLOCK, run
from tests.runtime.line.scripted import ListSink, ScriptedCamera, pictures
from tests.tiny import solid
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.usefixtures("no_long_pauses")


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
    return ScriptedCamera((lambda: time.sleep(0.005), *pictures(1))[index % 2] for index in range(10**6))


def test_files_are_shown_to_a_slow_plc_one_and_all(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `block`, for sources that lose nothing."""
    monkeypatch.setattr(sink_worker, "SHOWN_BOUND", 2)

    class Slow(ListSink):
        may_lose = True

        def write(self, event: FrameEvent) -> None:
            time.sleep(0.005)
            super().write(event)

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
    with Line(recognizer, {"c": lambda: ScriptedCamera(between * camera_worker.MAX_TIMEOUTS)}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    counters = line.counters().cameras["c"]
    assert (counters.stalled, counters.partial, counters.reopened) == (3, 3, 0)


def test_a_camera_without_whole_frames_is_logged_once(recognizer: Recognizer, caplog: pytest.LogCaptureFixture) -> None:
    partial = [PartialFrameError(f"{count} bytes are no JPEG") for count in range(3 * camera_worker.MAX_PARTIAL)]
    with Line(recognizer, {"c": lambda: ScriptedCamera([*partial, *pictures(1)])}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert line.counters().cameras["c"].partial == len(partial)
    logged = [record for record in caplog.records if record.event == "camera_stalled"]  # type: ignore[attr-defined]
    assert len(logged) == 1
    assert "bytes are no JPEG" in logged[0].getMessage()


def test_frames_lost_on_the_way_are_skipped_ones(recognizer: Recognizer) -> None:
    line, sink = run(recognizer, [solid("red"), None, None, solid("blue")])
    assert [record.sequence for record in sink.records] == [0, 3]
    counters = line.counters().cameras["camera 0"]
    assert (counters.recognised, counters.skipped, counters.seen) == (2, 2, 4)


def test_partial_and_unreadable_frames_are_counted_and_the_next_is_answered(recognizer: Recognizer) -> None:
    steps = [solid("red"), PartialFrameError("half"), ImageError("broken"), solid("blue")]
    line, sink = run(recognizer, steps)
    assert [(record.sequence, record.outcome) for record in sink.records] == [  # in their order, failures too
        (0, "recognised"),
        (2, "failed"),
        (3, "recognised"),
    ]
    assert sink.records[1].error == "broken"
    counters = line.counters().cameras["camera 0"]
    assert (counters.recognised, counters.partial, counters.failed, counters.seen) == (2, 1, 1, 4)


def test_the_record_of_an_unreadable_frame_has_its_source(recognizer: Recognizer, tmp_path: Path) -> None:
    """By a camera that names it; else it is the camera's name."""
    missing = [tmp_path / "a.png", tmp_path / "b.png"]
    _, sink = run(recognizer, lambda: FileCamera(missing), [ImageError("broken")])
    assert {(record.camera, record.source) for record in sink.records} == {
        ("camera 0", str(missing[0])),
        ("camera 0", str(missing[1])),
        ("camera 1", "camera 1"),
    }


def test_a_camera_that_goes_away_is_opened_again(recognizer: Recognizer) -> None:
    scripts = [[solid("red"), CameraLostError("unplugged")] for _ in range(20)] + [[solid("blue")]]
    opened = iter(scripts)
    line, sink = run(recognizer, lambda: ScriptedCamera(next(opened)))
    assert [record.label for record in sink.records] == ["red"] * 20 + ["blue"]
    assert [record.sequence for record in sink.records] == list(range(21))  # no number is given twice
    assert line.counters().cameras["camera 0"].reopened == 20


def test_a_camera_that_cannot_be_opened_yet_is_waited_for(
    recognizer: Recognizer, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = iter([CameraError("no such device")] * 5 + [None])

    def open_late() -> ScriptedCamera:
        error = next(attempts)
        if error:
            raise error
        return ScriptedCamera([solid("red")])

    with caplog.at_level(logging.INFO, "partsight.line"):
        line, sink = run(recognizer, open_late, [solid("blue")])
    assert sorted(str(record.label) for record in sink.records) == ["blue", "red"]
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events.count("camera_waiting") == 1  # and not every few seconds for days
    assert line.states() == {"camera 0": "ended", "camera 1": "ended"}


def test_a_camera_that_is_lost_as_soon_as_it_is_open_is_reopened_more_and_more_seldom(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = CameraLostError("gone")
    scripts = iter([[lost]] * 4 + [[solid("red"), lost], [lost], [solid("blue")]])
    line = Line(recognizer, {"c": lambda: ScriptedCamera(next(scripts))}, policy=BLOCK)
    pauses: list[float] = []
    wait = threading.Event.wait

    def note(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread().name != "partsight-camera-c" or timeout is None:
            return wait(event, timeout)
        pauses.append(timeout)
        return event.is_set()

    monkeypatch.setattr(threading.Event, "wait", note)
    with line:
        assert line.wait(HANG_S)
    first = camera_worker.FIRST_PAUSE_S
    assert pauses == [first, 2 * first, 4 * first, 8 * first, first, 2 * first]
    assert line.counters().cameras["c"].recognised == 2


def test_a_driver_that_raises_anything_is_opened_anew(recognizer: Recognizer) -> None:
    scripts = iter([[solid("red"), RuntimeError("bus error")], [solid("blue")]])
    line, sink = run(recognizer, lambda: ScriptedCamera(next(scripts)), pictures(20))
    assert [record.label for record in sink.records if record.camera == "camera 0"] == ["red", "blue"]
    assert line.counters().cameras["camera 0"].reopened == 1
    assert line.states()["camera 0"] == "ended"


def test_a_camera_without_its_library_ends_the_line(recognizer: Recognizer) -> None:
    def missing() -> ScriptedCamera:
        raise DependencyError("install it with: pip install x")

    sink = ListSink()
    openers = {"bad": missing, "good": lambda: ScriptedCamera([solid("red")])}
    with (
        Line(recognizer, openers, {"s": sink}, policy=BLOCK) as line,
        pytest.raises(DependencyError, match="pip install x"),
    ):
        line.wait(HANG_S)
    assert [record.label for record in sink.records] == ["red"]  # the other went on


def test_a_stalled_camera_is_noticed_and_opened_again(recognizer: Recognizer) -> None:
    stall = [CameraTimeoutError("nothing for 3 s")]
    scripts = iter([[solid("red"), *stall, solid("blue"), *stall * 3], [solid("green")]])
    line, sink = run(recognizer, lambda: ScriptedCamera(next(scripts)))
    assert [record.label for record in sink.records] == ["red", "blue", "green"]
    counters = line.counters().cameras["camera 0"]
    assert (counters.stalled, counters.reopened, counters.seen) == (4, 1, 3)


def test_frame_and_record_have_the_same_number_after_the_camera_was_reopened(recognizer: Recognizer) -> None:
    scripts = iter([[*pictures(3), CameraLostError("unplugged")], pictures(2)])
    events: list[FrameEvent] = []
    run(recognizer, lambda: ScriptedCamera(next(scripts)), on_result=events.append)
    assert [event.record.sequence for event in events] == list(range(5))
    assert [event.frame.sequence for event in events if event.frame is not None] == list(range(5))


@pytest.mark.parametrize("frame", [pictures(1)[0], SimpleNamespace(sequence=0)], ids=["picture", "number"])
def test_an_object_that_is_no_frame_ends_the_line(recognizer: Recognizer, frame: Any) -> None:
    camera: Any = ScriptedCamera([], ends=False)
    camera.read = lambda: frame
    with Line(recognizer, {"left": lambda: camera}) as line, pytest.raises(TypeError, match="left"):
        line.wait(HANG_S)
    assert line.states() == {"left": "failed"}
