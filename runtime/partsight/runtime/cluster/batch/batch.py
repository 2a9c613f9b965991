"""Batch: all frames of an archive recognised with a package, and their rows written to one Parquet file.

Example:
    >>> from partsight.runtime.cluster.batch import BatchRequest, recognize_archive
    >>> request = BatchRequest(package=Path("line4.partsight"), source=Path("archive"), out=Path("results.parquet"))
    >>> print(recognize_archive(request).counts)
"""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from partsight.runtime.cluster.batch.actors import plan_actors
from partsight.runtime.cluster.batch.comparison import Comparison, compare
from partsight.runtime.cluster.batch.engine import work_on
from partsight.runtime.cluster.batch.recognition import AskedPackage, Opening, RecognizeChunk
from partsight.runtime.cluster.batch.report import ReportFacts, write_report
from partsight.runtime.cluster.batch.results_file import Counts, write_results
from partsight.runtime.cluster.batch.rows import schema
from partsight.runtime.cluster.batch.sources import Chunk, Source, cut, list_source
from partsight.runtime.cluster.batch.verdict import ComparedPackage
from partsight.runtime.cluster.batch.why import explain_changes
from partsight.runtime.cluster.batch.work_folder import Job, WorkFolder, check_indices
from partsight.runtime.cluster.ray_session import ray_session
from partsight.runtime.core import OutputError, Verdict, import_extra, progress_bar
from partsight.runtime.inference import Arithmetic
from partsight.runtime.package import ModelPackage

MAX_CHUNK = 256
"""Most frames of a chunk: enough that the way to an actor and back does not count."""

_MIN_CHUNK, _CHUNKS = 16, 32  # of a small source, so that all actors have work


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What to recognise, and how.

    Attributes:
        package: Folder of the package.
        source: Frames; see `list_source`.
        out: Parquet file to write; must not exist.
        old: Folder of the package to compare with; None for none.
        column: Column of Parquet files with pictures or paths; None for the only such column.
        address: HOST:PORT of a Ray cluster, or `auto`; None for Ray on this machine alone.
        provider, precision, batch_size: Options of `Recognizer`.
        threads: Cores of an actor; None for a few, see `plan_actors`.
        actors: Number of actors; None for as many as there is room for.
    """

    package: Path
    source: Path
    out: Path
    old: Path | None = None
    column: str | None = None
    address: str | None = None
    provider: str = "cpu"
    precision: Arithmetic = "fp32"
    batch_size: int = 16
    threads: int | None = None
    actors: int | None = None

    @property
    def work_folder(self) -> Path:
        """Folder of finished chunks, next to the file to write."""
        return self.out.with_name(f"{self.out.name}.work")

    @property
    def changes(self) -> Path:
        """CSV file of answers that differ from the old package's."""
        return self.out.with_name(f"{self.out.stem}.changes.csv")

    @property
    def report(self) -> Path:
        """Report of the comparison."""
        return self.out.with_name(f"{self.out.stem}.report.html")


@dataclass(frozen=True)
class BatchDone:
    """A finished batch.

    Attributes:
        package_id: Id of the package.
        counts: Frames by outcome.
        comparison: Comparison with the old package; None for none.
        verdict: Main point of its report; None for none.
    """

    package_id: str
    counts: Counts
    comparison: Comparison | None = None
    verdict: Verdict | None = None


