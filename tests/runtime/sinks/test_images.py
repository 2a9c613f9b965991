import os
import stat
from pathlib import Path

import msgspec
import numpy as np
import pytest

from partsight.runtime.cameras.camera import Frame
from partsight.runtime.core.errors import SinkError
from partsight.runtime.images.image_file import read_image
from partsight.runtime.sinks import open_sink
from partsight.runtime.sinks.record import FrameEvent
from tests.runtime.sinks.kinds import event, read_images


def sequences(folder: Path) -> list[int]:
    return [record.sequence for record in read_images(folder)]


@pytest.mark.parametrize(
    ("query", "expected"), [("", [0, 1, 3, 4]), ("?margin=0", [0, 3, 4]), ("?margin=0.3", [0, 1, 2, 3, 4])]
)
def test_refused_and_nearly_so_are_kept(tmp_path: Path, query: str, expected: list[int]) -> None:
    with open_sink(f"images:{tmp_path}{query}") as sink:
        sink.write(event(0, None, margin=0.9))
        sink.write(event(1, margin=0.04))
        sink.write(event(2, margin=0.2))
        sink.write(event(3, margin=None))
        sink.write(event(4, None, outcome="failed", error="network"))
    assert sequences(tmp_path) == expected


def test_a_sample_of_the_others_is_kept_too(tmp_path: Path) -> None:
    """Kept by chance, though alike when a result is written again; each says how many frames it stands for."""
    with open_sink(f"images:{tmp_path}?every=5") as sink:
        for _ in range(2):
            for sequence in range(200):
                sink.write(event(sequence, margin=0.9))
        sink.write(event(200, None))
    stands_for = [msgspec.json.decode(path.read_bytes())["stands_for"] for path in sorted(tmp_path.glob("*.json"))]
    assert stands_for[-1] == 1
    assert set(stands_for[:-1]) == {5}
    assert 20 <= len(stands_for) <= 60
    assert len({sequence % 5 for sequence in sequences(tmp_path)}) > 1


@pytest.mark.parametrize(("every", "expected"), [(0, False), (1, True)])
def test_the_line_asks_before_it_queues_a_picture(tmp_path: Path, every: int, expected: bool) -> None:
    with open_sink(f"images:{tmp_path}?every={every}") as sink:
        assert sink.wants(event(0, margin=0.9).record) is expected  # type: ignore[attr-defined]
        assert sink.wants(event(0, None).record)  # type: ignore[attr-defined]


def test_the_oldest_go_first_by_number(tmp_path: Path) -> None:
    for start in (0, 3):  # and after a restart
        with open_sink(f"images:{tmp_path}?max_files=4") as sink:
            for sequence in range(start, start + 3):
                sink.write(event(sequence))
    assert sequences(tmp_path) == [2, 3, 4, 5]


def test_the_oldest_go_first_by_bytes(tmp_path: Path) -> None:
    with open_sink(f"images:{tmp_path}/one") as sink:
        sink.write(event(0))
    size = sum(path.stat().st_size for path in (tmp_path / "one").iterdir())
    for start in (0, 3):
        with open_sink(f"images:{tmp_path}/many?max_mb={size * 3.5 / 1e6}") as sink:
            for sequence in range(start, start + 3):
                sink.write(event(sequence))
    assert sequences(tmp_path / "many") == [3, 4, 5]


def test_picture_larger_than_all_may_be(tmp_path: Path) -> None:
    with open_sink(f"images:{tmp_path}?max_mb=0.001") as sink:
        sink.write(event(0))
        noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
        with pytest.raises(SinkError, match="1,000; raise max_mb"):
            sink.write(FrameEvent(event(1).record, Frame(noise, "usb:0", 1, 1.0)))
    assert sequences(tmp_path) == [0]


def test_written_twice_is_one_pair(tmp_path: Path) -> None:
    with open_sink(f"images:{tmp_path}?max_files=2") as sink:
        for sequence in (0, 1, 1, 1):
            sink.write(event(sequence))
    assert sequences(tmp_path) == [0, 1]


@pytest.mark.parametrize("shape", [(40, 35, 3), (40, 35)])
def test_png_is_the_frame_to_the_bit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with open_sink(f"images:{tmp_path}") as sink:
        sink.write(FrameEvent(event(0).record, Frame(image, "usb:0", 0, 1.0)))
    (path,) = tmp_path.glob("*.png")
    np.testing.assert_array_equal(read_image(path), image)


def test_jpg(tmp_path: Path) -> None:
    with open_sink(f"images:{tmp_path}?format=jpg") as sink:
        sink.write(event(100))
    (path,) = tmp_path.glob("*.jpg")
    assert abs(read_image(path).astype(int) - 100).max() <= 2
    assert msgspec.json.decode(path.with_suffix(".json").read_bytes())["sequence"] == 100


def test_halves_of_pairs_are_removed_and_nothing_else(tmp_path: Path) -> None:
    with open_sink(f"images:{tmp_path}") as sink:
        for sequence in range(3):
            sink.write(event(sequence))
    pictures = sorted(tmp_path.glob("*.png"))
    pictures[0].unlink()
    pictures[1].with_suffix(".json").unlink()
    (tmp_path / f"{pictures[2].name}.partial").write_bytes(b"half")
    for mine in ("notes.json", "photo.png", "x.partial"):
        (tmp_path / mine).write_bytes(b"mine")
    open_sink(f"images:{tmp_path}").close()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {pictures[2].name, f"{pictures[2].stem}.json", "notes.json", "photo.png", "x.partial"}


def test_camera_name_that_no_file_may_have(tmp_path: Path) -> None:
    with open_sink(f"images:{tmp_path}/out") as sink:
        for camera in ("../links", "a:b", "a/b"):
            sink.write(event(0, camera=camera))
    assert len(read_images(tmp_path / "out")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_picture_is_handed_in_by_the_line(tmp_path: Path) -> None:
    with open_sink(f"images:{tmp_path}") as sink:
        assert sink.keeps_pictures  # type: ignore[attr-defined]


@pytest.mark.skipif(os.name == "nt", reason="names are kept in a journal there")
def test_names_of_a_pair_are_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[str]] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        fsync(fd)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            found.append(sorted(path.suffix for path in tmp_path.iterdir()))

    monkeypatch.setattr(os, "fsync", noted)
    with open_sink(f"images:{tmp_path}") as sink:
        sink.write(event(0))
    assert found == [[".json", ".png"]]


def test_disk_that_fails_twice_is_a_sink_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with open_sink(f"images:{tmp_path}") as sink:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", fails)
            patched.setattr(Path, "unlink", fails)
            with pytest.raises(SinkError, match="Read-only file system"):
                sink.write(event(0))
        sink.write(event(0))
    open_sink(f"images:{tmp_path}").close()
    assert sequences(tmp_path) == [0]
