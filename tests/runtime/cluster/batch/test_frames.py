"""Frames by reference: each kind reads the same pixels as the file, and a fault is an ImageError of that frame."""

import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from partsight.runtime.cluster.batch import frames as frames_module
from partsight.runtime.cluster.batch.frames import FileFrames, Frames, ParquetFrames, ZipFrames
from partsight.runtime.core import ImageError, Pixels
from tests.runtime.cluster.batch.archives import frame, png


def read_all(frames: Frames) -> list[Pixels | str]:
    """Return the pixels of each frame, or the error."""
    found: list[Pixels | str] = []
    for reference in frames.references():
        try:
            found.append(reference.read())
        except ImageError as error:
            assert str(error).startswith(f"{reference.source}: ")
            found.append(str(error))
    assert len(found) == len(frames)
    return found


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that says it is large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + head, b"IDAT" + zlib.compress(b"\0"), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def test_files(tmp_path: Path) -> None:
    names = [b"a.png", b"gone.png", b"b.png", b"caf\xe9.png"]  # the last is no UTF-8
    for number, name in enumerate(names):
        if name != b"gone.png":
            (tmp_path / os.fsdecode(name)).write_bytes(png(frame(number)))
    found = read_all(FileFrames(tmp_path, names, {2: "a cause"}))
    np.testing.assert_array_equal(found[0], frame(0))
    np.testing.assert_array_equal(found[3], frame(3))
    assert isinstance(found[1], str)
    assert found[2] == f"{tmp_path / 'b.png'}: a cause"


def test_members_of_a_zip_file(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(("x/a.png", "b.png", "bomb.png", "broken.png")):
            data = {2: bomb(20_000, 20_000), 3: b"\x89PNG"}.get(number, png(frame(number)))
            archive.writestr(name, data)
    found = read_all(ZipFrames(path, [1, 0, 2, 3], {}))
    np.testing.assert_array_equal(found[0], frame(1))
    np.testing.assert_array_equal(found[1], frame(0))
    assert [type(each) for each in found[2:]] == [str, str]


def test_a_member_that_unpacks_to_more_than_any_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "MAX_FILE_BYTES", 1000)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", png(frame(0)) + bytes(100_000))
    (found,) = read_all(ZipFrames(path, [0], {}))
    assert isinstance(found, str)
    assert "1,000" in found


def test_a_damaged_member_is_a_fault_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.png", png(frame(0)))
        archive.writestr("b.png", png(frame(1)))
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    first, second = read_all(ZipFrames(path, [0, 1], {}))
    assert isinstance(first, str)
    np.testing.assert_array_equal(second, frame(1))


@pytest.mark.parametrize("kind", ["bytes", "struct", "path"])
def test_rows_of_a_parquet_file(kind: str, tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(png(frame(number)))
    values = {
        "bytes": [png(frame(number)) for number in range(10)],
        "struct": [{"bytes": png(frame(number)), "path": None} for number in range(10)],
        "path": [f"{number}.png" for number in range(10)],
    }[kind]
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"image": values, "other": list(range(10))})
    pyarrow.parquet.write_table(table, path, row_group_size=4)
    found = read_all(ParquetFrames(path, "image", group=1, start=1, count=3, row=5))
    for pixels, number in zip(found, (5, 6, 7), strict=True):
        np.testing.assert_array_equal(pixels, frame(number))


def test_an_empty_cell_and_a_damaged_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = pyarrow.array([None, b"no picture", bomb(20_000, 20_000), png(frame(3))], pyarrow.binary())
    pyarrow.parquet.write_table(pyarrow.table({"image": values}), path)
    found = read_all(ParquetFrames(path, "image", 0, 0, 4, 0))
    assert [type(each) for each in found[:3]] == [str, str, str]
    np.testing.assert_array_equal(found[3], frame(3))


def test_the_rest_of_a_damaged_row_group_fails_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = [png(frame(number)) for number in range(6)]
    pyarrow.parquet.write_table(pyarrow.table({"image": values}), path, compression="zstd", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[4:40] = bytes(36)  # the header of the first page
    path.write_bytes(data)
    found = read_all(ParquetFrames(path, "image", 0, 0, 6, 0))
    assert [type(each) for each in found] == [str] * 6
