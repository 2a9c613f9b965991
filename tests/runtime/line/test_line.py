import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import cv2
import msgspec
import numpy as np
import pytest

from partsight.runtime import (
    CameraError,
    CameraLostError,
    CameraTimeoutError,
    DependencyError,
    ImageError,
    PackageError,
    PartialFrameError,
    PartsightError,
    Recognizer,
    ResultRefusedError,
    SignatureError,
    SinkGoneError,
)
from partsight.runtime.cameras import FileCamera
from partsight.runtime.images.preprocessing import PreprocessSpec
from partsight.runtime.inference.session import Session
from partsight.runtime.line import Line, Policy, SinkCounters
from partsight.runtime.line import camera_worker as feed_module
from partsight.runtime.line import dispatcher as answerer
from partsight.runtime.line import sink_worker as outbox
from partsight.runtime.line.dispatcher import THREAD
from partsight.runtime.matching import Matcher
from partsight.runtime.sinks.record import FrameEvent
from tests.runtime.line.scripted import COLOURS, ListSink, ScriptedCamera, pictures
from tests.runtime.package.signed import new_key, signed_copy
from tests.tiny import SIDE_PX, solid, tiny_manifest, write_tiny_package
from tests.waiting import HANG_S, wait_until

BLOCK = Policy("block", 4)


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(outbox, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def recognizer(tiny_package: Path) -> Iterator[Recognizer]:
    with Recognizer(tiny_package, batch_size=4, threads=1) as recognizer:
        yield recognizer


def run(recognizer: Recognizer, *cameras: Any, **options: Any) -> tuple[Line, ListSink]:
    """Run a line until its cameras end; each camera is a list of steps, or a function that opens one."""
    sink = ListSink()
    openers = {
        f"camera {place}": camera if callable(camera) else (lambda camera=camera: ScriptedCamera(camera))
        for place, camera in enumerate(cameras)
    }
    with Line(recognizer, openers, {"list": sink}, **{"policy": BLOCK} | options) as line:
        assert line.wait(HANG_S)
    assert sink.is_closed
    return line, sink


def gated(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Return events: the network has begun, and it may go on."""
    begun, opened = threading.Event(), threading.Event()
    for method in (recognizer.recognize_batch, recognizer.start_batch):

        def wait(frames: Any, method: Any = method) -> Any:
            begun.set()
            assert opened.wait(HANG_S)
            return method(frames)

        monkeypatch.setattr(recognizer, method.__name__, wait)
    return begun, opened


def test_every_frame_is_answered_in_order(recognizer: Recognizer) -> None:
    frames = pictures(50)
    expected = [result.label for result in recognizer.recognize_batch(frames)]
    line, sink = run(recognizer, frames)
    assert [record.label for record in sink.records] == expected
    assert [record.sequence for record in sink.records] == list(range(50))
    assert {record.run for record in sink.records} == {line.run_id}
    assert {record.package_id for record in sink.records} == {line.package_id}
    counters = line.counters().cameras["camera 0"]
    assert counters.seen == 50 == counters.recognised + counters.unknown
    assert counters.unknown == expected.count(None)


def test_cameras_share_the_network_and_keep_their_order(recognizer: Recognizer, tiny_package: Path) -> None:
    cameras = [pictures(40, seed) for seed in range(3)]
    line, sink = run(recognizer, *cameras)
    for place, frames in enumerate(cameras):
        own = [record for record in sink.records if record.camera == f"camera {place}"]
        assert [record.sequence for record in own] == list(range(40))
        with Recognizer(tiny_package, threads=1) as other:
            assert [record.label for record in own] == [result.label for result in other.recognize_batch(frames)]
    assert line.counters().seen == 120


def test_a_busy_camera_does_not_starve_another(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, opened = gated(recognizer, monkeypatch)
    sink = ListSink()
    many, few = ScriptedCamera(pictures(40)), ScriptedCamera(pictures(2))
    with Line(recognizer, {"many": lambda: many, "few": lambda: few}, {"s": sink}, policy=Policy("queue", 40)) as line:
        assert begun.wait(HANG_S)
        wait_until(lambda: line.counters().seen >= 42)
        opened.set()
        assert line.wait(HANG_S)
    first = [record.camera for record in sink.records[:9]]
    assert first.count("few") == 2


def test_latest_answers_the_newest_and_counts_the_rest(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, opened = gated(recognizer, monkeypatch)
    steps = [solid("red"), lambda: begun.wait(HANG_S), solid("blue"), solid("cyan"), solid("green"), opened.set]
    line, sink = run(recognizer, steps, policy=Policy("latest"))
    assert [record.label for record in sink.records] == ["red", "green"]
    assert [record.sequence for record in sink.records] == [0, 3]
    counters = line.counters().cameras["camera 0"]
    assert (counters.recognised, counters.skipped, counters.seen) == (2, 2, 4)


def test_files_lose_nothing_next_to_a_live_camera(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{place}.png" for place in range(20)]
    for path in paths:
        cv2.imwrite(str(path), solid("red"))
    begun, opened = gated(recognizer, monkeypatch)
    live = [solid("blue"), lambda: begun.wait(HANG_S), solid("blue"), solid("cyan"), solid("green"), opened.set]
    line, sink = run(recognizer, lambda: FileCamera(paths), live, policy=None, takt_ms={"camera 1": 3_600_000})
    files, lives = line.counters().cameras.values()
    assert (files.recognised, files.skipped, files.seen) == (20, 0, 20)
    assert (lives.seen, lives.skipped + lives.recognised) == (4, 4)
    assert [record.sequence for record in sink.records if record.camera == "camera 0"] == list(range(20))
    assert [record.label for record in sink.records if record.camera == "camera 1"][-1] == "green"


def test_a_takt_is_the_cameras_own(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answerer, "time", Mock(monotonic=lambda: time.monotonic() + 3600))
    line, _ = run(recognizer, pictures(3), pictures(3), takt_ms={"camera 1": 50})
    without, with_takt = line.counters().cameras.values()
    assert (without.late, without.seen, with_takt.late, with_takt.seen) == (0, 3, 3, 3)


def test_queue_answers_what_came_first_and_counts_the_rest(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, opened = gated(recognizer, monkeypatch)
    steps = [solid("red"), lambda: begun.wait(HANG_S), solid("blue"), solid("cyan"), solid("green"), opened.set]
    line, sink = run(recognizer, steps, policy=Policy("queue", 2))
    assert [record.label for record in sink.records] == ["red", "blue", "cyan"]
    assert line.counters().cameras["camera 0"].skipped == 1


@pytest.mark.parametrize("policy", [Policy("queue", 2), Policy("block", 2), Policy("latest")], ids=lambda it: it.name)
def test_the_next_frame_is_in_the_network_while_one_is_told_of_unless_the_newest_is_wanted(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    second, event = threading.Event(), threading.Event()
    overlapped: list[bool] = []
    runs: list[int] = []
    infer = Session.run

    def count(session: Session, batch: np.ndarray) -> Any:
        runs.append(len(batch))
        if len(runs) == 2:
            second.set()
        return infer(session, batch)

    def listen(item: FrameEvent) -> None:
        if item.record.sequence == 0:
            overlapped.append(second.wait(HANG_S if policy.name != "latest" else 0.2))
            event.set()

    monkeypatch.setattr(Session, "run", count)
    steps = [solid("red"), lambda: wait_until(lambda: len(runs) == 1), solid("blue"), lambda: event.wait(HANG_S)]
    _, sink = run(recognizer, steps, policy=policy, on_result=listen)
    assert overlapped == [policy.name != "latest"]
    assert [record.label for record in sink.records] == ["red", "blue"]


@pytest.mark.parametrize("policy", [BLOCK, Policy("latest")], ids=lambda it: it.name)
def test_frames_that_cannot_be_compared_are_told(
    verified_package: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise PartsightError("the frame cannot be compared")

    event = threading.Semaphore(0)
    steps = [step for picture in pictures(4) for step in (picture, lambda: event.acquire(timeout=HANG_S))]
    recognizer = Recognizer(verified_package, threads=1)
    monkeypatch.setattr(Matcher, "match", fail)
    line, sink = run(recognizer, steps, policy=policy, on_result=lambda _: event.release())
    assert [(record.sequence, record.outcome) for record in sink.records] == [(place, "failed") for place in range(4)]
    assert all("the frame cannot be compared" in record.error for record in sink.records)
    assert line.counters().cameras["camera 0"].failed == 4


def test_an_altered_golden_image_leaves_no_frame_without_an_answer(
    altered_package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The bank answers. An error says that it cannot be held in memory."""
    sent = [solid(colour) for colour in COLOURS]
    _, sink = run(Recognizer(altered_package, threads=1), sent)
    assert [record.label for record in sink.records] == list(COLOURS)
    wait_until(lambda: "gallery/red.png has SHA-256" in caplog.text)


def test_what_fails_while_frames_are_waited_for_ends_the_line(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any) -> None:
        raise RuntimeError("a mistake of our own")

    monkeypatch.setattr("partsight.runtime.line.dispatcher.answered", break_down)
    camera = ScriptedCamera([solid("red")], ends=False)
    with Line(recognizer, {"c": lambda: camera}, policy=BLOCK) as line, pytest.raises(RuntimeError, match="of our own"):
        assert line.wait(HANG_S)


def test_a_frame_whose_takt_is_over_is_late(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, opened = gated(recognizer, monkeypatch)
    now = [0.0]
    monkeypatch.setattr("partsight.runtime.line.dispatcher.time.monotonic", lambda: now[0])
    steps = [solid("red"), lambda: begun.wait(HANG_S), solid("blue"), lambda: now.append(now.pop() + 0.1), opened.set]
    line, sink = run(recognizer, steps, policy=Policy("queue", 5), takt_ms=50)
    counters = line.counters().cameras["camera 0"]
    assert (counters.recognised, counters.late, counters.overdue, counters.seen) == (1, 1, 1, 2)
    assert [record.label for record in sink.records] == ["red"]


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


def test_a_frame_that_could_not_be_read_is_told_with_its_source(recognizer: Recognizer, tmp_path: Path) -> None:
    """By a camera that names it; else it is the camera's name."""
    missing = [tmp_path / "a.png", tmp_path / "b.png"]
    _, sink = run(recognizer, lambda: FileCamera(missing), [ImageError("broken")])
    assert {(record.camera, record.source) for record in sink.records} == {
        ("camera 0", str(missing[0])),
        ("camera 0", str(missing[1])),
        ("camera 1", "camera 1"),
    }


def test_a_frame_of_the_wrong_kind_fails_alone(recognizer: Recognizer) -> None:
    grey = np.zeros((40, 40), np.uint8)
    line, sink = run(recognizer, [solid("red"), grey, solid("blue"), solid("green")])
    assert [record.outcome for record in sink.records] == ["recognised", "failed", "recognised", "recognised"]
    assert "mono frame" in sink.records[1].error
    assert line.counters().cameras["camera 0"].failed == 1


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
    assert caplog.text.count("cannot be opened (no such device)") == 1  # and not every few seconds for days
    assert line.states() == {"camera 0": "ended", "camera 1": "ended"}


def test_a_camera_that_is_gone_as_soon_as_it_is_open_is_tried_more_and_more_seldom(recognizer: Recognizer) -> None:
    lost = CameraLostError("gone")
    scripts = iter([[lost]] * 4 + [[solid("red"), lost], [lost], [solid("blue")]])
    line = Line(recognizer, {"c": lambda: ScriptedCamera(next(scripts))}, policy=BLOCK)
    pauses: list[float] = []
    line._feeds["c"]._stopping.wait = pauses.append  # type: ignore[assignment, method-assign]
    with line:
        assert line.wait(HANG_S)
    first = feed_module.FIRST_PAUSE_S
    assert pauses == [first, 2 * first, 4 * first, 8 * first, first, 2 * first]
    assert line.counters().cameras["c"].recognised == 2


def test_a_driver_that_raises_anything_is_opened_anew(recognizer: Recognizer) -> None:
    scripts = iter([[solid("red"), RuntimeError("bus error")], [solid("blue")]])
    line, sink = run(recognizer, lambda: ScriptedCamera(next(scripts)), pictures(20))
    assert [record.label for record in sink.records if record.camera == "camera 0"] == ["red", "blue"]
    assert line.counters().cameras["camera 0"].reopened == 1
    assert line.states()["camera 0"] == "ended"


def test_failures_keep_their_place_while_the_network_is_busy(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, opened = gated(recognizer, monkeypatch)
    threads: set[str] = set()
    steps = [solid("red"), lambda: begun.wait(HANG_S), solid("blue"), ImageError("broken"), solid("green"), opened.set]
    _, sink = run(
        recognizer,
        steps,
        policy=Policy("queue", 5),
        on_result=lambda _: threads.add(threading.current_thread().name),
    )
    assert [(record.sequence, record.outcome) for record in sink.records] == [
        (0, "recognised"),
        (1, "recognised"),
        (2, "failed"),
        (3, "recognised"),
    ]
    assert threads == {f"{THREAD}-tell"}


def test_latest_overtakes_frames_and_no_failure(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, opened = gated(recognizer, monkeypatch)
    steps = [solid("red"), lambda: begun.wait(HANG_S), ImageError("broken"), solid("blue"), solid("green"), opened.set]
    line, sink = run(recognizer, steps, policy=Policy("latest"))
    assert [(record.sequence, record.label) for record in sink.records] == [(0, "red"), (1, None), (3, "green")]
    counters = line.counters().cameras["camera 0"]
    assert (counters.recognised, counters.failed, counters.skipped, counters.seen) == (2, 1, 1, 4)


def test_a_line_that_was_never_started_lets_go_of_all(recognizer: Recognizer) -> None:
    sink = ListSink()
    line = Line(recognizer, {"c": lambda: ScriptedCamera([])}, {"s": sink})
    line.close()
    assert sink.is_closed
    with pytest.raises(PartsightError, match="closed"):
        recognizer.recognize(solid("red"))


def test_a_camera_without_its_library_ends_and_is_told(recognizer: Recognizer) -> None:
    def missing() -> ScriptedCamera:
        raise DependencyError("install it with: pip install x")

    sink = ListSink()
    openers = {"bad": missing, "good": lambda: ScriptedCamera([solid("red")])}
    with Line(recognizer, openers, {"s": sink}, policy=BLOCK) as line, pytest.raises(DependencyError, match="pip"):
        line.wait(HANG_S)
    assert [record.label for record in sink.records] == ["red"]  # the other went on


def test_a_stalled_camera_is_noticed_and_opened_again(recognizer: Recognizer) -> None:
    stall = [CameraTimeoutError("nothing for 3 s")]
    scripts = iter([[solid("red"), *stall, solid("blue"), *stall * 3], [solid("green")]])
    line, sink = run(recognizer, lambda: ScriptedCamera(next(scripts)))
    assert [record.label for record in sink.records] == ["red", "blue", "green"]
    counters = line.counters().cameras["camera 0"]
    assert (counters.stalled, counters.reopened, counters.seen) == (4, 1, 3)


def test_stopping_answers_what_was_accepted(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, opened = gated(recognizer, monkeypatch)
    camera, sink = ScriptedCamera(pictures(10), ends=False), ListSink()
    line = Line(recognizer, {"c": lambda: camera}, {"s": sink}, policy=Policy("queue", 20))
    line.start()
    assert begun.wait(HANG_S)
    wait_until(lambda: line.counters().seen >= 10)
    line.stop()
    opened.set()
    line.close()
    assert [record.sequence for record in sink.records] == list(range(10))
    assert line.counters().cameras["c"].waiting == 0
    line.close()


def test_stopping_ends_a_camera_that_blocks(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    _, opened = gated(recognizer, monkeypatch)
    camera = ScriptedCamera(pictures(100))
    with Line(recognizer, {"c": lambda: camera}, policy=Policy("block", 2)) as line:
        wait_until(lambda: line.counters().cameras["c"].waiting >= 2)
        line.stop()
        opened.set()
        assert line.wait(HANG_S)
    counters = line.counters().cameras["c"]
    assert counters.seen == counters.recognised + counters.unknown + counters.skipped
    assert counters.seen < 100


@pytest.mark.parametrize("refuses", [1, outbox.ATTEMPTS - 1])
def test_a_sink_that_refuses_is_asked_again(recognizer: Recognizer, refuses: int) -> None:
    sink = ListSink(refuses)
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(9))}, {"s": sink}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert [record.sequence for record in sink.records] == list(range(9))
    assert line.counters().sinks == {"s": SinkCounters(refusals=refuses)}


def test_a_full_disk_is_waited_for_and_nothing_is_lost(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While it is full the line waits, and its cameras' policy counts what is skipped."""
    monkeypatch.setattr(outbox, "BOUND", 4)
    monkeypatch.setattr(outbox, "MAX_PAUSE_S", 0.1)
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
    said = [record.message for record in caplog.records if record.message.startswith("sink s")]
    assert said == [
        "sink s: takes nothing and is waited for: the disk is full",
        "sink s: takes results again; none was lost meanwhile",
    ]


def test_the_lines_end_waits_for_a_full_disk_only_so_long(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "END_S", 0.3)
    monkeypatch.setattr(outbox, "BOUND", 2)
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
    assert bad.attempts == outbox.ATTEMPTS + 1  # the second once, since it refuses them all
    assert len(good.records) == 2


def test_a_slow_sink_that_may_lose_results_does_not_hold_up_the_lines_end(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that waits for a PLC which is off; one that keeps results is waited for."""
    monkeypatch.setattr(outbox, "END_S", -1.0)  # it is over when it begins
    begun, ended = threading.Event(), threading.Event()
    end_soon = outbox.SinkWorker.end_soon
    monkeypatch.setattr(outbox.SinkWorker, "end_soon", lambda box: (end_soon(box), ended.set())[0])

    class Slow(ListSink):
        def write(self, event: FrameEvent) -> None:
            begun.set()
            assert ended.wait(HANG_S)
            super().write(event)

    kept, shown = ListSink(), Slow()
    shown.may_lose = True  # type: ignore[attr-defined]
    cameras = {"c": lambda: ScriptedCamera(pictures(40))}
    with Line(recognizer, cameras, {"shown": shown, "kept": kept}, policy=BLOCK) as line:
        assert begun.wait(HANG_S)
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


def test_a_sink_whose_reader_has_ended_is_told(recognizer: Recognizer, caplog: pytest.LogCaptureFixture) -> None:
    class Gone(ListSink):
        def write(self, _: Any) -> None:
            self.attempts += 1
            raise SinkGoneError("the reader has ended")

    sink, other = Gone(), ListSink()
    line = Line(recognizer, {"c": lambda: ScriptedCamera(pictures(6))}, {"s": sink, "o": other}, policy=BLOCK)
    with pytest.raises(SinkGoneError, match="the reader has ended"):
        with line:
            while not line.wait(0.05):
                pass
        line.wait()  # all are answered before; only a closed line has written all
    assert sink.attempts == 1
    assert line.counters().sinks["s"].lost == len(other.records)
    assert "the reader has ended" not in caplog.text  # it was raised


def test_a_sink_that_raises_anything_does_not_stop_the_line(recognizer: Recognizer) -> None:
    class Broken(ListSink):
        def write(self, _: Any) -> None:
            self.attempts += 1
            raise TypeError("a mistake of its own")

    sink = Broken()
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(5))}, {"s": sink}, policy=BLOCK) as line:
        assert line.wait(HANG_S)
    assert line.counters().sinks == {"s": SinkCounters(lost=5)}
    assert sink.attempts == 5  # asking again would not mend a mistake


def test_a_callback_that_raises_is_counted(recognizer: Recognizer) -> None:
    event: list[int] = []

    def callback(item: Any) -> None:
        event.append(item.record.sequence)
        if item.record.sequence % 2:
            raise ValueError("a mistake of the user's")

    line, sink = run(recognizer, pictures(10), on_result=callback)
    assert event == list(range(10))
    assert line.counters().callback_errors == 5
    assert len(sink.records) == 10


def test_results_that_a_sink_keeps_for_its_peer_are_counted(recognizer: Recognizer) -> None:
    class Spooling(ListSink):
        @property
        def undelivered(self) -> int:
            return len(self.event)

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
    assert [event.frame for event in plain.event] == [None] * 5
    for event, frame in zip(keeping.event, frames, strict=True):
        assert event.frame is not None and event.frame.image is frame


def test_swapping_under_load_loses_and_doubles_nothing(tiny_package: Path, tmp_path: Path) -> None:
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    other = write_tiny_package(tmp_path / "other.partsight", decision=decision)
    packages = [tiny_package, other]
    sink = ListSink()
    camera = ScriptedCamera(pictures(1000))
    recognizer = Recognizer(tiny_package, batch_size=4, threads=1)
    with Line(recognizer, {"c": lambda: camera}, {"s": sink}, policy=BLOCK) as line:
        ids = []
        while not line.wait(0):
            ids.append(line.swap(packages[(len(ids) + 1) % 2], lambda path: Recognizer(path, threads=1)))
    assert [record.sequence for record in sink.records] == list(range(1000))
    assert {record.outcome for record in sink.records} <= {"recognised", "unknown"}
    assert {record.package_id for record in sink.records} == {*ids, recognizer.package_id}
    assert line.counters().swaps == len(ids) > 3


def test_a_bad_package_is_refused_and_the_old_one_stays(recognizer: Recognizer, tmp_path: Path) -> None:
    grey = write_tiny_package(tmp_path / "grey.partsight", preprocess=PreprocessSpec(SIDE_PX, SIDE_PX, color="mono"))
    before = recognizer.package_id
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(5))}, policy=BLOCK) as line:
        with pytest.raises(PackageError, match="no such model package"):
            line.swap(tmp_path / "nothing.partsight")
        with pytest.raises(PackageError, match="was taught mono images and the line's cameras send bgr"):
            line.swap(grey)
        assert line.package_id == before
        assert line.wait(HANG_S)
    assert line.counters().refused_swaps == 2


def test_a_package_that_the_lines_keys_have_not_signed_is_refused(tiny_package: Path, tmp_path: Path) -> None:
    key, other = new_key(tmp_path / "key"), new_key(tmp_path / "other")
    packages = {
        "first": signed_copy(tiny_package, tmp_path / "first.partsight", key),
        "second": signed_copy(tiny_package, tmp_path / "second.partsight", key, other),
        "unsigned": tiny_package,
        "others": signed_copy(tiny_package, tmp_path / "others.partsight", other),
    }
    sink = ListSink()
    recognizer = Recognizer(packages["first"], threads=1, trusted_keys=[key.public])
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(5))}, {"s": sink}, policy=BLOCK) as line:
        for name, message in (("unsigned", "is not signed"), ("others", "is signed by key .*, and must be by one of")):
            with pytest.raises(SignatureError, match=message):
                line.swap(packages[name])
        for name in ("unsigned", "first"):  # by a loader that trusts whatever comes, even for a package that is signed
            with pytest.raises(SignatureError, match="was loaded without the line's trusted keys"):
                line.swap(packages[name], lambda path: Recognizer(path, threads=1))
        with pytest.raises(SignatureError, match="was loaded without the line's trusted keys"):
            line.swap(packages["others"], lambda path: Recognizer(path, threads=1, trusted_keys=[other.public]))
        line.swap(packages["second"], lambda path: Recognizer(path, trusted_keys=[key.public, other.public]))
        for load in (None, lambda path: Recognizer(path, threads=1, trusted_keys=[other.public])):
            with pytest.raises(SignatureError, match=r"is signed by key|without the line's trusted keys"):
                line.swap(packages["others"], load)  # the line's keys stay those of its start
        line.swap(packages["first"])
        assert line.wait(HANG_S)
    counters = line.counters()
    assert (counters.swaps, counters.refused_swaps) == (2, 7)
    ids = {"", key.public.key_id, f"{key.public.key_id} {other.public.key_id}"}
    assert {record.signed_by for record in sink.records} <= ids - {""}


def test_an_error_that_nobody_foresaw_ends_the_line_and_is_told(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(_: Any) -> None:
        raise RuntimeError("the card fell out")

    monkeypatch.setattr(recognizer, "recognize_batch", break_down)
    camera = ScriptedCamera(pictures(5), ends=False)
    with Line(recognizer, {"c": lambda: camera}) as line, pytest.raises(RuntimeError, match="fell out"):
        line.wait(HANG_S)


@pytest.mark.parametrize(
    ("cameras", "options", "message"),
    [
        ({}, {}, "has no camera"),
        ({"c": ScriptedCamera}, {"takt_ms": 0}, "takt_ms is 0; expected more than 0"),
        ({"c": ScriptedCamera}, {"takt_ms": {"d": 5}}, "takt_ms is set for camera 'd'; expected one of c"),
        ({"c": ScriptedCamera}, {"policy": {"d": BLOCK}}, "policy is set for camera 'd'; expected one of c"),
    ],
)
def test_what_makes_no_line(recognizer: Recognizer, cameras: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Line(recognizer, cameras, **options)


@pytest.mark.parametrize(("name", "bound"), [("newest", 1), ("queue", 0), ("latest", 2)])
def test_policies_that_are_none(name: Any, bound: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        Policy(name, bound)


def test_a_closed_line_has_closed_its_recogniser(recognizer: Recognizer) -> None:
    run(recognizer, pictures(2))
    with pytest.raises(PartsightError, match="closed"):
        recognizer.recognize(solid(COLOURS[0]))
