"""The work folder: whole chunks are kept, another batch is refused, and rows that are missing or double are found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow
import pytest

from partsight.runtime.cluster.batch.frames import FileFrames
from partsight.runtime.cluster.batch.sources import Chunk
from partsight.runtime.cluster.batch.work_folder import Job, WorkFolder, check_indices
from partsight.runtime.core import OutputError

JOB = Job(("new", "old"), "/archive", "f00d", 20, 10, "cpu", "fp32")


@dataclass(frozen=True)
class Folder:
    path: Path

    def open(self, **changes: object) -> WorkFolder:
        return WorkFolder(self.path, msgspec.structs.replace(JOB, **changes))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "results.parquet.work")


def chunk(start: int, count: int = 10) -> Chunk:
    return Chunk(start, FileFrames(Path("/archive"), [b"x"] * count, {}))


def rows(indices: Sequence[int]) -> pyarrow.Table:
    return pyarrow.table({"index": list(indices)})


CHUNKS = (chunk(0), chunk(10))


def test_finished_chunks_are_found_again(folder: Folder) -> None:
    with folder.open() as work:
        work.write(CHUNKS[1], rows(range(10, 20)))
    with folder.open() as work:
        assert work.finished(CHUNKS) == {10}
        work.write(CHUNKS[0], rows(range(10)))
        assert [table["index"].to_pylist() for table in work.tables(CHUNKS)] == [[*range(10)], [*range(10, 20)]]
        work.remove()
    assert not folder.path.exists()


def test_a_damaged_chunk_is_not_finished(folder: Folder) -> None:
    with folder.open() as work:
        work.write(CHUNKS[0], rows(range(10)))
        (path,) = folder.path.glob("*.parquet")
        path.write_bytes(path.read_bytes()[:-20])
        assert work.finished(CHUNKS) == set()


def test_a_missing_chunk_is_an_error(folder: Folder) -> None:
    with folder.open() as work, pytest.raises(OutputError, match="000000000000"):
        list(work.tables(CHUNKS))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"packages": ("newer", "old")}, "the packages"),
        ({"packages": ("new",)}, "the packages"),
        ({"fingerprint": "beef"}, "the frames of the source"),
        ({"source": "/other", "precision": "int8"}, "the path of the source and the precision"),
    ],
)
def test_another_batch_is_refused(changes: dict[str, object], named: str, folder: Folder) -> None:
    folder.open().__exit__()
    with pytest.raises(OutputError, match=named) as refused:
        folder.open(**changes)
    assert f"rm -r {folder.path}" in str(refused.value)


def test_one_program_at_a_time(folder: Folder) -> None:
    with folder.open(), pytest.raises(OutputError, match="another command"):
        folder.open()
    folder.open().__exit__()


def test_a_folder_of_something_else(folder: Folder) -> None:
    folder.path.mkdir()
    (folder.path / "job.json").write_text("{}")
    with pytest.raises(OutputError, match="remove"):
        folder.open()


@pytest.mark.parametrize(
    ("indices", "named"),
    [
        ([0, 1, 2], "missing: 3"),
        ([0, 1, 2, 2, 3], "there twice: 2"),
        ([0, 1, 2, 9], "missing: 3; of no frame: 9"),
        ([0, 2, 1, 3], "another order"),
    ],
)
def test_rows_that_are_not_exactly_those_of_the_frames(indices: list[int], named: str) -> None:
    check_indices(chunk(0, 4), rows(range(4)), "x")
    with pytest.raises(OutputError, match=named):
        check_indices(chunk(0, 4), rows(indices), "x")
