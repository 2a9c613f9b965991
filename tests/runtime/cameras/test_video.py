import re
from pathlib import Path

import pytest

from partsight.runtime.cameras import Frame, open_camera
from partsight.runtime.core.errors import CameraError
from tests.runtime.cameras.rigs import write_video


def read_until_error(path: Path) -> tuple[list[Frame], str]:
    frames: list[Frame] = []
    with open_camera(f"video:{path}") as camera:
        with pytest.raises(CameraError) as caught:
            while (frame := camera.read()) is not None:
                frames.append(frame)
        assert camera.read() is None  # the error comes once
    return frames, str(caught.value)


@pytest.mark.parametrize(("suffix", "codec"), [("avi", "MJPG"), ("mp4", "mp4v"), ("mkv", "MJPG")])
def test_frames_in_order(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_video(tmp_path / f"line.{suffix}", codec=codec)
    with open_camera(f"video:{path}") as camera:
        frames = list(iter(camera.read, None))
        assert camera.read() is None
    assert [frame.sequence for frame in frames] == list(range(30))
    assert [round(frame.image.mean() / 8) for frame in frames] == list(range(30))
    assert {frame.source for frame in frames} == {str(path)}


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_a_file_that_was_cut_off(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"line.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, message = read_until_error(path)
    assert 0 < len(frames) < 30
    assert re.search(rf"\b{30 - len(frames)} of 30\b.*\b{len(frames)}\b", message)


def test_a_file_with_a_hole(tmp_path: Path) -> None:
    path = write_video(tmp_path / "line.avi")
    content = bytearray(path.read_bytes())
    hole = len(content) // 5
    content[len(content) // 2 : len(content) // 2 + hole] = bytes(hole)
    path.write_bytes(content)
    frames, message = read_until_error(path)
    assert re.search(rf"\b{30 - len(frames)} of 30\b", message)


@pytest.mark.parametrize("content", [b"", b"not a video"])
def test_what_is_no_video(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "line.mp4").write_bytes(content)
    with pytest.raises(CameraError, match=r"line\.mp4"):
        open_camera(f"video:{tmp_path / 'line.mp4'}")
