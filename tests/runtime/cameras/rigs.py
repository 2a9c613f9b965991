"""Real cameras to test against: what starts them, where they are found, and what they cannot do."""

import contextlib
import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest

from partsight.runtime.cameras.camera import Camera, Frame
from partsight.runtime.core.errors import CameraTimeoutError, PartialFrameError
from tests.waiting import wait_until

HERE = Path(__file__).parent
CLONE_NEWNET = 0x40000000
SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Rig:
    """A camera that runs.

    Attributes:
        address: of it.
        wrong_address: of one that is not there.
        wrong_error: pattern of the datum that its error names.
        unable: an option that it cannot set, by name.
        endless: whether it never ends.
    """

    address: str
    wrong_address: str
    wrong_error: str
    unable: str = "gain_db"
    endless: bool = True


@contextmanager
def started(*command: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a server that prints its port; it is killed at the end."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"{command} did not start"
        yield process, int(line)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def has_on_debian(probe: str) -> bool:
    """Tell whether the system's Python can run a line of code."""
    command = [SYSTEM_PYTHON, "-c", probe]
    return Path(SYSTEM_PYTHON).exists() and subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def mjpeg_server(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    with started(sys.executable, str(HERE / "mjpeg_server.py"), str(port)) as running:
        yield running


@contextmanager
def rtsp_server(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if not has_on_debian(probe):
        pytest.skip("needs the Debian packages gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good -ugly python3-gi")
    with started(SYSTEM_PYTHON, str(HERE / "rtsp_server.py"), str(port)) as running:
        yield running


def write_video(path: Path, frames: int = 30, codec: str = "MJPG") -> Path:
    """Write a video whose frames grow brighter by 8 each."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (160, 120))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((120, 160, 3), 8 * number, np.uint8))
    writer.release()
    return path


@contextmanager
def folder_rig(tmp_path: Path) -> Iterator[Rig]:
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 60, 3), number, np.uint8))
    yield Rig(f"folder:{tmp_path}", f"folder:{tmp_path}/no", re.escape(f"{tmp_path}/no"), endless=False)


@contextmanager
def video_rig(tmp_path: Path) -> Iterator[Rig]:
    path = write_video(tmp_path / "line.avi")
    yield Rig(f"video:{path}", f"video:{tmp_path}/no.avi", re.escape(f"{tmp_path}/no.avi"), endless=False)


@contextmanager
def http_rig(tmp_path: Path) -> Iterator[Rig]:
    with mjpeg_server() as (_, port):
        yield Rig(f"http://127.0.0.1:{port}/", "http://127.0.0.1:9/", re.escape("http://127.0.0.1:9/"))


@contextmanager
def rtsp_rig(tmp_path: Path) -> Iterator[Rig]:
    with rtsp_server() as (_, port):
        address = f"rtsp://127.0.0.1:{port}"
        yield Rig(f"{address}/line", f"{address}/no", re.escape(f"{address}/no"))


def viky() -> Path:
    """Return the GenTL producer that comes with the genicam package; its three cameras show bouncing balls."""
    genicam = pytest.importorskip("genicam", reason="needs the extra genicam")
    pytest.importorskip("harvesters", reason="needs the extra genicam")
    return Path(genicam.__file__).parent / "viky.cti"


@contextmanager
def genicam_rig(tmp_path: Path) -> Iterator[Rig]:
    found = "VikyTL_DEV_red, VikyTL_DEV_green, VikyTL_DEV_blue"
    place = f"genicam:{viky()}"
    yield Rig(f"{place}#VikyTL_DEV_red", f"{place}#VikyTL_DEV_grey", found, unable="exposure_us")


@contextmanager
def basler_rig(tmp_path: Path) -> Iterator[Rig]:
    with mock.patch.dict(os.environ, PYLON_CAMEMU="2"):
        with warnings.catch_warnings():  # SWIG's, of 2025; as an error it crashes the interpreter
            warnings.simplefilter("ignore")
            pytest.importorskip("pypylon.pylon", reason="needs the extra basler")
        yield Rig("basler:0815-0000", "basler:4711", "0815-0000, 0815-0001", unable="region")


@contextmanager
def own_network() -> Iterator[None]:
    """Give this thread, and what it starts, a network of their own: Aravis looks for cameras on every interface."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open("rb") as before:
        if libc.unshare(CLONE_NEWNET):
            pytest.skip("needs the right to make a network of its own (root)")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            assert libc.setns(before.fileno(), CLONE_NEWNET) == 0


@contextmanager
def gige_camera(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Aravis' fake camera in a network of its own."""
    program = shutil.which("arv-fake-gv-camera-0.8")
    if program is None or not _import_aravis():
        pytest.skip("needs the Debian packages aravis-tools gir1.2-aravis-0.8 python3-gi")
    with own_network(), subprocess.Popen([program, "-i", "127.0.0.1", *arguments]) as process:
        try:
            _await_gige_camera()
            yield process
        finally:
            process.kill()


def _import_aravis() -> bool:
    """Import Aravis; from the system's packages, where the environment has no gi of its own."""
    system = Path("/usr/lib/python3/dist-packages/gi")
    if importlib.util.find_spec("gi") is None and system.exists():
        folder = Path(tempfile.mkdtemp())
        (folder / "gi").symlink_to(system)
        sys.path.append(str(folder))
    try:
        with warnings.catch_warnings():  # gi's importer is older than Python's present way
            warnings.simplefilter("ignore")
            importlib.import_module("gi").require_version("Aravis", "0.8")
            importlib.import_module("gi.repository.Aravis")
    except (ImportError, ValueError):
        return False
    return True


def _await_gige_camera() -> None:
    from gi.repository import Aravis

    def is_there() -> bool:
        Aravis.update_device_list()
        return bool(Aravis.get_n_devices())

    wait_until(is_there)


def await_frame(camera: Camera) -> Frame:
    """Return the next whole frame, however long a busy machine takes for it."""
    came: list[Frame | None] = []

    def has_come() -> bool:
        with contextlib.suppress(CameraTimeoutError, PartialFrameError):
            came.append(camera.read())
        return bool(came)

    wait_until(has_come)
    assert came[0] is not None
    return came[0]


@contextmanager
def gige_rig(tmp_path: Path) -> Iterator[Rig]:
    with gige_camera():
        found = re.escape("Aravis-Fake-GV01 at 127.0.0.1")
        yield Rig("gige:127.0.0.1", "gige:127.0.0.9", found, unable="gain_db")


RIGS = {
    "folder": folder_rig,
    "video": video_rig,
    "http": http_rig,
    "rtsp": rtsp_rig,
    "genicam": genicam_rig,
    "basler": basler_rig,
    "gige": gige_rig,
}
ON_DEBIAN = {"rtsp", "gige"}
