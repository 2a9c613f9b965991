import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from partsight.runtime.cameras import CameraOptions, open_camera
from partsight.runtime.cameras.basler import BaslerCamera
from partsight.runtime.core.errors import CameraError, CameraTimeoutError, DependencyError, PartialFrameError
from tests.runtime.cameras.rigs import basler_rig
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def emulation(tmp_path: Path) -> Iterator[None]:
    with basler_rig(tmp_path):
        yield


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The devices of pylon that cameras have opened."""
    from pypylon import pylon

    opened: list[Any] = []
    create = pylon.InstantCamera

    def create_and_record(device: Any) -> Any:
        opened.append(create(device))
        return opened[-1]

    monkeypatch.setattr(pylon, "InstantCamera", create_and_record)
    return opened


def open_emulated(**options: Any) -> BaslerCamera:
    camera = open_camera("basler:0815-0000", CameraOptions(**{"timeout_s": 60, **options}))
    assert isinstance(camera, BaslerCamera)
    return camera


def feature(device: Any, name: str) -> str:
    return str(device.GetNodeMap().GetNode(name).ToString())


def test_pictures_of_a_folder(devices: list[Any], tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "part.png"), np.full((64, 96, 3), (10, 120, 240), np.uint8))
    with open_emulated(region=(0, 0, 96, 64)) as camera:
        (nodes,) = devices
        nodes.StopGrabbing()
        nodes.PixelFormat.Value = "RGB8Packed"
        nodes.ImageFilename.Value = str(tmp_path)
        nodes.ImageFileMode.Value = "On"
        nodes.TestImageSelector.Value = "Off"
        nodes.StartGrabbing()
        image = camera.read().image
    assert image.shape == (64, 96, 3)
    assert image[32, 48].tolist() == [10, 120, 240]


def test_options_are_set(devices: list[Any]) -> None:
    options = {"exposure_us": 2000.0, "gain_db": 6.0, "region": (16, 8, 320, 200), "fps": 50.0, "trigger": "free"}
    with open_emulated(**options) as camera:
        assert camera.read().image.shape == (200, 320)
        assert feature(devices[0], "OffsetX") == "16"
        assert float(feature(devices[0], "ExposureTime")) == pytest.approx(2000, rel=0.02)
        assert float(feature(devices[0], "Gain")) == pytest.approx(6, rel=0.02)
        assert float(feature(devices[0], "AcquisitionFrameRate")) == 50


@pytest.mark.parametrize("options", [{"exposure_us": 1e9}, {"gain_db": 200.0}, {"fps": 1e6}])
def test_options_that_it_cannot_take(options: dict[str, Any]) -> None:
    with pytest.raises(CameraError, match=next(iter(options))):
        open_emulated(**options)


def test_a_software_trigger_gives_one_frame_each(devices: list[Any]) -> None:
    with open_emulated(trigger="software") as camera:
        assert feature(devices[0], "TriggerSource") == "Software"
        assert [camera.read().sequence for _ in range(4)] == [0, 1, 2, 3]


def test_a_hardware_trigger_that_does_not_come(devices: list[Any]) -> None:
    with open_emulated(trigger="hardware", timeout_s=0.3) as camera:
        assert feature(devices[0], "TriggerMode") == "On"
        assert feature(devices[0], "TriggerSource") == "Line1"
        with pytest.raises(CameraTimeoutError, match=r"0\.3 s"):
            camera.read()


def test_an_incomplete_frame_is_an_error_and_a_gap(devices: list[Any]) -> None:
    with open_emulated(fps=20) as camera:
        sequence = camera.read().sequence
        devices[0].GetNodeMap().GetNode("ForceFailedBufferCount").FromString("1")
        devices[0].GetNodeMap().GetNode("ForceFailedBuffer").Execute()
        with pytest.raises(PartialFrameError, match="0815-0000"):
            for _ in range(10):
                sequence = camera.read().sequence
        assert camera.read().sequence >= sequence + 2  # the incomplete one leaves a gap


def await_sent(device: Any, more: int) -> None:
    """Wait until the camera has sent so many frames more, whether anyone takes them or not."""
    count = device.GetStreamGrabberNodeMap().GetNode("Statistic_Total_Buffer_Count")
    before = count.Value
    wait_until(lambda: count.Value >= before + more)


def test_a_slow_reader_gets_the_latest(devices: list[Any]) -> None:
    with open_emulated(fps=50) as camera:
        sequences = []
        for _ in range(3):
            await_sent(devices[0], 20)
            sequences.append(camera.read().sequence)
    assert sequences[-1] - sequences[0] >= 40, sequences


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypylon", None)
    with pytest.raises(DependencyError, match=r"pip install 'partsight\[basler\]'"):
        open_camera("basler:0815-0000")
