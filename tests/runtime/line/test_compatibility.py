"""A line whose sides do not fit does not start, and takes no such package."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from partsight.runtime import PackageError, Recognizer, SinkError
from partsight.runtime.cameras.camera import Frame
from partsight.runtime.images.preprocessing import PreprocessSpec, Region
from partsight.runtime.line import Line, Policy
from partsight.runtime.line.compatibility import FrameCheck, describe_stretch
from partsight.runtime.sinks import open_sink
from partsight.runtime.sinks.record import FrameEvent, Record
from tests.runtime.line.scripted import COLOURS, ListSink, ScriptedCamera, pictures
from tests.runtime.sinks.broker import free_port
from tests.tiny import ONE_THREAD, SIDE_PX, solid, write_tiny_package
from tests.waiting import HANG_S, wait_until

BLOCK = Policy("block", 4)
OTHERS = ("1", "2", "3", "4", "5", "6")


class ChoosySink(ListSink):
    """Remembers what it was asked, and refuses packages without red."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Sequence[str], Sequence[str]]] = []

    def check_line(self, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:
        self.asked.append((labels, cameras))
        if "red" not in labels:
            raise SinkError("red is not there")
        return ["green is not there"]


def differences(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "sink_differs"]


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return write_tiny_package(tmp_path / "other.partsight", labels=OTHERS)


def test_a_sink_is_asked_at_the_start_and_at_each_swap(
    tiny_package: Path, other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = ChoosySink()
    cameras = {"left": lambda: ScriptedCamera(pictures(3)), "right": lambda: ScriptedCamera([])}
    line = Line(Recognizer(tiny_package, engine=ONE_THREAD), cameras, {"plc": sink}, policy=BLOCK)
    with line:
        assert line.wait(HANG_S)
        assert sink.asked == [(tuple(COLOURS), ("left", "right"))]
        assert differences(caplog) == ["sink plc: green is not there"]
        before = line.package_id
        with pytest.raises(SinkError, match="red"):
            line.swap(other)
        assert (line.package_id, line.counters().refused_swaps) == (before, 1)
        line.swap(tiny_package)
        assert len(sink.asked) == 3


def test_a_line_that_a_sink_refuses_does_not_start_and_is_closed(other: Path) -> None:
    sink, opened = ChoosySink(), []
    recognizer = Recognizer(other, engine=ONE_THREAD)
    line = Line(recognizer, {"c": lambda: opened.append(1) or ScriptedCamera([])}, {"s": sink})
    with pytest.raises(SinkError, match="red"):
        line.start()
    assert (opened, sink.is_closed, recognizer.is_closed) == ([], True, True)
    line.close()


def test_a_package_of_another_frame_size_is_refused_once_frames_have_come(tiny_package: Path, tmp_path: Path) -> None:
    region, places = Region(0, 0, 40, 40), {"fits": (48, 64), "other": (480, 640)}
    packages = {
        name: write_tiny_package(
            tmp_path / f"{name}.partsight", preprocess=PreprocessSpec(SIDE_PX, SIDE_PX, region=region, golden_hw=size)
        )
        for name, size in places.items()
    }
    sink = ListSink()
    camera = ScriptedCamera([solid("red")], ends=False)
    with Line(Recognizer(tiny_package, engine=ONE_THREAD), {"c": lambda: camera}, {"s": sink}, policy=BLOCK) as line:
        wait_until(lambda: bool(sink.records))
        with pytest.raises(PackageError, match=r"camera c\b.*64×48.*640×480"):
            line.swap(packages["other"])
        line.swap(packages["fits"])


def test_a_table_of_the_plc(tiny_package: Path, other: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("pymodbus")
    table, address = tmp_path / "labels.csv", f"modbus://:{free_port()}?labels={tmp_path}/labels.csv&ack_s=0"
    table.write_text("number,label\n1,nothing of it\n", "utf-8")

    def line() -> Line:
        camera = ScriptedCamera([solid("red"), solid("blue")])
        return Line(Recognizer(tiny_package, engine=ONE_THREAD), {"c": lambda: camera}, {"plc": open_sink(address)})

    with pytest.raises(SinkError, match=re.escape(str(table))):
        line().start()
    table.write_text("number,label\n1,red\n", "utf-8")
    with caplog.at_level(logging.WARNING), line() as running:  # the port is free again
        assert running.wait(HANG_S)
        (difference,) = differences(caplog)
        assert "5 of 6" in difference
        assert not [record for record in caplog.records if getattr(record, "event", "") == "part_unlisted"]
        with pytest.raises(SinkError, match=re.escape(str(table))):
            running.swap(other)
        table.write_text("number,label\n1,red\n" + "".join(f"{n}1,{n}\n" for n in OTHERS), "utf-8")
        running.swap(other)  # the table is read again
        assert "red" in differences(caplog)[-1]


SPEC = PreprocessSpec(36, 36, golden_hw=(48, 64))


def frame_event(camera: str, height: int, width: int, error: str = "") -> FrameEvent:
    outcome: Any = "failed" if error else "unknown"
    record = Record(outcome=outcome, camera=camera, source="s", sequence=0, run="r", timestamp=0.0, error=error)
    return FrameEvent(record, Frame(np.zeros((height, width, 3), np.uint8), "s", 0, 0.0))


def recognizer(package: str, spec: PreprocessSpec = SPEC) -> Any:
    return SimpleNamespace(package_id=package, manifest=SimpleNamespace(preprocess=spec))


@pytest.mark.parametrize("size", [(48, 64), (480, 640), (1000, 1340), (24, 32)])
def test_frames_of_the_same_proportions(size: tuple[int, int]) -> None:
    assert describe_stretch(size, SPEC) == ""


@pytest.mark.parametrize("size", [(480, 480), (720, 1280)])
def test_frames_of_other_proportions(size: tuple[int, int]) -> None:
    text = describe_stretch(size, SPEC)
    assert "33 %" in text and f"{size[1]}×{size[0]}" in text and "64×48" in text


def test_frames_that_have_no_stretch_to_describe() -> None:
    assert describe_stretch((480, 480), PreprocessSpec(36, 36)) == ""
    assert describe_stretch((480, 480), PreprocessSpec(36, 36, region=Region(0, 0, 8, 8), golden_hw=(48, 64))) == ""


def test_each_camera_is_logged_once_for_each_package(caplog: pytest.LogCaptureFixture) -> None:
    packages = [recognizer("one")]
    check = FrameCheck(lambda: packages[-1])

    def logged() -> list[tuple[str, str]]:
        found = [(record.event, record.camera) for record in caplog.records]  # type: ignore[attr-defined]
        caplog.clear()
        return found

    with caplog.at_level(logging.WARNING):
        for height, width in ((48, 64), (48, 48), (480, 480)):
            check(frame_event("left", height, width))
            check(frame_event("right", 48, 64))
        check(FrameEvent(frame_event("top", 1, 1, "no such file").record))  # without a frame
        check(frame_event("top", 48, 64, "a mono frame"))
        check(frame_event("top", 48, 64, "a mono frame"))
        assert logged() == [("frame_stretched", "left"), ("frame_refused", "top")]
        packages.append(recognizer("two"))
        check(frame_event("left", 48, 48))
        check(frame_event("left", 48, 48))
        assert logged() == [("frame_stretched", "left")]
