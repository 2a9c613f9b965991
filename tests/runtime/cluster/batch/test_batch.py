"""A batch from the source to the files: as a plain loop, whole or not at all, and resumed where it stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pyarrow.parquet
import pytest

from partsight.runtime.cluster.batch import ActorPlan, BatchRequest, Finished, recognize_archive
from partsight.runtime.cluster.batch.work_folder import WorkFolder
from partsight.runtime.core import ImageError, OutputError, PackageError, RemoteError
from tests.processes import running
from tests.runtime.cluster.batch.archives import labels_of, plain_labels, rows_of
from tests.runtime.cluster.batch.conftest import COUNT, RAY_DATA_WARNS
from tests.waiting import wait_until

pytestmark = pytest.mark.filterwarnings(RAY_DATA_WARNS)

Make = Callable[..., BatchRequest]


@pytest.fixture
def request_of(package: Path, archive: Path, tmp_path: Path) -> Make:
    def make(**changes: object) -> BatchRequest:
        given = {"package": package, "source": archive, "out": tmp_path / "results.parquet", "threads": 1} | changes
        return BatchRequest(**given)

    return make


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process do the work of the actors: a start of Ray takes seconds."""

    def work_here(
        work: Callable[[object], object], items: Sequence[object], _: ActorPlan
    ) -> Iterator[Finished[object]]:
        yield from (Finished(index, work(item)) for index, item in enumerate(items))

    module = "partsight.runtime.cluster.batch.batch"
    monkeypatch.setattr(f"{module}.ray_session", lambda _: nullcontext())
    monkeypatch.setattr(f"{module}.plan_actors", lambda *_: ActorPlan(1, 1))
    monkeypatch.setattr(f"{module}.work_on", work_here)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The starts of the chunks that are written."""
    starts: list[int] = []
    write = WorkFolder.write

    def keep(folder: WorkFolder, chunk: object, table: object) -> None:
        write(folder, chunk, table)
        starts.append(chunk.start)

    monkeypatch.setattr(WorkFolder, "write", keep)
    return starts


@pytest.mark.usefixtures("batch_here")
class TestWithActors:
    def test_the_rows_are_those_of_a_plain_loop_in_order(self, request_of: Make, package: Path, archive: Path) -> None:
        request = request_of()
        done = recognize_archive(request)
        rows = rows_of(request.out)
        assert [row["index"] for row in rows] == list(range(COUNT + 1))
        labels = plain_labels(package, archive)
        assert labels_of(rows) == labels
        assert (done.counts.frames, done.counts.failed) == (COUNT + 1, 1)
        assert done.counts.unknown == sum(label is None for label in labels)
        facts = pyarrow.parquet.read_schema(request.out).metadata
        assert facts[b"partsight.package_id"].decode() == done.package_id
        assert facts[b"partsight.source"].decode() == str(archive)
        assert facts[b"partsight.version"]
        assert sorted(path.name for path in request.out.parent.iterdir()) == ["results.parquet"]


@pytest.mark.usefixtures("without_ray")
class TestWithoutActors:
    def test_a_comparison(self, request_of: Make, package: Path, altered: Path) -> None:
        request = request_of(package=altered, old=package)
        done = recognize_archive(request)
        assert done.comparison is not None and done.verdict is not None
        assert done.verdict.level == "bad"
        rows = rows_of(request.out)
        assert {row["label"] for row in rows if row["change"] == "other_label"} == {"red", "blue"}
        assert sum(row["change"] == "other_label" for row in rows) == done.comparison.changed > 0
        assert len(request.changes.read_text("utf-8").splitlines()) == 1 + done.comparison.changed
        assert done.verdict.sentence in request.report.read_text("utf-8")
        assert b"partsight.compared_with" in pyarrow.parquet.read_schema(request.out).metadata

    def test_it_goes_on_after_an_interrupt(
        self, request_of: Make, written: list[int], package: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = request_of()
        check = "partsight.runtime.cluster.batch.batch.check_indices"

        def interrupt(*_: object) -> None:
            if len(written) == 2:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(check, interrupt)
            with pytest.raises(KeyboardInterrupt):
                recognize_archive(request)
        assert not request.out.exists()
        assert request.work_folder.is_dir()
        recognize_archive(request)
        assert sorted(written) == sorted(set(written))
        assert labels_of(rows_of(request.out)) == plain_labels(package, archive)

    def test_another_package_refuses_to_go_on(self, request_of: Make, tiny_package: Path) -> None:
        WorkFolder(request_of().work_folder, _job(request_of())).__exit__()
        with pytest.raises(OutputError, match="the packages"):
            recognize_archive(request_of(package=tiny_package))

    def test_a_batch_that_only_lacks_its_file_needs_no_ray(
        self, request_of: Make, monkeypatch: pytest.MonkeyPatch, package: Path, archive: Path
    ) -> None:
        def full(*_: object) -> None:
            raise OutputError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr("partsight.runtime.cluster.batch.batch.write_results", full)
            with pytest.raises(OutputError, match="disk full"):
                recognize_archive(request_of())
        monkeypatch.setattr("partsight.runtime.cluster.batch.batch.work_on", full)
        recognize_archive(request_of())
        assert labels_of(rows_of(request_of().out)) == plain_labels(package, archive)

    def test_a_provider_that_does_not_work_is_an_error(self, request_of: Make) -> None:
        with pytest.raises(RemoteError, match="fp16"):
            recognize_archive(request_of(precision="fp16"))
        assert not request_of().out.exists()


def _job(request: BatchRequest) -> object:
    from partsight.runtime.cluster.batch.batch import _job
    from partsight.runtime.cluster.batch.recognition import AskedPackage
    from partsight.runtime.cluster.batch.sources import list_source
    from partsight.runtime.package import ModelPackage

    package = AskedPackage(request.package, ModelPackage.read(request.package).package_id)
    return _job(request, (package,), list_source(request.source))


def test_nothing_is_overwritten(request_of: Make, package: Path) -> None:
    request = request_of(old=package)
    for path in (request.report, request.changes, request.out):
        path.write_text("mine")
        with pytest.raises(OutputError, match=path.name):
            recognize_archive(request)
        assert path.read_text() == "mine"
        path.unlink()
    assert not request.work_folder.exists()


def test_errors_before_any_work(request_of: Make, tmp_path: Path) -> None:
    with pytest.raises(PackageError):
        recognize_archive(request_of(package=tmp_path / "gone.partsight"))
    with pytest.raises(ImageError):
        recognize_archive(request_of(source=tmp_path / "gone"))
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1:1"):
        recognize_archive(request_of(address="127.0.0.1:1"))


def test_it_goes_on_after_a_kill(
    request_of: Make, written: list[int], package: Path, archive: Path, batch_here: str
) -> None:
    request = request_of()
    command = [sys.executable, "-m", "partsight.cli", "batch", package, archive, "--out", request.out, "--threads", "1"]
    with running(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: len(list(request.work_folder.glob("*.parquet"))) >= 2 or process.poll() is not None)
        assert process.poll() is None, "the batch ended before it was killed"
        os.kill(process.pid, signal.SIGKILL)
    kept = len(list(request.work_folder.glob("*.parquet")))
    done = recognize_archive(request)
    rows = rows_of(request.out)
    indices = [row["index"] for row in rows]
    chunks = -(-(COUNT + 1) // 16)
    print(
        f"{kept} of {chunks} chunks before the kill, {len(written)} after: {len(rows)} rows, {len(set(indices))} frames"
    )
    assert done.counts.frames == COUNT + 1
    assert kept + len(written) == chunks
    assert indices == list(range(COUNT + 1))
    assert labels_of(rows) == plain_labels(package, archive)
