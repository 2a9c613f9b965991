import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from partsight.runtime.cameras import CameraOptions, open_camera
from partsight.runtime.cameras.genicam import BUFFERS, VARIABLE, GenicamCamera
from partsight.runtime.core.errors import CameraError, CameraTimeoutError, DependencyError, PartialFrameError
from tests.runtime.cameras.rigs import await_frame, viky
from tests.waiting import HANG_S, wait_until


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The image acquirers of harvesters that cameras have opened."""
    core = pytest.importorskip("harvesters.core", reason="needs the extra genicam")
    opened: list[Any] = []
    create = core.Harvester.create

    def create_and_record(harvester: Any, key: Any) -> Any:
        opened.append(create(harvester, key))
        return opened[-1]

    monkeypatch.setattr(core.Harvester, "create", create_and_record)
    return opened


def open_viky(**options: Any) -> GenicamCamera:
    camera = open_camera(f"genicam:{viky()}#VikyTL_DEV_red", CameraOptions(**{"timeout_s": 60, **options}))
    assert isinstance(camera, GenicamCamera)
    return camera


def test_colour() -> None:
    with open_viky() as camera:
        image = camera.read().image
    assert image.shape == (400, 400, 3)
    assert image[:, :, 2].sum() > image[:, :, 0].sum()  # the camera named red shows a red ball: BGR, not RGB


def test_a_slow_reader_gets_the_latest(devices: list[Any]) -> None:
    with open_viky(fps=50) as camera:
        (device,) = devices
        (stream,) = device.data_streams
        sequences = []
        for _ in range(4):
            wait_until(lambda: stream.num_awaiting_delivery >= device.num_buffers)
            sequences.append(camera.read().sequence)
    steps = [later - sooner for sooner, later in pairwise(sequences)]
    assert min(steps) > BUFFERS, steps  # never a buffered frame


def test_frames_that_come_as_fast_as_they_are_taken(devices: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a busy machine: the newest is not looked for without end."""
    with open_viky(fps=100) as camera:
        (device,) = devices
        fetch, taken = device.fetch, []
        monkeypatch.setattr(device, "try_fetch", lambda **_: (taken.append(1), fetch(timeout=HANG_S))[1])
        assert camera.read().image.size
        assert len(taken) == device.num_buffers


def test_it_stops_sending_and_goes_on(devices: list[Any]) -> None:
    with open_viky(timeout_s=0.5) as camera:
        sequence = await_frame(camera).sequence
        nodes = devices[0].remote_device.node_map
        nodes.get_node("AcquisitionStop").execute()
        with pytest.raises(CameraTimeoutError, match=r"0\.5 s"):
            for _ in range(10):
                sequence = camera.read().sequence
        nodes.get_node("AcquisitionStart").execute()
        assert await_frame(camera).sequence > sequence


def test_options_are_set(devices: list[Any]) -> None:
    with open_viky(fps=100, region=(0, 0, 320, 200), trigger="free") as camera:
        assert camera.read().image.shape == (200, 320, 3)
        assert devices[0].remote_device.node_map.get_node("AcquisitionFrameRate").value == 100


@pytest.mark.parametrize(
    ("options", "data"),
    [
        ({"fps": 1000.0}, "fps.*AcquisitionFrameRate = 1000"),
        ({"region": (0, 0, 8000, 100)}, "region.*Width = 8000"),
        ({"region": (8, 0, 200, 100)}, "region.*OffsetX"),
        ({"exposure_us": 100.0}, "exposure_us.*ExposureTime"),
        ({"gain_db": 1.0}, "gain_db.*Gain"),
        ({"trigger": "hardware"}, "trigger.*TriggerMode"),
    ],
)
def test_options_that_it_cannot_take(options: dict[str, Any], data: str) -> None:
    with pytest.raises(CameraError, match=data):
        open_viky(**options)


def test_an_incomplete_frame(devices: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with open_viky() as camera:
        with monkeypatch.context() as patch:
            patch.setattr(devices[0], "fetch", lambda **_: None)  # what harvesters returns for one
            with pytest.raises(PartialFrameError):
                camera.read()
        assert camera.read().image.size


def test_producers_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(viky().parent))
    with open_camera("genicam:VikyTL_DEV_blue") as camera:
        assert camera.read() is not None
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(CameraError, match=rf"{VARIABLE}.*{re.escape(str(tmp_path))}"):
        open_camera("genicam:VikyTL_DEV_blue")
    with pytest.raises(CameraError, match=r"no\.cti"):
        open_camera(f"genicam:{tmp_path}/no.cti#VikyTL_DEV_blue")


def test_a_file_that_is_no_producer(tmp_path: Path) -> None:
    viky()
    (tmp_path / "maker.cti").write_text("no library")
    with pytest.raises(CameraError, match=r"maker\.cti"):
        open_camera(f"genicam:{tmp_path}/maker.cti#0")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "harvesters.core", None)
    with pytest.raises(DependencyError, match=r"pip install 'partsight\[genicam\]'"):
        open_camera("genicam:maker.cti#0")
