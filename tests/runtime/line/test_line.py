"""A line as a whole."""

from pathlib import Path
from typing import Any

import pytest

from partsight.runtime import (
    PartsightError,
    Recognizer,
)
from partsight.runtime.line import Line, Policy
from tests.runtime.line.running import BLOCK, gated, run
from tests.runtime.line.scripted import COLOURS, ListSink, ScriptedCamera, pictures
from tests.tiny import ONE_THREAD, solid
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.usefixtures("no_long_pauses")


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
    for index, frames in enumerate(cameras):
        own = [record for record in sink.records if record.camera == f"camera {index}"]
        assert [record.sequence for record in own] == list(range(40))
        with Recognizer(tiny_package, engine=ONE_THREAD) as other:
            assert [record.label for record in own] == [result.label for result in other.recognize_batch(frames)]
    assert line.counters().seen == 120


def test_a_busy_camera_does_not_starve_another(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    started, opened = gated(recognizer, monkeypatch)
    sink = ListSink()
    many, few = ScriptedCamera(pictures(40)), ScriptedCamera(pictures(2))
    with Line(recognizer, {"many": lambda: many, "few": lambda: few}, {"s": sink}, policy=Policy("queue", 40)) as line:
        assert started.wait(HANG_S)
        wait_until(lambda: line.counters().seen >= 42)
        opened.set()
        assert line.wait(HANG_S)
    first = [record.camera for record in sink.records[:9]]
    assert first.count("few") == 2


def test_a_line_that_was_never_started_lets_go_of_all(recognizer: Recognizer) -> None:
    sink = ListSink()
    line = Line(recognizer, {"c": lambda: ScriptedCamera([])}, {"s": sink})
    line.close()
    assert sink.is_closed
    with pytest.raises(PartsightError, match="closed"):
        recognizer.recognize(solid("red"))


def test_stopping_answers_the_accepted_frames(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    started, opened = gated(recognizer, monkeypatch)
    camera, sink = ScriptedCamera(pictures(10), ends=False), ListSink()
    line = Line(recognizer, {"c": lambda: camera}, {"s": sink}, policy=Policy("queue", 20))
    line.start()
    assert started.wait(HANG_S)
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


@pytest.mark.parametrize(
    ("cameras", "options", "message"),
    [
        ({}, {}, "camera"),
        ({"c": ScriptedCamera}, {"deadline_ms": 0}, "deadline_ms is 0"),
        ({"c": ScriptedCamera}, {"deadline_ms": {"d": 5}}, r"deadline_ms\b.*'d'"),
        ({"c": ScriptedCamera}, {"policy": {"d": BLOCK}}, r"policy\b.*'d'"),
    ],
)
def test_arguments_that_make_no_line(recognizer: Recognizer, cameras: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Line(recognizer, cameras, **options)


@pytest.mark.parametrize(("name", "bound"), [("newest", 1), ("queue", 0), ("latest", 2)])
def test_policies_that_do_not_exist(name: Any, bound: int) -> None:
    with pytest.raises(ValueError, match=name):
        Policy(name, bound)


def test_a_closed_line_has_closed_its_recogniser(recognizer: Recognizer) -> None:
    run(recognizer, pictures(2))
    with pytest.raises(PartsightError, match="closed"):
        recognizer.recognize(solid(COLOURS[0]))
