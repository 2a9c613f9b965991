"""Sources: the same entries as every other list of images, in a fixed order, cut into chunks without a gap."""

import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from partsight.runtime.cluster.batch.sources import cut, list_source
from partsight.runtime.core import ImageError
from partsight.runtime.images import list_images
from tests.runtime.cluster.batch.archives import frame, png


def sources_of(path: Path, size: int = 7, column: str | None = None) -> list[str]:
    """Return the origin of each frame; the chunks must follow each other without a gap."""
    source = list_source(path, column)
    found, following = [], 0
    for chunk in cut(source, size):
        assert chunk.start == following
        assert 0 < len(chunk.frames) <= size
        found += [reference.source for reference in chunk.frames.references()]
        following = chunk.indices.stop
    assert len(found) == len(source) == following
    return found


def write_tables(folder: Path, **columns: object) -> Path:
    folder.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "a.parquet", row_group_size=5)
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "b.parquet")
    return folder


def test_a_folder_in_the_order_of_the_listing(archive: Path) -> None:
    assert sources_of(archive) == [str(path) for path in list_images(archive).entries]


def test_a_zip_file_has_the_entries_of_its_folder(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("__MACOSX/shift0/._00000.png", b"attributes")
        packed.writestr("shift0/photo.psd", b"8BPS")
        for file in sorted(archive.rglob("*"), reverse=True):
            packed.write(file, file.relative_to(archive))
    expected = [f"{path}/{file.relative_to(archive).as_posix()}" for file in list_images(archive).entries]
    assert sources_of(path) == sorted([*expected, f"{path}/shift0/photo.psd"])


def test_two_members_of_one_name_are_two_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed, pytest.warns(UserWarning):
        packed.writestr("a.png", png(frame(0)))
        packed.writestr("a.png", png(frame(1)))
    assert sources_of(path) == [f"{path}/a.png"] * 2


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "tables", image=[png(frame(number)) for number in range(12)], name=["x"] * 12)
    expected = [f"{folder}/{name}.parquet#{row}" for name in "ab" for row in range(12)]
    assert sources_of(folder, 4) == expected
    assert sources_of(folder / "a.parquet") == expected[:12]


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"one": [b"1"], "two": [b"2"]}, None),
        ({"number": [1]}, None),
        ({"image": [b"1"]}, "picture"),
        ({"number": [1], "image": [b"1"]}, "number"),
    ],
)
def test_a_column_that_is_none_of_pictures(columns: dict[str, object], named: str | None, tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "tables", **columns)
    with pytest.raises(ImageError, match="--column"):
        list_source(folder, named)


def test_one_of_two_columns(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "tables", left=[b"1"], right=[b"2"])
    assert len(sources_of(folder, column="right")) == 2


def test_a_source_without_frames(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.zip").write_text("no zip file")
    (tmp_path / "bad.parquet").write_text("no Parquet file")
    for name in ("empty", "notes.zip", "bad.parquet", "missing", "missing.parquet"):
        with pytest.raises(ImageError, match=name):
            list_source(tmp_path / name)


def test_images_and_tables_in_one_folder(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "mixed", image=[b"1"])
    (folder / "a.png").write_bytes(png(frame(0)))
    with pytest.raises(ImageError, match="both"):
        list_source(folder)


def test_a_column_of_a_folder_of_images(archive: Path) -> None:
    with pytest.raises(ImageError, match="column"):
        list_source(archive, "image")


def test_the_fingerprint_changes_with_the_frames(tmp_path: Path) -> None:
    first = tmp_path / "a.png"
    first.write_bytes(png(frame(0)))
    before = list_source(tmp_path).fingerprint
    assert list_source(tmp_path).fingerprint == before
    first.write_bytes(png(frame(1)) + b"longer")
    changed = list_source(tmp_path).fingerprint
    (tmp_path / "b.png").write_bytes(png(frame(0)))
    assert len({before, changed, list_source(tmp_path).fingerprint}) == 3
