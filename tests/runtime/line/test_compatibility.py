"""A line whose sides do not fit does not start, and takes no such package."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from partsight.runtime import PackageError, Recognizer, SinkError
from partsight.runtime.images.preprocessing import PreprocessSpec, Region
from partsight.runtime.line import Line, Policy
from partsight.runtime.sinks import open_sink
from tests.runtime.line.scripted import COLOURS, ListSink, ScriptedCamera, pictures
from tests.runtime.sinks.broker import free_port
from tests.tiny import SIDE_PX, solid, write_tiny_package
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
    line = Line(Recognizer(tiny_package, threads=1), cameras, {"plc": sink}, policy=BLOCK)
    with line:
        assert line.wait(HANG_S)
        assert sink.asked == [(tuple(COLOURS), ("left", "right"))]
        assert differences(caplog) == ["sink plc: green is not there"]
        before = line.package_id
        with pytest.raises(SinkError, match="red is not there"):
            line.swap(other)
        assert (line.package_id, line.counters().refused_swaps) == (before, 1)
        line.swap(tiny_package)
        assert len(sink.asked) == 3


def test_a_line_that_a_sink_refuses_does_not_start_and_is_closed(other: Path) -> None:
    sink, opened = ChoosySink(), []
    recognizer = Recognizer(other, threads=1)
    line = Line(recognizer, {"c": lambda: opened.append(1) or ScriptedCamera([])}, {"s": sink})
    with pytest.raises(SinkError, match="red is not there"):
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
    with Line(Recognizer(tiny_package, threads=1), {"c": lambda: camera}, {"s": sink}, policy=BLOCK) as line:
        wait_until(lambda: bool(sink.records))
        with pytest.raises(PackageError, match=r"camera c: received 64×48 px, .* 640×480 px"):
            line.swap(packages["other"])
        line.swap(packages["fits"])


def test_a_table_of_the_plc(tiny_package: Path, other: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("pymodbus")
    table, address = tmp_path / "labels.csv", f"modbus://:{free_port()}?labels={tmp_path}/labels.csv&ack_s=0"
    table.write_text("number,label\n1,nothing of it\n", "utf-8")

    def line() -> Line:
        camera = ScriptedCamera([solid("red"), solid("blue")])
        return Line(Recognizer(tiny_package, threads=1), {"c": lambda: camera}, {"plc": open_sink(address)})

    with pytest.raises(SinkError, match="none of the package's 6 parts"):
        line().start()
    table.write_text("number,label\n1,red\n", "utf-8")
    with caplog.at_level(logging.WARNING), line() as running:  # the port is free again
        assert running.wait(HANG_S)
        (said,) = differences(caplog)
        assert "5 of 6 labels" in said
        assert not [record for record in caplog.records if getattr(record, "event", "") == "part_unlisted"]
        with pytest.raises(SinkError, match="none of the package's 6 parts"):
            running.swap(other)
        table.write_text("number,label\n1,red\n" + "".join(f"{n}1,{n}\n" for n in OTHERS), "utf-8")
        running.swap(other)  # the table is read again
        assert "names parts that the package does not have, 1 in all: red" in differences(caplog)[-1]
