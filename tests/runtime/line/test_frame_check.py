import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from partsight.runtime.cameras.camera import Frame
from partsight.runtime.images.preprocessing import PreprocessSpec, Region
from partsight.runtime.line.frame_check import FrameCheck, describe_stretch
from partsight.runtime.sinks.record import FrameEvent, Record

SPEC = PreprocessSpec(36, 36, golden_hw=(48, 64))


def event(camera: str, height: int, width: int, error: str = "") -> FrameEvent:
    outcome: Any = "failed" if error else "unknown"
    record = Record(outcome=outcome, camera=camera, source="s", sequence=0, run="r", timestamp=0.0, error=error)
    return FrameEvent(record, Frame(np.zeros((height, width, 3), np.uint8), "s", 0, 0.0))


def recognizer(package: str, spec: PreprocessSpec = SPEC) -> Any:
    return SimpleNamespace(package_id=package, manifest=SimpleNamespace(preprocess=spec))


@pytest.mark.parametrize("size", [(48, 64), (480, 640), (1000, 1340), (24, 32)])
def test_frames_of_the_same_proportions(size: tuple[int, int]) -> None:
    assert describe_stretch(size, SPEC) == ""


@pytest.mark.parametrize(("size", "said"), [((480, 480), "wider by 33 %"), ((720, 1280), "narrower by 33 %")])
def test_frames_of_other_proportions(size: tuple[int, int], said: str) -> None:
    text = describe_stretch(size, SPEC)
    assert said in text and f"{size[1]}×{size[0]}" in text and "64×48" in text


def test_where_nothing_can_be_said() -> None:
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
            check(event("left", height, width))
            check(event("right", 48, 64))
        check(FrameEvent(event("top", 1, 1, "no such file").record))  # without a frame
        check(event("top", 48, 64, "a mono frame"))
        check(event("top", 48, 64, "a mono frame"))
        assert logged() == [("frame_stretched", "left"), ("frame_refused", "top")]
        packages.append(recognizer("two"))
        check(event("left", 48, 48))
        check(event("left", 48, 48))
        assert logged() == [("frame_stretched", "left")]