def recognize_archive(request: BatchRequest) -> BatchDone:
    """Recognise all frames of a source, and write a row for each, in order.

    Finished chunks stay in a work folder until the file is written. After an error or an interrupt, the same call goes
    on where it stopped.

    Raises:
        OutputError: `out` exists or cannot be written; or the work folder holds another batch.
        ImageError: The source cannot be listed. A frame that cannot be read is a row with `failed`, and no error.
        PackageError: A package is damaged or altered, or not signed as this machine demands.
        RemoteError: Ray or a machine of the cluster failed; the message says how to go on.
        DependencyError: Ray is not installed.
    """
    import_extra("pyarrow", "ray")  # before the work; Ray itself is imported by its session, which has to prepare it
    _check_outputs(request)
    packages = [ModelPackage.read(path) for path in (request.package, request.old) if path is not None]
    asked = tuple(AskedPackage(package.path.absolute(), package.package_id) for package in packages)
    source = list_source(request.source, request.column)
    chunks = cut(source, chunk_size(len(source)))
    with WorkFolder(request.work_folder, _job(request, asked, source)) as folder:
        _answer(request, asked, chunks, folder)
        comparison, verdict = None, None
        if request.old is not None:
            comparison = compare(folder.tables(chunks), request.changes)
            verdict = _report(request, packages, comparison, chunks)
        facts = {"partsight.package_id": asked[0].package_id, "partsight.source": str(request.source.absolute())}
        facts |= {"partsight.version": importlib.metadata.version("partsight")}
        facts |= {"partsight.compared_with": asked[1].package_id} if request.old else {}
        columns = schema(is_compared=request.old is not None)
        counts = write_results(request.out, folder.tables(chunks), columns, facts)
        folder.remove()
    return BatchDone(asked[0].package_id, counts, comparison, verdict)


def chunk_size(frames: int) -> int:
    """Return the most frames of a chunk. It depends on nothing else, so that a batch goes on with other actors."""
    return min(MAX_CHUNK, max(_MIN_CHUNK, -(-frames // _CHUNKS)))


def _check_outputs(request: BatchRequest) -> None:
    """Refuse to overwrite a file; report and list of a batch that did not end are its own."""
    written = [request.out]
    if request.old is not None and not request.work_folder.exists():
        written += [request.changes, request.report]
    for path in written:
        if path.exists() or path.is_symlink():
            raise OutputError(
                f"{path}: exists, and partsight overwrites nothing; name another file, or remove this one"
            )


def _job(request: BatchRequest, asked: Sequence[AskedPackage], source: Source) -> Job:
    return Job(
        packages=tuple(package.package_id for package in asked),
        source=str(request.source.absolute()),
        fingerprint=source.fingerprint,
        frames=len(source),
        chunk_size=chunk_size(len(source)),
        provider=request.provider,
        precision=request.precision,
    )


def _answer(
    request: BatchRequest, asked: tuple[AskedPackage, ...], chunks: Sequence[Chunk], folder: WorkFolder
) -> None:
    """Answer the chunks that the work folder lacks."""
    finished = folder.finished(chunks)
    todo = [chunk for chunk in chunks if chunk.start not in finished]
    if not todo:
        return
    frames = sum(len(chunk.frames) for chunk in todo)
    total = chunks[-1].indices.stop
    text = "recognising frames" + (f" ({total - frames:,} done before)" if finished else "")
    with ray_session(request.address), progress_bar(frames, f"{text:<28}", "frame") as bar:
        plan = plan_actors(request.provider, request.threads, request.actors)
        opening = Opening(request.provider, request.precision, request.batch_size, plan.cpus)
        for done in work_on(RecognizeChunk(asked, opening, plan.cpus), todo, plan):
            chunk = todo[done.index]
            check_indices(chunk, done.result, f"chunk {chunk.start}")
            folder.write(chunk, done.result)
            bar.update(len(chunk.frames))


def _report(
    request: BatchRequest, packages: Sequence[ModelPackage], comparison: Comparison, chunks: Sequence[Chunk]
) -> Verdict:
    new, old = (
        ComparedPackage(
            package.path, package.package_id, frozenset(package.manifest.labels), package.manifest.provenance.created
        )
        for package in packages
    )
    precision = request.precision if request.provider == "cpu" else "fp32"
    explained = explain_changes(comparison.sample, chunks, old.path, new.path, precision)
    facts = ReportFacts(comparison, explained, old, new, request.source, request.changes)
    write_report(request.report, facts)
    return facts.verdict
