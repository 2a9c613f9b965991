"""Frames of several policies, answered in order, in time, or not at all."""

import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from partsight.runtime import (
    ImageError,
    PartsightError,
    ProviderError,
    Recognizer,
)
from partsight.runtime.cameras import FileCamera
from partsight.runtime.inference.session import Session
from partsight.runtime.line import Line, Policy, dispatcher, frame_queue, publisher
from partsight.runtime.line.dispatcher import PUBLISH_THREAD
from partsight.runtime.matching import Matcher
from partsight.runtime.sinks.record import FrameEvent
from tests.runtime.line.running import BLOCK, gated, run
from tests.runtime.line.scripted import ScriptedCamera, pictures
from tests.tiny import ONE_THREAD, solid
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.usefixtures("no_long_pauses")


def test_latest_answers_the_newest_and_counts_the_rest(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    started, opened = gated(recognizer, monkeypatch)
    steps = [solid("red"), lambda: started.wait(HANG_S), solid("blue"), solid("cyan"), solid("green"), opened.set]
    line, sink = run(recognizer, steps, policy=Policy("latest"))
    assert [record.label for record in sink.records] == ["red", "green"]
    assert [record.sequence for record in sink.records] == [0, 3]
    counters = line.counters().cameras["camera 0"]
    assert (counters.recognised, counters.skipped, counters.seen) == (2, 2, 4)


def test_files_lose_nothing_next_to_a_live_camera(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(20)]
    for path in paths:
        cv2.imwrite(str(path), solid("red"))
    started, opened = gated(recognizer, monkeypatch)
    live = [solid("blue"), lambda: started.wait(HANG_S), solid("blue"), solid("cyan"), solid("green"), opened.set]
    line, sink = run(recognizer, lambda: FileCamera(paths), live, policy=None, deadline_ms={"camera 1": 3_600_000})
    files, lives = line.counters().cameras.values()
    assert (files.recognised, files.skipped, files.seen) == (20, 0, 20)
    assert (lives.seen, lives.skipped + lives.recognised) == (4, 4)
    assert [record.sequence for record in sink.records if record.camera == "camera 0"] == list(range(20))
    assert [record.label for record in sink.records if record.camera == "camera 1"][-1] == "green"


def test_a_deadline_is_the_cameras_own(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "time", Mock(monotonic=lambda: time.monotonic() + 3600))
    line, _ = run(recognizer, pictures(3), pictures(3), deadline_ms={"camera 1": 50})
    without, with_deadline = line.counters().cameras.values()
    assert (without.expired, without.seen, with_deadline.expired, with_deadline.seen) == (0, 3, 3, 3)


def test_queue_answers_the_first_frames_and_counts_the_rest(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, opened = gated(recognizer, monkeypatch)
    steps = [solid("red"), lambda: started.wait(HANG_S), solid("blue"), solid("cyan"), solid("green"), opened.set]
    line, sink = run(recognizer, steps, policy=Policy("queue", 2))
    assert [record.label for record in sink.records] == ["red", "blue", "cyan"]
    assert line.counters().cameras["camera 0"].skipped == 1


@pytest.mark.parametrize("policy", [Policy("queue", 2), Policy("block", 2), Policy("latest")], ids=lambda it: it.name)
def test_the_next_frame_is_in_the_network_while_one_is_published_unless_the_newest_is_wanted(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    second, published = threading.Event(), threading.Event()
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
            published.set()

    monkeypatch.setattr(Session, "run", count)
    steps = [solid("red"), lambda: wait_until(lambda: len(runs) == 1), solid("blue"), lambda: published.wait(HANG_S)]
    _, sink = run(recognizer, steps, policy=policy, on_result=listen)
    assert overlapped == [policy.name != "latest"]
    assert [record.label for record in sink.records] == ["red", "blue"]


@pytest.mark.parametrize("policy", [BLOCK, Policy("latest")], ids=lambda it: it.name)
def test_frames_that_cannot_be_compared_are_published_as_failed(
    matching_package: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise PartsightError("it cannot be compared")

    published = threading.Semaphore(0)
    steps = [step for picture in pictures(4) for step in (picture, lambda: published.acquire(timeout=HANG_S))]
    recognizer = Recognizer(matching_package, engine=ONE_THREAD)
    monkeypatch.setattr(Matcher, "match", fail)
    line, sink = run(recognizer, steps, policy=policy, on_result=lambda _: published.release())
    assert [(record.sequence, record.outcome) for record in sink.records] == [(index, "failed") for index in range(4)]
    assert all(record.error == "it cannot be compared" for record in sink.records)
    assert line.counters().cameras["camera 0"].failed == 4


def test_an_error_of_publishing_ends_a_line_that_waits_for_frames(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("partsight.runtime.line.publisher.record_answer", break_down)
    camera = ScriptedCamera([solid("red")], ends=False)
    with Line(recognizer, {"c": lambda: camera}, policy=BLOCK) as line, pytest.raises(RuntimeError, match="ours"):
        assert line.wait(HANG_S)


def test_a_frame_whose_deadline_has_passed_is_expired(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    started, opened = gated(recognizer, monkeypatch)
    now = [0.0]
    monkeypatch.setattr(dispatcher, "time", Mock(monotonic=lambda: now[0]))
    monkeypatch.setattr(publisher, "time", Mock(monotonic=lambda: now[0]))
    monkeypatch.setattr(frame_queue, "time", Mock(monotonic=lambda: now[0]))
    steps = [solid("red"), lambda: started.wait(HANG_S), solid("blue"), lambda: now.append(now.pop() + 0.1), opened.set]
    line, sink = run(recognizer, steps, policy=Policy("queue", 5), deadline_ms=50)
    counters = line.counters().cameras["camera 0"]
    assert (counters.recognised, counters.expired, counters.overdue, counters.seen) == (1, 1, 1, 2)
    assert [record.label for record in sink.records] == ["red"]


def test_failures_keep_their_place_while_the_network_is_busy(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, opened = gated(recognizer, monkeypatch)
    threads: set[str] = set()
    steps = [
        solid("red"),
        lambda: started.wait(HANG_S),
        solid("blue"),
        ImageError("broken"),
        solid("green"),
        opened.set,
    ]
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
    assert threads == {PUBLISH_THREAD}


def test_latest_overtakes_frames_and_no_failure(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    started, opened = gated(recognizer, monkeypatch)
    steps = [
        solid("red"),
        lambda: started.wait(HANG_S),
        ImageError("broken"),
        solid("blue"),
        solid("green"),
        opened.set,
    ]
    line, sink = run(recognizer, steps, policy=Policy("latest"))
    assert [(record.sequence, record.label) for record in sink.records] == [(0, "red"), (1, None), (3, "green")]
    counters = line.counters().cameras["camera 0"]
    assert (counters.recognised, counters.failed, counters.skipped, counters.seen) == (2, 1, 1, 4)


def test_a_frame_of_the_wrong_kind_fails_alone(recognizer: Recognizer) -> None:
    grey = np.zeros((40, 40), np.uint8)
    line, sink = run(recognizer, [solid("red"), grey, solid("blue"), solid("green")])
    assert [record.outcome for record in sink.records] == ["recognised", "failed", "recognised", "recognised"]
    assert sink.records[1].error
    assert line.counters().cameras["camera 0"].failed == 1


def test_an_unexpected_error_ends_the_line_and_is_raised(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(_: Any) -> None:
        raise RuntimeError("card")

    monkeypatch.setattr(recognizer, "recognize_batch", break_down)
    camera = ScriptedCamera(pictures(5), ends=False)
    with Line(recognizer, {"c": lambda: camera}) as line, pytest.raises(RuntimeError, match="card"):
        line.wait(HANG_S)


def test_a_callback_that_raises_is_counted(recognizer: Recognizer) -> None:
    sequences: list[int] = []

    def callback(item: Any) -> None:
        sequences.append(item.record.sequence)
        if item.record.sequence % 2:
            raise ValueError("a mistake of the user's")

    line, sink = run(recognizer, pictures(10), on_result=callback)
    assert sequences == list(range(10))
    assert line.counters().callback_errors == 5
    assert len(sink.records) == 10


def test_an_engine_that_breaks_down_ends_the_line(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame is at fault, and each further one would be counted as failed for ever."""

    def break_down(*_: Any) -> None:
        raise ProviderError("card")

    monkeypatch.setattr(Session, "run", break_down)
    camera = ScriptedCamera([solid("red")] * 5, ends=False)
    with Line(recognizer, {"c": lambda: camera}) as line, pytest.raises(ProviderError, match="card"):
        line.wait(HANG_S)
    assert line.counters().cameras["c"].failed == 0


def test_takt_ms_is_the_old_name_of_deadline_ms(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "time", Mock(monotonic=lambda: time.monotonic() + 3600))
    with pytest.warns(DeprecationWarning, match="deadline_ms"):
        line, _ = run(recognizer, pictures(3), takt_ms=50)
    counters = line.counters().cameras["camera 0"]
    assert counters.expired == 3
    with pytest.warns(DeprecationWarning, match="expired"):
        assert counters.late == 3
