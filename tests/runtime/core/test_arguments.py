"""Things of another kind than the API takes: refused at the call, and not later in a thread."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from partsight.runtime import MicroBatcher, PartsightError, Recognizer
from partsight.runtime.cameras import CameraOptions, FileCamera, Frame, open_camera
from partsight.runtime.core.errors import CameraError, SinkError
from partsight.runtime.line import Line, Policy
from partsight.runtime.sinks import open_sink
from tests.runtime.line.scripted import ListSink, ScriptedCamera
from tests.tiny import ONE_THREAD, solid
from tests.waiting import HANG_S

BLUE = solid("blue")


def camera() -> Any:
    return ScriptedCamera([BLUE])


@pytest.fixture
def recognizer(tiny_package: Path) -> Iterator[Recognizer]:
    with Recognizer(tiny_package, engine=ONE_THREAD) as recognizer:
        yield recognizer


@pytest.mark.parametrize("package", [None, "", b"line.partsight", 5])
def test_no_package(package: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(repr(package))):
        Recognizer(package)


@pytest.mark.parametrize(
    "setting",
    [{"batch_size": "4"}, {"batch_size": 2.5}, {"top": None}, {"threshold": "0.5"}],
    ids=str,
)
def test_no_numbers(setting: dict[str, Any], tiny_package: Path) -> None:
    (name, value) = next(iter(setting.items()))
    with pytest.raises(ValueError, match=f"{name} is {re.escape(repr(value))}"):
        Recognizer(tiny_package, **setting)


@pytest.mark.parametrize("given", [None, "line.partsight", Recognizer, lambda: None])
def test_no_recognizer(given: Any) -> None:
    for taking in (MicroBatcher, lambda recognizer: Line(recognizer, {"c": camera})):
        with pytest.raises(TypeError, match=re.escape("Recognizer(PACKAGE)")):
            taking(given)


@pytest.mark.parametrize(
    ("part", "datum"),
    {
        "a list of cameras": ({"cameras": [camera]}, "cameras"),
        "an address": ({"cameras": "usb:0"}, "'usb:0'"),
        "addresses": ({"cameras": {"c": "usb:0"}}, "'usb:0'"),
        "an open camera": ({"cameras": {"c": ScriptedCamera([])}}, "open_camera"),
        "a numbered camera": ({"cameras": {1: camera}}, "cameras"),
        "a sink alone": ({"sinks": ListSink()}, "sinks"),
        "an address of a sink": ({"sinks": {"s": "jsonl:a"}}, "'jsonl:a'"),
        "a sink's class": ({"sinks": {"s": ListSink}}, "ListSink"),
        "a policy's name": ({"policy": "block"}, "Policy"),
        "a policy's name by camera": ({"policy": {"c": "block"}}, "Policy"),
        "a deadline as text": ({"deadline_ms": "40"}, "'40'"),
        "no function": ({"on_result": "print"}, "'print'"),
    }.values(),
)
def test_no_parts_of_a_line(part: dict[str, Any], datum: str, recognizer: Recognizer) -> None:
    with pytest.raises(TypeError, match=re.escape(datum)):
        Line(recognizer, **{"cameras": {"c": camera}, **part})


def test_a_file_is_no_sink(recognizer: Recognizer, tmp_path: Path) -> None:
    with (tmp_path / "out.jsonl").open("w") as file, pytest.raises(TypeError, match="open_sink"):
        Line(recognizer, {"c": camera}, {"s": file})  # type: ignore[dict-item]


def test_a_wrapped_recognizer_is_one(tiny_package: Path) -> None:
    class Counting:
        """As people write it to time or log calls."""

        def __init__(self, wrapped: Recognizer) -> None:
            self.wrapped, self.calls = wrapped, 0

        def start_batch(self, frames: Any) -> Any:
            self.calls += 1
            return self.wrapped.start_batch(frames)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.wrapped, name)

    counting: Any = Counting(Recognizer(tiny_package, engine=ONE_THREAD))
    with MicroBatcher(counting) as batcher:
        assert batcher.recognize(BLUE).label == "blue"
    with Line(counting, {"c": camera}, policy=Policy("block")) as line:
        assert line.wait(HANG_S)
    assert line.counters().cameras["c"].recognised == 1
    assert counting.calls == 1  # of the line
    with pytest.raises(PartsightError, match="closed"):
        Line(counting, {"c": camera})


@pytest.mark.parametrize(
    ("opener", "datum"),
    {
        "nothing": (lambda: None, "None"),
        "an address": (lambda: "usb:0", "'usb:0'"),
        "frames of OpenCV": (cv2.VideoCapture, "tuple"),
    }.values(),
)
def test_what_a_cameras_function_returns(opener: Callable[[], Any], datum: str, recognizer: Recognizer) -> None:
    """No waiting helps: the camera ends, and the line says why."""
    with Line(recognizer, {"left": opener}) as line, pytest.raises(TypeError, match=f"camera left returned {datum}"):
        line.wait(HANG_S)
    assert line.states() == {"left": "failed"}


def test_numbers_and_paths_as_addresses(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="expected usb:0"):
        open_camera(0)  # type: ignore[arg-type]
    with pytest.raises(CameraError, match=re.escape(f"expected folder:{tmp_path}")):
        open_camera(tmp_path)  # type: ignore[arg-type]
    with pytest.raises(SinkError, match="SCHEME:PLACE"):
        open_sink(tmp_path / "out.jsonl")  # type: ignore[arg-type]


def test_one_path_in_place_of_several(tmp_path: Path) -> None:
    for path in (str(tmp_path), tmp_path):
        with pytest.raises(TypeError, match="list"):
            FileCamera(path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "setting", [{"fps": "25"}, {"region": (1, 2)}, {"region": "0,0,5,5"}, {"trigger": "soft"}], ids=str
)
def test_options_of_a_camera(setting: dict[str, Any]) -> None:
    (name, value) = next(iter(setting.items()))
    with pytest.raises(CameraError, match=f"{name} is {re.escape(repr(value))}"):
        CameraOptions(**setting)


def test_a_frame_like_object_is_a_frame(recognizer: Recognizer) -> None:
    class Mine:
        def __init__(self, frame: Frame) -> None:
            self.image, self.source = frame.image, frame.source
            self.sequence, self.timestamp = frame.sequence, frame.timestamp

    class MyCamera(ScriptedCamera):
        def read(self) -> Any:
            frame = super().read()
            return frame and Mine(frame)

    with Line(recognizer, {"c": lambda: MyCamera([BLUE])}, policy=Policy("block")) as line:
        assert line.wait(HANG_S)
    assert line.counters().cameras["c"].recognised == 1
