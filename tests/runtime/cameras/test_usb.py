"""No USB camera here: what can be shown without one, and options by a stub of OpenCV's capture."""

import sys
import time
from typing import Any

import cv2
import numpy as np
import pytest

from partsight.runtime.cameras import CameraOptions, open_camera
from partsight.runtime.core.errors import CameraError, CameraLostError

WIDTH, HEIGHT, FPS = cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS


class Stub:
    """In place of cv2.VideoCapture: takes every value except those of `stubborn`, and ends after `frames`."""

    def __init__(self, stubborn: dict[int, float] | None = None, frames: int = 1000, refused: tuple[int, ...] = ()):
        self.values: dict[int, float] = {}
        self.stubborn, self.frames, self.refused = stubborn or {}, frames, refused
        self.released = False

    def set(self, key: int, value: float) -> bool:
        self.values[key] = value
        return key not in self.refused

    def get(self, key: int) -> float:
        return self.stubborn.get(key, self.values.get(key, 0.0))

    def read(self) -> tuple[bool, Any]:
        time.sleep(0.01)
        self.frames -= 1
        return (True, np.zeros((48, 64, 3), np.uint8)) if self.frames >= 0 else (False, None)

    def isOpened(self) -> bool:  # noqa: N802 (as OpenCV has it)
        return True

    def release(self) -> None:
        self.released = True


def put(monkeypatch: pytest.MonkeyPatch, stub: Stub) -> Stub:
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: stub)
    return stub


@pytest.mark.parametrize("place", ["99", "983"])
def test_one_that_is_not_there(place: str) -> None:
    with pytest.raises(CameraError, match=f"usb:{place}"):
        open_camera(f"usb:{place}")


@pytest.mark.parametrize("place", ["-1", "front", "0x1", "²", "99999999999", "9" * 5000])
def test_what_is_no_number(place: str) -> None:
    with pytest.raises(CameraError, match="usb:0"):
        open_camera(f"usb:{place}")


def test_options_that_no_usb_camera_has() -> None:
    with pytest.raises(CameraError, match=r"gain_db, trigger.*exposure_us, fps, region"):
        open_camera("usb:99", CameraOptions(gain_db=1, trigger="hardware"))


def test_options_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    stub = put(monkeypatch, Stub())
    with open_camera("usb:0", CameraOptions(exposure_us=2500, fps=30, region=(0, 0, 1280, 720))) as camera:
        assert camera.read() is not None
    assert stub.values == {WIDTH: 1280, HEIGHT: 720, FPS: 30, cv2.CAP_PROP_AUTO_EXPOSURE: 1, cv2.CAP_PROP_EXPOSURE: 25}
    assert stub.released


@pytest.mark.parametrize(
    ("stubborn", "options", "data"),
    [
        ({WIDTH: 640}, {"region": (0, 0, 1280, 720)}, "region.*640.*1280"),
        ({HEIGHT: 480}, {"region": (0, 0, 1280, 720)}, "region.*480.*720"),
        ({FPS: 15}, {"fps": 30.0}, "fps.*15.*30"),
        ({cv2.CAP_PROP_EXPOSURE: 156}, {"exposure_us": 2500.0}, "exposure_us.*156"),
        ({}, {"region": (8, 0, 640, 480)}, "region.*8, 0"),
    ],
)
def test_options_that_did_not_take(
    monkeypatch: pytest.MonkeyPatch, stubborn: dict[int, float], options: dict[str, Any], data: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    stub = put(monkeypatch, Stub(stubborn))
    with pytest.raises(CameraError, match=data):
        open_camera("usb:0", CameraOptions(**options))
    assert stub.released


def test_an_option_that_the_driver_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, Stub(refused=(FPS,)))
    with pytest.raises(CameraError, match=r"fps.*30"):
        open_camera("usb:0", CameraOptions(fps=30))


def test_it_is_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = put(monkeypatch, Stub(frames=3))
    with open_camera("usb:0") as camera, pytest.raises(CameraLostError, match="usb:0"):
        for _ in range(5):
            camera.read()
    assert stub.released
