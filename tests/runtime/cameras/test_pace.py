"""Files at the pace of the line, against a clock that advances only during a wait."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partsight.runtime.cameras import CameraOptions, open_camera, pace
from partsight.runtime.cameras.pace import FilePace
from partsight.runtime.core.errors import CameraLostError


class Clock:
    """In place of the modules `time` and `threading`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def Event(self) -> "Clock":  # noqa: N802 (as `threading` has it)
        return self

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def set(self) -> None: ...


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    monkeypatch.setattr(pace, "threading", clock)
    return clock


def test_the_first_frame_comes_at_once_and_each_other_a_period_later(clock: Clock) -> None:
    paced = FilePace(4)
    for _ in range(3):
        paced.wait()
        clock.now += 0.0625  # the frame is read and taken
    assert clock.waits == [0, 0.1875, 0.1875]


def test_what_was_late_is_not_caught_up(clock: Clock) -> None:
    paced = FilePace(4)
    paced.wait()
    clock.now += 3
    paced.wait()
    paced.wait()
    assert clock.waits == [0, 0, 0.25]


def test_without_a_rate_nothing_waits(clock: Clock) -> None:
    FilePace(None).wait()
    assert clock.waits == []


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_files_keep_to_it(kind: str, clock: Clock, tmp_path: Path) -> None:
    if kind == "folder":
        for name in "ab":
            Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / f"{name}.png")
        address = f"folder:{tmp_path}"
    else:
        address = f"video:{_video(tmp_path)}"
    with open_camera(address, CameraOptions(fps=2)) as camera:
        assert [frame.sequence for frame in iter(camera.read, None)] == [0, 1]
    assert clock.waits[:2] == [0, 0.5]


def test_closing_ends_the_wait(tmp_path: Path) -> None:
    for name in "ab":
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / f"{name}.png")
    camera = open_camera(f"folder:{tmp_path}", CameraOptions(fps=0.0001))
    assert camera.read() is not None
    camera.close()
    with pytest.raises(CameraLostError):
        camera.read()


def _video(folder: Path) -> Path:
    import cv2

    path = folder / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 64))
    for _ in range(2):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    return path
