import contextlib
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from partsight.runtime.cameras import CameraOptions, open_camera
from partsight.runtime.cameras.gige import BUFFERS, GigeCamera
from partsight.runtime.core.errors import (
    CameraError,
    CameraLostError,
    CameraTimeoutError,
    DependencyError,
    PartialFrameError,
)
from tests.runtime.cameras.rigs import await_frame, gige_camera
from tests.waiting import wait_until

pytestmark = pytest.mark.debian


def open_fake(**options: Any) -> GigeCamera:
    camera = open_camera("gige:127.0.0.1", CameraOptions(**{"timeout_s": 60, **options}))
    assert isinstance(camera, GigeCamera)
    return camera


@pytest.fixture
def running() -> Iterator[None]:
    with gige_camera():
        yield


class Opened:
    """The last camera of Aravis that was opened, and its stream."""

    camera: Any
    stream: Any


@pytest.fixture
def opened(running: None, monkeypatch: pytest.MonkeyPatch) -> Opened:
    from gi.repository import Aravis

    found = Opened()
    create = Aravis.Camera.new

    def create_camera(place: str) -> Any:
        found.camera = create(place)
        create_stream = found.camera.create_stream

        def record_stream(*arguments: Any) -> Any:
            found.stream = create_stream(*arguments)
            return found.stream

        monkeypatch.setattr(found.camera, "create_stream", record_stream)
        return found.camera

    monkeypatch.setattr(Aravis.Camera, "new", create_camera)
    return found


def test_options_are_set(opened: Opened) -> None:
    with open_fake(fps=100, exposure_us=5000, region=(0, 0, 256, 128), trigger="free") as camera:
        assert camera.read().image.shape == (128, 256)
        assert opened.camera.get_device().get_float_feature_value("ExposureTimeAbs") == 5000
        assert opened.camera.get_device().get_float_feature_value("AcquisitionFrameRate") == 100


def test_an_option_that_it_has_in_other_units(running: None) -> None:
    with pytest.raises(CameraError, match=r"gain_db.*Gain"):
        open_fake(gain_db=3.0)


def test_frame_ids_that_start_again(running: None) -> None:
    with open_fake(fps=200) as camera:  # the fake camera's ids begin shortly before their end
        frames = []
        for _ in range(300):
            with contextlib.suppress(PartialFrameError):  # on a busy machine a packet is lost now and then
                frames.append(camera.read())
    steps = [later.sequence - sooner.sequence for sooner, later in pairwise(frames)]
    assert min(steps) >= 1
    assert max(steps) < 100, max(steps)


def test_a_slow_reader_gets_the_latest(opened: Opened) -> None:
    with open_fake(fps=50) as camera:
        sequences = []
        for _ in range(3):
            wait_until(lambda: opened.stream.get_n_buffers()[1] >= BUFFERS)  # all are full
            sequences.append(await_frame(camera).sequence)
    steps = [later - sooner for sooner, later in pairwise(sequences)]
    assert min(steps) > BUFFERS, steps  # never a buffered frame


def test_lost_packets() -> None:
    partial = whole = 0
    with gige_camera("-r", "5"), open_fake(fps=50) as camera:
        for _ in range(20):
            try:
                camera.read()
                whole += 1
            except PartialFrameError as error:
                assert "missing-packets" in str(error)
                partial += 1
    assert partial >= 3
    assert whole + partial == 20


def read_whole(camera: GigeCamera) -> None:
    """Read past the frame that was cut off."""
    for _ in range(10):
        with contextlib.suppress(PartialFrameError):
            camera.read()


def test_the_camera_dies_and_comes_back() -> None:
    with gige_camera() as process:
        camera = open_fake(timeout_s=0.5)
        assert await_frame(camera) is not None
        process.kill()
        process.wait()
        with pytest.raises(CameraTimeoutError):  # it may still send
            read_whole(camera)
        with pytest.raises(CameraLostError):
            await_frame(camera)
        camera.close()
    with gige_camera(), open_fake() as camera:
        assert camera.read() is not None


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(DependencyError, match=r"apt install gir1\.2-aravis-0\.8 python3-gi"):
        open_camera("gige:127.0.0.1")
