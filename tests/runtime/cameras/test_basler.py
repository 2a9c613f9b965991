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


def open_emulated(**options: Any) -> BaslerCamera:
    camera = open_camera("basler:0815-0000", CameraOptions(**{"timeout_s": 60, **options}))
    assert isinstance(camera, BaslerCamera)
    return camera


def feature(camera: BaslerCamera, name: str) -> str:
    return str(camera._camera.GetNodeMap().GetNode(name).ToString())


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "part.png"), np.full((64, 96, 3), (10, 120, 240), np.uint8))
    with open_emulated(region=(0, 0, 96, 64)) as camera:
        nodes = camera._camera
        nodes.StopGrabbing()
        nodes.PixelFormat.Value = "RGB8Packed"
        nodes.ImageFilename.Value = str(tmp_path)
        nodes.ImageFileMode.Value = "On"
        nodes.TestImageSelector.Value = "Off"
        nodes.StartGrabbing()
        image = camera.read().image
    assert image.shape == (64, 96, 3)
    assert image[32, 48].tolist() == [10, 120, 240]


def test_options_are_set() -> None:
    options = {"exposure_us": 2000.0, "gain_db": 6.0, "region": (16, 8, 320, 200), "fps": 50.0, "trigger": "free"}
    with open_emulated(**options) as camera:
        assert camera.read().image.shape == (200, 320)
        assert feature(camera, "OffsetX") == "16"
        assert float(feature(camera, "ExposureTime")) == pytest.approx(2000, rel=0.02)
        assert float(feature(camera, "Gain")) == pytest.approx(6, rel=0.02)
        assert float(feature(camera, "AcquisitionFrameRate")) == 50


@pytest.mark.parametrize("options", [{"exposure_us": 1e9}, {"gain_db": 200.0}, {"fps": 1e6}])
def test_options_that_it_cannot_take(options: dict[str, Any]) -> None:
    with pytest.raises(CameraError, match=rf"refused {next(iter(options))}: "):
        open_emulated(**options)


def test_a_software_trigger_gives_one_frame_each() -> None:
    with open_emulated(trigger="software") as camera:
        assert feature(camera, "TriggerSource") == "Software"
        assert [camera.read().sequence for _ in range(4)] == [0, 1, 2, 3]


def test_a_hardware_trigger_that_does_not_come() -> None:
    with open_emulated(trigger="hardware", timeout_s=0.3) as camera:
        assert feature(camera, "TriggerMode") == "On"
        assert feature(camera, "TriggerSource") == "Line1"
        with pytest.raises(CameraTimeoutError, match="is it triggered"):
            camera.read()


def test_an_incomplete_frame_is_told_and_skipped() -> None:
    with open_emulated(fps=20) as camera:
        sequence = camera.read().sequence
        camera._camera.GetNodeMap().GetNode("ForceFailedBufferCount").FromString("1")
        camera._camera.GetNodeMap().GetNode("ForceFailedBuffer").Execute()
        with pytest.raises(PartialFrameError, match=r"a frame came incomplete \(The buffer was incompletely grabbed"):
            for _ in range(10):
                sequence = camera.read().sequence
        assert camera.read().sequence >= sequence + 2  # the incomplete one leaves a gap


def await_sent(camera: BaslerCamera, more: int) -> None:
    """Wait until the camera has sent so many frames more, whether anyone takes them or not."""
    count = camera._camera.GetStreamGrabberNodeMap().GetNode("Statistic_Total_Buffer_Count")
    before = count.Value
    wait_until(lambda: count.Value >= before + more)


def test_a_slow_reader_gets_the_latest() -> None:
    with open_emulated(fps=50) as camera:
        sequences = []
        for _ in range(3):
            await_sent(camera, 20)
            sequences.append(camera.read().sequence)
    assert sequences[-1] - sequences[0] >= 40, sequences


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypylon", None)
    with pytest.raises(DependencyError, match=r"pip install 'partsight\[basler\]'"):
        open_camera("basler:0815-0000")
