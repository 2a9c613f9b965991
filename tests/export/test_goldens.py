"""Export finds and checks the golden images of a run."""

import shutil
from pathlib import Path

import msgspec
import pytest

from partsight.export.goldens import find_goldens
from partsight.runtime import ImageError, read_image
from partsight.runtime.core.errors import ExportError
from partsight.train.run_folder import RunFolder, RunRecord


@pytest.fixture
def moved(small_run: RunFolder, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run.record.catalog, tmp_path / "moved"))


@pytest.fixture
def record(small_run: RunFolder) -> RunRecord:
    return small_run.record


def test_where_they_were(record: RunRecord) -> None:
    images = find_goldens(record, None)
    assert [path.parent.name for path in images.paths] == list(record.labels)
    assert (images[3] == read_image(Path(record.catalog) / record.goldens[3].file)).all()


def test_where_they_are_now(record: RunRecord, moved: Path) -> None:
    gone = msgspec.structs.replace(record, catalog=str(moved.parent / "gone"))
    with pytest.raises(ExportError, match="--catalog"):
        find_goldens(gone, None)
    images = find_goldens(gone, moved)
    assert [path.relative_to(moved).as_posix() for path in images.paths] == [golden.file for golden in record.goldens]


def test_the_order_is_that_of_the_classes(record: RunRecord) -> None:
    turned = msgspec.structs.replace(record, goldens=record.goldens[::-1])
    assert find_goldens(turned, None).paths == find_goldens(record, None).paths[::-1]


def test_one_is_missing(record: RunRecord, moved: Path) -> None:
    golden = record.goldens[-1]
    (moved / golden.file).unlink()
    with pytest.raises(ExportError, match=f"{golden.label}.*--catalog"):
        find_goldens(record, moved)


def test_one_was_changed(record: RunRecord, moved: Path) -> None:
    """Export refuses another file even if its pixels are the same."""
    golden = record.goldens[-1]
    with (moved / golden.file).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ExportError, match=f"{golden.label}.*{golden.sha256[:12]}"):
        find_goldens(record, moved)


def test_one_that_goes_afterwards(record: RunRecord, moved: Path) -> None:
    images = find_goldens(record, moved)
    images.paths[0].unlink()
    with pytest.raises(ImageError):
        images[0]
