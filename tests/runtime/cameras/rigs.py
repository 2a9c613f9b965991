"""Real cameras to test against: what starts them, where they are found, and what they cannot do."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Rig:
    """A camera that runs.

    Attributes:
        address: of it.
        wrong_address: of one that is not there.
        wrong_error: pattern of the error that it gives.
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
    yield Rig(f"folder:{tmp_path}", f"folder:{tmp_path}/no", "no: there is no such folder", endless=False)


@contextmanager
def video_rig(tmp_path: Path) -> Iterator[Rig]:
    path = write_video(tmp_path / "line.avi")
    yield Rig(f"video:{path}", f"video:{tmp_path}/no.avi", r"no\.avi: there is no such file", endless=False)


@contextmanager
def http_rig(tmp_path: Path) -> Iterator[Rig]:
    with mjpeg_server() as (_, port):
        yield Rig(f"http://127.0.0.1:{port}/", "http://127.0.0.1:9/", r"http://127\.0\.0\.1:9/: cannot be opened")


@contextmanager
def rtsp_rig(tmp_path: Path) -> Iterator[Rig]:
    with rtsp_server() as (_, port):
        address = f"rtsp://127.0.0.1:{port}"
        yield Rig(f"{address}/line", f"{address}/no", f"{address}/no: cannot be opened")


RIGS = {"folder": folder_rig, "video": video_rig, "http": http_rig, "rtsp": rtsp_rig}
ON_DEBIAN = {"rtsp", "gige"}
