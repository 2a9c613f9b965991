import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partsight.runtime.cameras import Camera, FileCamera, Frame, find_images, open_camera
from partsight.runtime.core.errors import CameraError, ImageError
from partsight.runtime.images.listing import IMAGE_SUFFIXES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images whose red value is their index in the order of paths."""
    names = ["a/1.png", "a/10.png", "a/2.PNG", "a/b/0.bmp", "c.tif"]
    for value, name in enumerate(names):
        path = tmp_path / "line" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 33), (value, 0, 0)).save(path)
    (tmp_path / "line" / "notes.txt").write_text("not an image")
    (tmp_path / "line" / "folder.png").mkdir()
    return tmp_path / "line"


def drain(camera: Camera) -> list[Frame]:
    return list(iter(camera.read, None))


def test_find_images(folder: Path) -> None:
    found = [path.relative_to(folder).as_posix() for path in find_images(str(folder))]
    assert found == ["a/1.png", "a/10.png", "a/2.PNG", "a/b/0.bmp", "c.tif"]


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_find_every_kind(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"part{suffix}").touch()
    (tmp_path / f"other{suffix.upper()}").touch()
    assert len(find_images(tmp_path)) == 2


def test_find_in_no_folder(folder: Path) -> None:
    for path in (folder / "nowhere", folder / "notes.txt"):
        with pytest.raises(CameraError, match=re.escape(str(path))):
            find_images(path)


def test_find_no_image(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CameraError, match=re.escape(str(tmp_path))):
        find_images(tmp_path)


def test_frames_come_in_the_order_given(folder: Path) -> None:
    paths = find_images(folder)[::-1]
    with FileCamera([str(path) for path in paths]) as camera:
        frames = drain(camera)
        assert camera.read() is None  # and goes on saying so
    assert [frame.image[0, 0].tolist() for frame in frames] == [[0, 0, value] for value in (4, 3, 2, 1, 0)]
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.source for frame in frames] == [str(path) for path in paths]
    assert all(frame.image.shape == (33, 40, 3) and frame.image.dtype == np.uint8 for frame in frames)
    assert [frame.timestamp for frame in frames] == sorted(frame.timestamp for frame in frames)


def test_no_files() -> None:
    assert FileCamera([]).read() is None


def test_an_unreadable_file_leaves_a_gap(folder: Path) -> None:
    paths = find_images(folder)
    paths[1].write_text("damaged")
    paths[2].unlink()
    with FileCamera(paths) as camera:
        assert camera.read().sequence == 0  # type: ignore[union-attr]
        with pytest.raises(ImageError, match=r"10\.png"):
            camera.read()
        assert camera.source == str(paths[1])
        with pytest.raises(ImageError, match=r"2\.PNG"):
            camera.read()
        rest = drain(camera)
    assert [(frame.sequence, frame.image[0, 0, 2]) for frame in rest] == [(3, 3), (4, 4)]


def test_an_unreadable_last_file(folder: Path) -> None:
    (folder / "c.tif").write_text("damaged")
    camera = FileCamera([folder / "c.tif"])
    with pytest.raises(ImageError):
        camera.read()
    assert camera.read() is None


def test_open_folder(folder: Path) -> None:
    with open_camera(f"folder:{folder}") as camera:
        assert [frame.sequence for frame in drain(camera)] == [0, 1, 2, 3, 4]


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such name")
def test_open_path_with_a_colon(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "a:b" / "1.png")
    with open_camera(f"folder:{tmp_path / 'a:b'}") as camera:
        assert len(drain(camera)) == 1


def test_open_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="nowhere"):
        open_camera(f"folder:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize("address", ["", "folder", "folder:", "nonsense:0", "Folder:x", "/a/path"])
def test_open_what_is_not_known(address: str) -> None:
    with pytest.raises(CameraError, match=re.escape(repr(address)) + ".*folder:PATH, video:PATH"):
        open_camera(address)


def test_real_images(example_parts: Path) -> None:
    with open_camera(f"folder:{example_parts / 'line'}") as camera:
        frame = camera.read()
    assert frame is not None
    assert frame.image.shape[2] == 3
    assert Path(frame.source).is_relative_to(example_parts / "line")


@pytest.mark.parametrize(
    "address",
    ["rtsp:line:s3cret@host/x", "rtsp:/line:s3cret@host", "rtsp:\\\\line:s3cret@host", "rtsp:host/x?password=s3cret"],
)
def test_a_password_is_not_shown_though_a_slash_was_forgotten(address: str) -> None:
    with pytest.raises(CameraError) as caught:
        open_camera(address)
    assert "s3cret" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows may not allow links, and has no pipes in folders")
def test_an_entry_that_cannot_be_taken_is_an_error_in_its_turn(folder: Path) -> None:
    (folder / "a" / "15.png").symlink_to(folder / "missing.png")
    os.mkfifo(folder / "b.png")
    (folder / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    Image.new("RGB", (40, 33)).save(folder / ".hidden.png")
    sequences, failed = [], []
    with open_camera(f"folder:{folder}") as camera:
        while True:
            try:
                frame = camera.read()
            except ImageError:
                failed.append(Path(camera.source).name)  # type: ignore[attr-defined]
                continue
            if frame is None:
                break
            sequences.append(frame.sequence)
    assert failed == [".hidden.png", "15.png", "b.heic", "b.png"]
    assert sequences == [1, 2, 4, 5, 8]


def test_find_images_leaves_nothing_out(folder: Path) -> None:
    (folder / "x.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "y").write_bytes(b"\0\1\2")
    with pytest.raises(ImageError, match=r"(?s)x\.heic: .*y: "):
        find_images(folder)


def test_a_folder_that_cannot_be_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(CameraError, match=re.escape(str(folder))):
        open_camera(f"folder:{folder}")


def test_an_address_without_its_scheme(tmp_path: Path) -> None:
    (tmp_path / "1.avi").touch()
    for address, meant in {str(tmp_path): "folder:", str(tmp_path / "1.avi"): "video:", "0": "usb:"}.items():
        with pytest.raises(CameraError, match=re.escape(f"{meant}{address}")):
            open_camera(address)
